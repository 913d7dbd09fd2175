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

. ../../../tests/debian.sh
install_rust
install_missing qemu-system-arm

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
