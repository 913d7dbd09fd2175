#!/usr/bin/env bash
# Fetches the programs with which `umedsam serve` is tested, once, into ${XDG_CACHE_HOME:-$HOME/.cache}/umedsam, and prints
# what the tests' variables want; nothing else goes to stdout:
#
#     export UMEDSAM_CLIENT=$(tests/clients.sh nninteractive)      # a Python with nninteractive-client, 160 MB; needs pip
#     export UMEDSAM_CLIENT_MODULES=$(tests/clients.sh page)       # playwright-core and axe-core, 18 MB; needs npm
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/umedsam
mkdir -p "$cache"
part=$(mktemp -d "$cache/part.XXXXXX")
trap 'rm -rf "$part"' EXIT

case "${1:-}" in
nninteractive)
  home=$cache/nninteractive-client-2.6.0
  if [ ! -e "$home" ]; then
    python3 -m pip install -q --disable-pip-version-check --no-cache-dir --only-binary=:all: --target "$part/packages" \
      nninteractive-client==2.6.0 blosc2==4.14.1 >&2
    printf '#!/bin/sh\nPYTHONPATH=%q exec python3 "$@"\n' "$home/packages" >"$part/python"
    chmod +x "$part/python"
    mv -T "$part" "$home"
  fi
  echo "$home/python"
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
  echo "usage: clients.sh nninteractive | page" >&2 && exit 2
  ;;
esac
