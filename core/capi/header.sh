#!/usr/bin/env bash
# Makes include/umedsam.h from src/capi with cbindgen, or with --check says whether it is up to date.
# cbindgen is found by $CBINDGEN, or on the path: cargo install cbindgen --version 0.29.4
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.29.4
cbindgen=${CBINDGEN:-cbindgen}
found=$("$cbindgen" --version) || { echo "header.sh: cargo install cbindgen --version $version" >&2; exit 1; }
if [ "$found" != "cbindgen $version" ]; then
  echo "header.sh: $found found, another version writes another header than cbindgen $version" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# One source in the order of the header: of the whole crate, cbindgen would take all constants.
cat src/capi/mod.rs >"$work/capi.rs"
for part in status model options session image segment uncertainty volume; do
  grep -v '^//!' "src/capi/$part.rs" >>"$work/capi.rs"
done
"$cbindgen" --quiet --config cbindgen.toml --output "$work/umedsam.h" "$work/capi.rs"

case "${1:-}" in
  --check) diff -u include/umedsam.h "$work/umedsam.h" || { echo "header.sh: include/umedsam.h is not that of src/capi" >&2; exit 1; } ;;
  "") cp "$work/umedsam.h" include/umedsam.h ;;
  *) echo "usage: header.sh [--check]" >&2; exit 2 ;;
esac
