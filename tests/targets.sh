#!/usr/bin/env bash
# Compiles, without linking or running, what no test here runs on: processors of 32 bits and without an operating
# system, AArch64 and WebAssembly, each with the features that a device of its kind would use, and the oldest Rust that
# Cargo.toml promises. Warnings are errors. Fetches the targets and that Rust through rustup, the first time 250 MB.
#
# `run` runs, too: the kernels' tests on emulated processors of 32 bits (armv7) and of RISC-V, with Debian's cross compilers
# and qemu-user.
#
#     tests/targets.sh                 # all of: bare devices whole msrv run
#     tests/targets.sh bare msrv
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/umedsam/target}/targets

check() {
  local flags=$1
  shift
  echo "----- cargo $* ${flags:+($flags)}"
  RUSTFLAGS="-D warnings $flags" cargo "$@"
}

# `targets NAME...` installs them, where they are not, and gives cargo's options for all of them.
targets() {
  rustup -q target add "$@" >&2
  printf -- '--target %s ' "$@"
}

# Geometry, pictures, metrics and volumes, on a microcontroller.
bare() {
  check "" check $(targets thumbv7em-none-eabihf) -p umedsam --no-default-features
}

# The kernels and the cases' format: all of ours that is written for one processor or depends on the size of a pointer.
devices() {
  local features=(-p umedsam --no-default-features --features kernels,npz,serde)
  check "" check $(targets aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf i686-unknown-linux-gnu \
    wasm32-unknown-unknown) "${features[@]}"
  local simd
  for simd in +simd128 +simd128,+relaxed-simd; do
    check "-Ctarget-feature=$simd" check $(targets wasm32-unknown-unknown) "${features[@]}"
  done
}

# The whole command, tract and all, on 32 bits. For ARM tract's own kernels take a C compiler of that target;
# tests/cross.sh has one, and runs the model.
whole() {
  check "" check $(targets i686-unknown-linux-gnu) -p umedsam-demo
}

msrv() {
  local version
  version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
  rustup -q toolchain install "$version" --profile minimal --no-self-update >&2
  check "" "+$version" check -p umedsam-demo -p umedsam-export
}

run() {
  . tests/debian.sh
  install_missing qemu-user gcc-arm-linux-gnueabihf libc6-dev-armhf-cross gcc-riscv64-linux-gnu libc6-dev-riscv64-cross
  export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
  export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUNNER="qemu-arm -L /usr/arm-linux-gnueabihf"
  export CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_GNU_LINKER=riscv64-linux-gnu-gcc
  export CARGO_TARGET_RISCV64GC_UNKNOWN_LINUX_GNU_RUNNER="qemu-riscv64 -L /usr/riscv64-linux-gnu"
  local target
  for target in armv7-unknown-linux-gnueabihf riscv64gc-unknown-linux-gnu; do
    UMEDSAM_EXPECT_KERNELS=portable check "" test -q $(targets "$target") -p umedsam --lib --no-default-features \
      --features kernels kernels
  done
}

for part in ${*:-bare devices whole msrv run}; do
  case $part in
    bare | devices | whole | msrv | run) "$part" ;;
    *) echo "no such part: $part" >&2; exit 1 ;;
  esac
done
