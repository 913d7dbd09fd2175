#!/usr/bin/env bash
# Installs libtorch 2.11.0 for the train package, unless it is there, and prints the folder to put into LIBTORCH.
#
# PyPI's torch wheel holds libtorch; of the packages that it depends on, only two are needed to link and run on a CPU.
# LIBTORCH_HOME says where it goes: ~/.cache/libtorch-2.11.0 if unset.
set -euo pipefail

version=2.11.0
home=${LIBTORCH_HOME:-$HOME/.cache/libtorch-$version}

if [ ! -e "$home/torch/build-version" ]; then
  mkdir -p "$(dirname "$home")"
  partial=$(mktemp -d "$home.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  platforms=()
  for glibc in 2_28 2_27 2_25 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
  # One call: a second one would not merge the nvidia folder.
  python3 -m pip install -q --no-deps --no-compile --no-cache-dir --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 --abi none "${platforms[@]}" --platform manylinux2014_x86_64 \
    --target "$partial" "torch==$version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 >&2
  # Not loaded on a CPU, and most of the size.
  rm -f "$partial"/torch/lib/libtorch_{cuda,cuda_linalg,python}.so
  # Turns on torch-sys's check of the version.
  echo "$version" > "$partial/torch/build-version"
  rm -rf "$home"
  mv "$partial" "$home"
  trap - EXIT
fi
echo "$home/torch"
