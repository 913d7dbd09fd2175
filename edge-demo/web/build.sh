#!/usr/bin/env bash
# Makes a folder with the page of `umedsam serve` that needs no server: readers and network run in the page as WebAssembly,
# and the model is a file beside it. Any server of files can give it out, such as `python3 -m http.server -d OUT`.
#
#   edge-demo/web/build.sh OUT [MODEL]      the built-in model if none is named
#
# Needs the target wasm32-unknown-unknown (rustup target add wasm32-unknown-unknown).
set -euo pipefail
out=${1:?usage: build.sh OUT [MODEL]}
mkdir -p "$(dirname "$out")"
out=$(realpath "$out") model=$(realpath "${2:-$(dirname "$0")/../../core/assets/u-medsam-int8.umedsam}")
cd "$(dirname "$0")/../.."

[ ! -e "$out" ] || { echo "build.sh: $out exists" >&2 && exit 1; }
# Every browser since 2023 has simd128; relaxed-simd is not in all.
CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=-Ctarget-feature=+simd128 cargo rustc --locked --release -p umedsam-demo --lib \
  --no-default-features --target wasm32-unknown-unknown --crate-type cdylib
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

part=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$part"' EXIT
mkdir "$part/page"
cp edge-demo/assets/page/{icon.svg,main.js,objects.js,pointer.js,style.css,view.js} edge-demo/web/{api,worker}.js \
  edge-demo/assets/{retina.jpg,cell.png} "$part/page"
sed 's|"/page/|"page/|g' edge-demo/assets/page/index.html >"$part/index.html"
cp "$target/wasm32-unknown-unknown/release/umedsam_demo.wasm" "$part/page/umedsam.wasm"
cp "$model" "$part/page/model.umedsam"
chmod 755 "$part"
trap - EXIT
mv "$part" "$out"
du -sh "$out" | cut -f1
