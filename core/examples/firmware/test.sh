#!/usr/bin/env bash
# The firmware on an emulated Cortex-M4 beside the same program on this machine: both must print the same to the byte, and
# the firmware must take no heap once it is warm, which it checks itself. For Debian 12 (bookworm) for x86-64; as root it
# installs what is missing, some 250 MB.
#
#     core/examples/firmware/test.sh
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/umedsam/target}/firmware
target=thumbv7em-none-eabihf

install_missing() {
  local package missing=()
  for package; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || { echo "missing packages: ${missing[*]}" >&2; exit 1; }
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}
# Debian's own Rust comes with the source of core and alloc, which have to be built for the board.
install_missing rustc-web cargo-web rust-web-src ca-certificates gcc libc6-dev qemu-system-arm
llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
install_missing "lld-$llvm"
rust=$(dpkg-query -W -f='${Version}' rustc-web)
# Without the security archive apt would be content with a Rust that is too old.
dpkg --compare-versions "$rust" ge 1.91 || { echo "rustc-web is $rust: 1.91 or later is needed" >&2; exit 1; }

# For the board alone, but a change of it would build again what both share.
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
out=$CARGO_TARGET_DIR/out
mkdir -p "$out"
/usr/bin/cargo run -q --locked --release >"$out/host"
CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER=ld.lld-$llvm \
  /usr/bin/cargo build -q --locked --release --target $target -Zbuild-std=core,alloc
timeout 300 qemu-system-arm -machine mps2-an386 -cpu cortex-m4 -nographic -monitor none -serial none \
  -semihosting-config enable=on,target=native -kernel "$CARGO_TARGET_DIR/$target/release/umedsam-firmware" >"$out/board"

grep '^# ' "$out/board"
[ "$(wc -l <"$out/host")" -gt 40 ] || { echo "the host's report is too short" >&2; exit 1; }
diff "$out/host" <(grep -v '^# ' "$out/board")
echo "$(wc -l <"$out/host") lines, the same on both"
