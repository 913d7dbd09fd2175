#!/usr/bin/env bash
# Fetches the programs with which `umedsam serve` is tested, once, into ${XDG_CACHE_HOME:-$HOME/.cache}/umedsam, and prints
# what the tests' variables want; nothing else goes to stdout:
#
#     export UMEDSAM_CLIENT=$(tests/clients.sh python)         # a Python with the clients of nnInteractive and MONAI Label,
#                                                              # 140 MB; needs pip, and at most Python 3.12
#     export UMEDSAM_CLIENT_MODULES=$(tests/clients.sh page)   # playwright-core and axe-core, 18 MB; needs npm
#     schemathesis=$(tests/clients.sh schemathesis)            # what edge-demo/tests/schema.sh runs, 160 MB; needs pip
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/umedsam
mkdir -p "$cache"
part=$(mktemp -d "$cache/part.XXXXXX")
trap 'rm -rf "$part"' EXIT

case "${1:-}" in
python)
  home=$cache/python-clients-1
  if [ ! -e "$home" ]; then
    pip() { python3 -m pip "$@" -q --disable-pip-version-check --no-cache-dir --only-binary=:all: >&2; }
    pip install --target "$part/packages" nninteractive-client==2.6.0 blosc2==4.14.1 requests
    # Of MONAI Label the client alone, which needs nothing else.
    pip download --no-deps -d "$part" monailabel==0.8.5
    python3 -c 'import sys, zipfile
for path in sys.argv[2:]:
    archive = zipfile.ZipFile(path)
    archive.extractall(sys.argv[1], [name for name in archive.namelist() if name.startswith("monailabel/client/")])
' "$part/packages" "$part"/monailabel-*.whl
    rm "$part"/monailabel-*.whl
    printf '#!/bin/sh\nPYTHONPATH=%q exec python3 "$@"\n' "$home/packages" >"$part/python"
    chmod +x "$part/python"
    mv -T "$part" "$home"
  fi
  echo "$home/python"
  ;;
schemathesis)
  home=$cache/schemathesis-4.32.1
  if [ ! -e "$home" ]; then
    python3 -m pip install -q --disable-pip-version-check --no-cache-dir --only-binary=:all: --target "$part/packages" \
      schemathesis==4.32.1 >&2
    printf '#!/bin/sh\nPYTHONPATH=%q exec python3 -m schemathesis.cli "$@"\n' "$home/packages" >"$part/schemathesis"
    chmod +x "$part/schemathesis"
    mv -T "$part" "$home"
  fi
  echo "$home/schemathesis"
  ;;
page)
  home=$cache/page-modules-1
  if [ ! -e "$home" ]; then
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$part" \
      playwright-core@1.65.1 axe-core@4.14.1 >&2
    mv -T "$part" "$home"
  fi
  echo "$home"
  ;;
*)
  echo "usage: clients.sh python | schemathesis | page" >&2 && exit 2
  ;;
esac
