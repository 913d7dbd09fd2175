#!/usr/bin/env bash
# What this machine's own CPU cannot run: the kernels' tests and the built-in model, block by block and whole, for AArch64
# on emulated CPUs and for WebAssembly in Node.js. For root on Debian 12 (bookworm) for x86-64; installs what is missing,
# the first time some 450 MB, and changes nothing else of the system.
#
#     tests/cross.sh                 # all of: native aarch64 wasm32 model-aarch64 model-wasm32
#     tests/cross.sh aarch64
#     tests/cross.sh count-aarch64   # no test: the instructions of an encode, for benches/RESULTS.md
#
# The model's blocks and masks are compared with those of this machine, which are made first. UMEDSAM_RECORDED names a
# folder of them that is there already: what `core/tests/machines.rs` writes into UMEDSAM_RECORD.
#
# Debian's own Rust does the work, because it comes with a std for AArch64 and with the source of std for WebAssembly;
# no other toolchain is needed or touched.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/umedsam/cross
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/umedsam/target}/cross
mkdir -p "$cache"
targets=${*:-native aarch64 wasm32 model-aarch64 model-wasm32}

# ----- What it takes -----

. tests/debian.sh
install_rust
install_missing rust-web-llvm gcc-aarch64-linux-gnu libc6-dev-arm64-cross wasi-libc
command -v node >/dev/null || install_missing nodejs

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
# The emulator of the backports knows CPUs with the 8-bit and 16-bit products of matrices, bookworm's own only "max".
archive=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
  sed -n 's/ bookworm$//p' | sort -u | head -n 1)
[ -n "$archive" ] || { echo "apt knows no archive of bookworm" >&2; exit 1; }
unpack qemu-user /bookworm-backports "$(dpkg --print-architecture)" \
  "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive bookworm-backports main" usr/bin/qemu-aarch64

# ----- The tests -----

export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
# `kernels EXPECTED CARGO_ARGUMENT...` runs them all, and fails unless EXPECTED is the fastest set that ran.
kernels() {
  UMEDSAM_EXPECT_KERNELS=$1 /usr/bin/cargo test -q -p umedsam --lib --no-default-features --features kernels "${@:2}" \
    kernels -- --nocapture
}

# `model EXPECTED CARGO_ARGUMENT...` runs the built-in model, and fails unless EXPECTED is the fastest set of kernels.
model() {
  UMEDSAM_EXPECT_KERNELS=$1 /usr/bin/cargo test -q --release -p umedsam --no-default-features --features bundled \
    --test machines "${@:2}"
}

# What this machine finds, once: tract runs the bodies of the blocks' functions.
record() {
  [ -z "${UMEDSAM_RECORDED:-}" ] || return 0
  rm -rf "$cache/recorded"
  mkdir "$cache/recorded"
  UMEDSAM_RECORD=$cache/recorded UMEDSAM_EXPECT_KERNELS=${UMEDSAM_EXPECT_KERNELS:-} \
    /usr/bin/cargo test -q --release -p umedsam --features bundled --test machines
  export UMEDSAM_RECORDED=$cache/recorded
}

native() {
  echo "----- this machine"
  kernels "${UMEDSAM_EXPECT_KERNELS:-}"
}

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS=--sysroot=$cache/libstd-rust-web-dev/usr
emulator="$cache/qemu-user/usr/bin/qemu-aarch64 -L /usr/aarch64-linux-gnu"

aarch64() {
  local cpu
  # Each CPU and the fastest kernels that it runs. The last is the emulator's own, with all that it knows.
  for cpu in cortex-a53=neon cortex-a72=neon cortex-a55=neon-fp16 cortex-a76=neon-fp16 neoverse-n1=neon-fp16 \
    cortex-a710=neon-bf16 neoverse-v1=neon-bf16 max=neon-bf16; do
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$emulator -cpu ${cpu%=*}"
    echo "----- ${cpu%=*}"
    kernels "${cpu#*=}" --target aarch64-unknown-linux-gnu
  done
}

model-aarch64() {
  record
  echo "----- the built-in model on AArch64"
  # With products in f16 and 8 bits; the emulation of bf16 takes many times longer.
  UMEDSAM_EMULATED=1 CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$emulator -cpu cortex-a76" \
    model neon-fp16 --target aarch64-unknown-linux-gnu
}

# Instructions of an encode in each precision, on the CPUs that bookworm's own emulator knows, the only one that takes
# plugins. The last has all that it knows, of which the kernels take bf16 and the 8-bit products of matrices.
count-aarch64() {
  install_missing qemu-user
  gcc -O2 -shared -fPIC -o "$cache/count.so" benches/arm-count.c
  /usr/bin/cargo build -q --release -p umedsam --no-default-features --features bundled --example encode \
    --target aarch64-unknown-linux-gnu
  local cpu precision counted program=$CARGO_TARGET_DIR/aarch64-unknown-linux-gnu/release/examples/encode
  echo "| CPU | precision | instructions of an encode, 1e9 | of loading, 1e9 |"
  echo "|---|---|---|---|"
  for cpu in cortex-a53 cortex-a76 max; do
    for precision in int8 f32 f16 bf16; do
      # Emulated by other instructions where a CPU has none: nobody would choose it.
      case $cpu-$precision in cortex-a53-*16 | cortex-a76-bf16) continue ;; esac
      counted=$(/usr/bin/qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu "$cpu" -plugin "$cache/count.so" "$program" "$precision" 2>&1 |
        tee "$cache/counted.txt" | awk '/^instructions/ { n[++i] = $2 }
          END { if (i == 2) printf "%.2f | %.2f", (n[2] - n[1]) / 1e9, n[1] / 1e9 }')
      [ -n "$counted" ] || { echo "count-aarch64: $cpu, $precision: $(tail -n 3 "$cache/counted.txt")" >&2; exit 1; }
      echo "| $cpu | $precision | $counted |"
    done
  done
}

# `web FEATURES COMMAND...` builds and runs for WebAssembly with these features of the target.
web() {
  # There is no std to be had but the one that cargo builds, from the source that came with the compiler.
  export RUSTC_BOOTSTRAP=1
  export CARGO_TARGET_WASM32_WASIP1_LINKER=wasm-ld-$llvm
  cat >"$cache/wasi.mjs" <<'END'
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";
const [file, ...args] = process.argv.slice(2);
const { env } = process;
const folder = env.UMEDSAM_RECORDED;
const preopens = folder ? { [folder]: folder } : {};
const wasi = new WASI({ version: "preview1", args: [file, ...args], env, preopens });
const module = await WebAssembly.compile(await readFile(file));
process.exitCode = wasi.start(await WebAssembly.instantiate(module, { wasi_snapshot_preview1: wasi.wasiImport }));
END
  local libc=/usr/lib/wasm32-wasi node=node
  # Node.js 20 knows relaxed-simd, but must be told; those before it know another draft.
  ! node --v8-options | grep -q -- --experimental-wasm-relaxed-simd || node+=" --experimental-wasm-relaxed-simd"
  export CARGO_TARGET_WASM32_WASIP1_RUNNER="$node --no-warnings $cache/wasi.mjs"
  # Debian's libc has no threads. What std would do with them ends the program, should it be called.
  local link="-Clink-self-contained=no -Clink-arg=-L$libc -Clink-arg=$libc/crt1-command.o -Clink-arg=-lc"
  link+=" -Clink-arg=--unresolved-symbols=ignore-all"
  # Node.js crashes where memory grows while files are read: it has all that it needs from the beginning.
  link+=" -Clink-arg=--initial-memory=$((1 << 30))"
  CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-Ctarget-feature=$1 $link" \
    "${@:2}" --target wasm32-wasip1 -Zbuild-std=std,panic_abort
}

wasm32() {
  local features
  for features in +simd128 +simd128,+relaxed-simd; do
    echo "----- wasm32 $features"
    if [[ $features = *relaxed* && $(node -p 'parseInt(process.versions.node)') -lt 20 ]]; then
      echo "left out: Node.js is older than 20"
      continue
    fi
    web "$features" kernels simd128
  done
}

model-wasm32() {
  record
  echo "----- the built-in model on wasm32"
  web +simd128 model simd128
}

for target in $targets; do
  case $target in
    native | aarch64 | wasm32 | model-aarch64 | model-wasm32 | count-aarch64) "$target" ;;
    *) echo "no such target: $target" >&2; exit 1 ;;
  esac
done
