#!/usr/bin/env bash
# Miri over the unsafe code that it can run: the portable kernels with all the code around them (packing, tiles, panels,
# buffers), and core's parts without an operating system. It finds reads of memory that nothing wrote, accesses out of
# bounds or misaligned, and two mutable references to one place. Needs rustup and a nightly Rust, which it fetches with Miri
# (some 300 MB) where there is none; not a part of CI.
#
#     tests/miri.sh                    # everything
#     tests/miri.sh kernels::tests     # the tests whose names hold this
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/umedsam/target}/miri
# A nightly that is there is not replaced by a newer one.
if rustup toolchain list | grep -q '^nightly-'; then
  rustup -q component add miri rust-src --toolchain nightly >&2
else
  rustup -q toolchain install nightly --profile minimal --component miri,rust-src --no-self-update >&2
fi
# A property is tried on few inputs: Miri is some thousand times slower.
export PROPTEST_CASES=${PROPTEST_CASES:-4}
# Tests write files.
export MIRIFLAGS=${MIRIFLAGS:--Zmiri-disable-isolation}
cargo +nightly miri test -p umedsam --lib --no-default-features --features kernels -- "$@"
