#!/usr/bin/env bash
# Makes a folder with the page of `umedsam serve` that needs no server: readers and network run in the page as WebAssembly,
# and the model is a file beside it. Any server of files can give it out, such as `python3 -m http.server -d OUT`.
#
#   edge-demo/web/build.sh OUT [MODEL]      the built-in model if none is named
#
# The page takes as many threads as the machine has where the browser lets it, which is where the server of files sends with
# each file
#
#   Cross-Origin-Opener-Policy: same-origin
#   Cross-Origin-Embedder-Policy: require-corp
#
# and one elsewhere. Needs the target wasm32-unknown-unknown and the source of std, which is built anew for threads:
#
#   rustup target add wasm32-unknown-unknown && rustup component add rust-src
set -euo pipefail
out=${1:?usage: build.sh OUT [MODEL]}
mkdir -p "$(dirname "$out")"
out=$(realpath "$out") model=$(realpath "${2:-$(dirname "$0")/../../core/assets/u-medsam-int8.umedsam}")
cd "$(dirname "$0")/../.."

[ ! -e "$out" ] || { echo "build.sh: $out exists" >&2 && exit 1; }
# Every browser since 2023 has simd128 and threads; relaxed-simd is not in all. The memory is made by worker.js, which tells
# how large, and each thread brings a stack and its own variables (thread.js).
flags=-Ctarget-feature=+simd128,+atomics,+bulk-memory,+mutable-globals
for word in --import-memory --shared-memory --initial-memory=$((32 << 20)) --max-memory=$((4 << 30)) \
  --export={__stack_pointer,__wasm_init_tls,__tls_size,__tls_align}; do
  flags+=" -Clink-arg=$word"
done
# Threads in WebAssembly are no part of stable Rust yet.
RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS=$flags cargo rustc --locked --release -p umedsam-demo --lib \
  --no-default-features --target wasm32-unknown-unknown --crate-type cdylib -Zbuild-std=std,panic_abort
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

part=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$part"' EXIT
mkdir "$part/page"
cp edge-demo/assets/page/{icon.svg,main.js,objects.js,pointer.js,style.css,view.js} edge-demo/web/{api,library,thread,worker}.js \
  edge-demo/assets/{retina.jpg,cell.png} "$part/page"
sed 's|"/page/|"page/|g' edge-demo/assets/page/index.html >"$part/index.html"
cp "$target/wasm32-unknown-unknown/release/umedsam_demo.wasm" "$part/page/umedsam.wasm"
cp "$model" "$part/page/model.umedsam"
chmod 755 "$part"
trap - EXIT
mv "$part" "$out"
du -sh "$out" | cut -f1
