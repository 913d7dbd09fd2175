#!/usr/bin/env bash
# Installs the part of libtorch 2.11.0 that `umedsam-train` links (Linux x86-64, CPU) and prints the folder that
# belongs into LIBTORCH; nothing else goes to stdout:
#
#     export LIBTORCH=$(tests/libtorch.sh)
#
# It lands in ${LIBTORCH_HOME:-$HOME/.cache/libtorch-2.11.0}, about 650 MB after a 544 MB download, and is kept.
set -euo pipefail

version=2.11.0
home=${LIBTORCH_HOME:-$HOME/.cache/libtorch-$version}
mkdir -p "$(dirname "$home")"

# The version file is written before the rename, so where it lies in place the installation is whole.
installed() { [ "$(cat "$home/torch/build-version" 2>/dev/null)" = "$version" ]; }

if ! installed; then
  # One download at a time: a second run waits here and then finds the work done. The kernel drops the lock of a
  # killed run; what such a run left is in the temporary folder, which the next one clears.
  exec 9>"$home.lock"
  flock 9
fi

if ! installed; then
  case "$(uname -sm)" in
  "Linux x86_64") ;;
  *) echo "libtorch.sh: only Linux x86-64, not $(uname -sm)" >&2 && exit 1 ;;
  esac
  if [ -e "$home" ] && [ -n "$(ls -A "$home")" ]; then
    echo "libtorch.sh: $home is no libtorch $version and not empty; remove it or set LIBTORCH_HOME" >&2
    exit 1
  fi
  part=$home.part
  rm -rf "$part"
  trap 'rm -rf "$part"' EXIT
  platforms=(--platform manylinux2014_x86_64)
  for glibc in 17 25 27 28; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done
  # No Python of this wheel is ever run, so the host's Python version does not matter: always the cp311 build.
  # One call, since a second one with --target would not merge the nvidia folder.
  python3 -m pip install -q --disable-pip-version-check \
    --no-deps --no-compile --no-cache-dir --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 --abi none "${platforms[@]}" \
    --target "$part" \
    "torch==$version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 >&2
  # Nothing links these three (540 MB); a CUDA machine brings its own.
  rm -f "$part"/torch/lib/libtorch_{cuda,cuda_linalg,python}.so
  # Turns torch-sys's version check on.
  echo "$version" >"$part/torch/build-version"
  mv -T "$part" "$home"
fi

(cd "$home/torch" && pwd)
