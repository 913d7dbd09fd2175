#!/usr/bin/env bash
# Builds the C library and the programs beside this script, each against the shared and the static library; lays their
# masks beside the Rust API's; and runs them under valgrind, where it is installed.
#
#   core/examples/capi/test.sh [FOLDER]
#
# FOLDER, which is made, keeps what was installed and built; otherwise all goes. PROFILE is the cargo profile (release).
set -euo pipefail
cd "$(dirname "$0")/../.."

for tool in cc c++ pkg-config python3; do
  command -v "$tool" >/dev/null || { echo "test.sh: no $tool" >&2; exit 1; }
done
work=${1:-}
if [ -z "$work" ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
work=$(cd "$work" && pwd)

export PROFILE=${PROFILE:-release}
DESTDIR=$work/root PREFIX=/usr LIBDIR=/usr/lib capi/install.sh
python3 examples/capi/unpack.py ../tests/data/gate/2DBox_Microscopy_cells.npz "$work/picture"
python3 examples/capi/unpack.py ../tests/data/gate/3DBox_MR_bodies.npz "$work/volume"
# With the features of the library, so that nothing is built twice.
cargo run --locked --profile "$PROFILE" --no-default-features --features capi,bundled --example capi-reference -- "$work"

export PKG_CONFIG_PATH=$work/root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$work/root
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
read -ra shared <<<"$(pkg-config --cflags --libs umedsam) -Wl,-rpath,$work/root/usr/lib"
read -ra cflags <<<"$(pkg-config --cflags umedsam)"
read -ra all_libs <<<"$(pkg-config --static --libs umedsam)"
# The archive instead of the library of that name, which the linker would take from the shared one.
static=("${cflags[@]}" "${all_libs[@]/#-lumedsam/$work/root/usr/lib/libumedsam.a}")

strict=(-O2 -Wall -Wextra -Werror -pedantic)
for program in segment volume; do
  cc -std=c11 "${strict[@]}" -o "$work/$program-shared" "examples/capi/$program.c" "${shared[@]}"
  cc -std=c11 "${strict[@]}" -o "$work/$program-static" "examples/capi/$program.c" "${static[@]}"
done
c++ -std=c++17 "${strict[@]}" -o "$work/cpp-shared" examples/capi/segment.cpp "${shared[@]}"
c++ -std=c++17 "${strict[@]}" -o "$work/cpp-static" examples/capi/segment.cpp "${static[@]}"

read -ra picture <"$work/picture.txt"
read -ra volume <"$work/volume.txt"
boxes=$(((${#picture[@]} - 3) / 4))
compared=0

# Runs a program and compares what it writes: same_masks PROGRAM [ARGUMENT]
same_masks() {
  rm -f "$work"/found-*.pgm
  "${@}" "$work/picture.raw" "$work/found" "${picture[@]}"
  for ((i = 1; i <= boxes; i++)); do
    cmp "$work/found-$i.pgm" "$work/expected-$i.pgm"
    compared=$((compared + 1))
  done
}

same_labels() {
  rm -f "$work/found.labels"
  "${@}" "$work/volume.raw" "$work/found.labels" "${volume[@]}"
  cmp "$work/found.labels" "$work/expected.labels"
  compared=$((compared + 1))
}

cancelled() {
  local code=0
  "${@}" --cancel-after 2 "$work/volume.raw" "$work/none" "${volume[@]}" || code=$?
  [ "$code" = 3 ] && [ ! -e "$work/none" ] || { echo "test.sh: a cancelled volume ended with $code" >&2; exit 1; }
}

for kind in shared static; do
  same_masks "$work/segment-$kind"
  same_masks "$work/cpp-$kind" picture
  same_labels "$work/volume-$kind"
  same_labels "$work/cpp-$kind" volume
  cancelled "$work/volume-$kind"
done
[ "$compared" -ge 8 ]

# valgrind hides instructions that it does not know; the library then takes others, and rounding differs. So masks are
# not compared here. It computes a product and sum (FMA) in a function call, which makes an encode a matter of many
# minutes: what ends before one is always checked, a whole run with VALGRIND_ENCODE=1.
if command -v valgrind >/dev/null; then
  # Expected exit status, then the command.
  checked() {
    local expected=$1 code=0
    shift
    valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect,possible "${@}" \
      || code=$?
    [ "$code" = "$expected" ] || { echo "test.sh: under valgrind $1 ended with $code, not $expected" >&2; exit 1; }
  }
  : >"$work/empty.raw"
  # A slice callback that fails, and an exception that passes through every destructor.
  checked 1 "$work/volume-static" "$work/empty.raw" "$work/none" "${volume[@]}"
  checked 1 "$work/cpp-shared" volume "$work/volume.raw" "$work/none" "${volume[@]:0:3}" 500 500 0 510 510 5
  if [ -n "${VALGRIND_ENCODE:-}" ]; then
    checked 0 "$work/segment-shared" "$work/picture.raw" "$work/found" "${picture[@]}"
  fi
else
  echo "test.sh: no valgrind, so memory was not checked" >&2
fi
echo "test.sh: $compared masks and label volumes of C and C++ programs equal those of the Rust API"
