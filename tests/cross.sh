#!/usr/bin/env bash
# The kernels' tests where this machine's CPU cannot run them: AArch64 on emulated CPUs from the Cortex-A53 on, and
# WebAssembly with and without vectors in Node.js. For Debian 12 (bookworm) on x86-64 and root; installs what is missing.
#
#     tests/cross.sh            # everything
#     tests/cross.sh aarch64    # one of: native aarch64 wasm32
#
# Debian's own Rust does the work, because it comes with a std for AArch64 and with the source of std for WebAssembly;
# a toolchain of rustup's is neither needed nor touched.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/umedsam/cross
mkdir -p "$cache"

# ----- what it takes -----

packages=(rustc-web cargo-web rust-web-src rust-web-llvm ca-certificates
  gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross wasi-libc)
command -v node >/dev/null || packages+=(nodejs)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
rust=$(dpkg-query -W -f='${Version}' rustc-web)
# Without the security archive apt would be content with a Rust that is too old.
dpkg --compare-versions "$rust" ge 1.91 || { echo "rustc-web is $rust: 1.91 or later is needed" >&2; exit 1; }

# A package that is unpacked rather than installed: of another architecture or suite, without changing what apt holds
# the machine to be. `unpack NAME VERSION_OR_SUITE ARCHITECTURE SOURCES FILE` leaves it in $cache/NAME.
unpack() {
  local name=$1 wanted=$2 architecture=$3 sources=$4 file=$5 state=$cache/apt-$1
  [ "$(cat "$cache/$name/wanted" 2>/dev/null)" = "$wanted" ] && [ -e "$cache/$name/$file" ] && return
  rm -rf "$state" "${cache:?}/$name"
  mkdir -p "$state"/{lists/partial,archives/partial,deb}
  : >"$state/status"
  local apt=(apt-get -q -o APT::Architecture="$architecture" -o APT::Architectures="$architecture"
    -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::State::lists="$state/lists"
    -o Dir::Cache="$state" -o Debug::NoLocking=1 -o APT::Sandbox::User=root)
  [ -z "$sources" ] || { echo "$sources" >"$state/sources.list"
    apt+=(-o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null); }
  "${apt[@]}" update
  (cd "$state/deb" && "${apt[@]}" download "$name$wanted")
  dpkg -x "$state"/deb/*.deb "$cache/$name"
  echo "$wanted" >"$cache/$name/wanted"
  rm -rf "$state"
}

# std for AArch64 is that architecture's package of the same version.
unpack libstd-rust-web-dev "=$rust" arm64 "" usr/lib/rustlib
ln -sfn "$cache/libstd-rust-web-dev/usr/lib/rustlib/aarch64-unknown-linux-gnu" /usr/lib/rustlib/aarch64-unknown-linux-gnu

# The emulator of the backports knows CPUs with the 8-bit and 16-bit products of matrices, bookworm's own only "max".
archive=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
  sed -n 's/ bookworm$//p' | head -n 1)
unpack qemu-user /bookworm-backports "$(dpkg --print-architecture)" \
  "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive bookworm-backports main" usr/bin/qemu-aarch64
