#!/usr/bin/env bash
# Builds the C library and installs it: libumedsam.so and libumedsam.a, umedsam.h and a pkg-config file.
#
#   PREFIX=/usr/local DESTDIR= capi/install.sh [--without-model]
#
# PROFILE names the cargo profile (device), TARGET a target of rustc (this machine), LIBDIR where libraries go
# ($PREFIX/lib). Linux; elsewhere the names of the libraries are others.
set -euo pipefail
cd "$(dirname "$0")/.."

features=capi,bundled
case "${1:-}" in
  --without-model) features=capi ;;
  "") ;;
  *) echo "usage: install.sh [--without-model]" >&2; exit 2 ;;
esac
DESTDIR=${DESTDIR:-}
prefix=${PREFIX:-/usr/local}
libdir=${LIBDIR:-$prefix/lib}
profile=${PROFILE:-device}

abi=$(sed -n 's/^#define UMEDSAM_ABI_VERSION //p' include/umedsam.h)
version=$(cargo pkgid | sed 's/.*[#@]//')
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# What a static program has to link beside the library, rustc says while it builds it.
cargo rustc --locked --lib --profile "$profile" ${TARGET:+--target "$TARGET"} --no-default-features --features "$features" \
  --crate-type cdylib,staticlib -- --print native-static-libs -C link-arg="-Wl,-soname,libumedsam.so.$abi" 2> >(tee "$log" >&2)
private=$(sed -n 's/.*native-static-libs: //p' "$log" | tail -1)
[ -n "$private" ] || { echo "install.sh: rustc did not say what a static program links" >&2; exit 1; }

target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
built=$target${TARGET:+/$TARGET}/$profile
install -d "$DESTDIR$libdir/pkgconfig" "$DESTDIR$prefix/include"
install -m 644 include/umedsam.h "$DESTDIR$prefix/include/"
install -m 755 "$built/libumedsam.so" "$DESTDIR$libdir/libumedsam.so.$version"
ln -sf "libumedsam.so.$version" "$DESTDIR$libdir/libumedsam.so.$abi"
ln -sf "libumedsam.so.$abi" "$DESTDIR$libdir/libumedsam.so"
install -m 644 "$built/libumedsam.a" "$DESTDIR$libdir/"
cat >"$DESTDIR$libdir/pkgconfig/umedsam.pc" <<PC
prefix=$prefix
includedir=\${prefix}/include
libdir=$libdir

Name: umedsam
Description: Medical images segmented by boxes, on a CPU
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lumedsam
Libs.private: -Wl,--gc-sections -Wl,-z,noexecstack $private
PC
