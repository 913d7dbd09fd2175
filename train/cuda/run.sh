#!/usr/bin/env bash
# On the lent machine, in the repository's root: runs umedsam-cuda out of the folders that kit.sh made, and keeps what it
# prints in $OUT/report.txt.
#
#     train/cuda/run.sh keep                     # only to bring a folder along; the last call is for work
#     train/cuda/run.sh all edge --seconds 540
#
# Needs CUDA 13 with its driver, a Python with torch 2.11 (of which only libtorch is used, unless `time` runs PyTorch
# beside), and nothing from the network. UMEDSAM_TORCH_LIB names libtorch's folder where no Python has it.
set -euo pipefail
cd "$(dirname "$0")/../.."

command=$1
shift
kit=${UMEDSAM_KIT:-.gpu}
out=${OUT:-$kit/out}
work=${UMEDSAM_WORK:-${TMPDIR:-/tmp}/umedsam-cuda}
mkdir -p "$out" "$work"
torch=${UMEDSAM_TORCH_LIB:-$(python3 -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))')}
# CUDA's own libraries are beside torch; some are looked for by name alone.
nvidia=$torch/../../nvidia
export LD_LIBRARY_PATH="$torch:$nvidia/cu13/lib:$nvidia/cudnn/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# What `engine.deterministic` needs of cuBLAS; and memory that is freed is cut anew instead of falling to pieces.
export CUBLAS_WORKSPACE_CONFIG=:4096:8 PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
# Threads that wait in a loop would take the time of those that make batches.
export OMP_WAIT_POLICY=PASSIVE

# What an earlier call brought is kept beside what this one did: a call carries one folder.
mkdir -p "$work/kit"
for folder in "$kit"/[0-9]*; do
  [ ! -d "$folder" ] || cp -r "$folder" "$work/kit/"
done
kit=$work/kit
program=$work/umedsam-cuda
if [ ! -x "$program" ] && [ -e "$kit/1/umedsam-cuda.xz" ]; then
  if command -v xz >/dev/null; then
    xz -dc "$kit/1/umedsam-cuda.xz" >"$program.part"
  else
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[2], "wb"))' \
      "$kit/1/umedsam-cuda.xz" "$program.part"
  fi
  chmod +x "$program.part"
  mv "$program.part" "$program"
fi
if [ "$command" = keep ]; then
  echo "kept: $(cd "$kit" && echo ./*)"
  exit 0
fi

place=${UMEDSAM_PLACE:-$work/work}
case $command in
check) set -- --kit "$kit" --work "$place" "$@" ;;
time | loader) set -- --kit "$kit" --work "$place" "$@" ;;
train | distill | qat | all) set -- --kit "$kit" --work "$place" --out "$out" "$@" ;;
rest) set -- --out "$out" "$@" ;;
*) echo "run.sh: $command is not keep, check, time, loader, train, distill, qat, all or rest" >&2 && exit 2 ;;
esac
"$program" "$command" "$@" 2>&1 | tee "$out/report.txt"
