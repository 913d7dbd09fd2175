#!/usr/bin/env bash
# The whole way of a kit on this machine's CPU, in short: folders are made out of the free cases of the tests, every
# command runs from them in an empty environment (no network, no home, libtorch by its path alone), a run goes on from
# the parts of another, and what came back is joined and bundled. What a CUDA device does otherwise is not run here.
#
#     train/cuda/test.sh PROGRAM EXPORT
#
# PROGRAM is umedsam-cuda, EXPORT umedsam-export.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$(realpath "$1") export=$(realpath "$2")
LIBTORCH=$(tests/libtorch.sh)
export LIBTORCH
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root/home"
export LD_LIBRARY_PATH=$LIBTORCH/lib
make_kit() {
  train/cuda/kit.sh --program "$program" --data tests/data/gate --out "$root/kit" --folders 1 "$@" >"$root/kit.txt" 2>&1 ||
    { cat "$root/kit.txt" && exit 1; }
}

# Root may leave the network behind.
alone=()
if unshare -n true 2>/dev/null; then
  alone=(unshare -n)
else
  echo "test.sh: this user cannot leave the network behind, so the runs could have used it"
fi
python=$(dirname "$(python3 -c 'import sys; print(sys.executable)')")
run() {
  echo "== $*"
  rm -rf "$root/answer"
  "${alone[@]}" env -i PATH="$python:/usr/bin:/bin" HOME="$root/home" OUT="$root/answer" UMEDSAM_KIT="$root/kit" \
    UMEDSAM_WORK="$root/work" UMEDSAM_TORCH_LIB="$LIBTORCH/lib" OMP_NUM_THREADS=1 \
    bash train/cuda/run.sh "$@" || { echo "test.sh: $1 failed" && exit 1; }
}
# What run.sh said, or the end.
said() { grep -q "$1" "$root/answer/report.txt" || { echo "test.sh: no '$1' was said" && exit 1; }; }

short=(--device cpu --seconds 12 --set training.batch=1 --set training.workers=1 --set model.precision=f32)

make_kit
train/cuda/kit.sh --check "$root/kit"
run keep
# A folder that did not travel is missed.
mkdir "$root/work/kit/3"
if "$program" check --device cpu --kit "$root/work/kit" --work "$root/gap" >"$root/gap.txt" 2>&1; then
  echo "test.sh: a kit without its second folder was taken" && exit 1
fi
grep -q 'no folder 2' "$root/gap.txt" || { cat "$root/gap.txt" && exit 1; }
rmdir "$root/work/kit/3"
run check --device cpu
said ' compared, 0 failed, '
run time --device cpu --seconds 8
said '^PyTorch: '
run loader --device cpu --seconds 4
said '^| 1 |'
run distill --device cpu --seconds 20 --set training.batch=1 --set training.workers=1
said 'begins with random weights'
said '^state: '
run qat --device cpu --seconds 20 --set training.batch=1 --set training.workers=1
said '^state: '
run train edge "${short[@]}"
said 'epoch 1: loss'
mv "$root/answer" "$root/first"
rm -rf "$root/work"
make_kit --state "$root/first"
run train edge "${short[@]}"
said 'goes on with the carried state'
said 'epoch 2: loss'

"$program" join "$root/answer" --weights "$root/kit/1/weights.planes" --out "$root/joined"
"$export" bundle "$root/joined/final.safetensors" --storage f16 --out "$root/joined.umedsam"
# A part that is missing is named.
rm "$root/answer/state.000"
if "$program" join "$root/answer" --weights "$root/kit/1/weights.planes" --out "$root/again" 2>"$root/error.txt"; then
  echo "test.sh: a state without its first part was joined" && exit 1
fi
grep -q state.000 "$root/error.txt"
# No CUDA is an error, not a CPU.
if OUT=$root/answer UMEDSAM_KIT=$root/kit UMEDSAM_WORK=$root/work UMEDSAM_TORCH_LIB=$LIBTORCH/lib \
  train/cuda/run.sh check >"$root/cuda.txt" 2>&1; then
  nvidia-smi >/dev/null || { echo "test.sh: check without a CUDA device passed" && exit 1; }
else
  grep -q CUDA "$root/cuda.txt" || { cat "$root/cuda.txt" && exit 1; }
fi
echo "test.sh: 1 passed, 0 failed"
