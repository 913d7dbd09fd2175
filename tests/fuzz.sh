#!/usr/bin/env bash
# Fuzzing of what reads files of strangers, and of geometry, under AddressSanitizer. Needs rustup, a C++ compiler, a nightly
# Rust, which it fetches where there is none, and cargo-fuzz; not a part of CI.
#
#     tests/fuzz.sh                    # 20 minutes each of: bundle geometry npz onnx
#     tests/fuzz.sh 60 npz onnx        # a minute each of these
#
# The corpus stays in $CORPUS (~/.cache/umedsam/fuzz); an input that fails is written there too, and ends the run.
set -euo pipefail
cd "$(dirname "$0")/.."
corpus=${CORPUS:-${XDG_CACHE_HOME:-$HOME/.cache}/umedsam/fuzz}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/umedsam/target}/fuzz
rustup toolchain list | grep -q '^nightly-' || rustup -q toolchain install nightly --profile minimal --no-self-update >&2
cargo fuzz --version >/dev/null 2>&1 || cargo install -q --locked cargo-fuzz --version 0.13.2

seconds=${1:-1200}
shift || true
# What fuzzing begins with: files that are right.
mkdir -p "$corpus"/{bundle,geometry,npz,onnx,artifacts}
cp tests/data/gate/*.npz "$corpus/npz/"
[ -s "$corpus/bundle/built-in" ] || cp core/assets/u-medsam-int8.umedsam "$corpus/bundle/built-in"
for target in ${*:-bundle geometry npz onnx}; do
  words=
  [ ! -e "core/fuzz/$target.dict" ] || words=core/fuzz/$target.dict
  cargo +nightly fuzz run --fuzz-dir core/fuzz "$target" "$corpus/$target" -- \
    ${words:+-dict="$words"} -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -artifact_prefix="$corpus/artifacts/"
done
