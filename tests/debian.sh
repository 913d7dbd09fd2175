# To be sourced: packages of Debian 12 (bookworm), and its own Rust, which comes with std for other processors and with the
# source of std, core and alloc.

# Installs those of these packages that are missing.
install_missing() {
  local package missing=()
  for package; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || { echo "missing packages, which root can install: ${missing[*]}" >&2; exit 1; }
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# Debian's Rust, of version $rust, and the linker of its LLVM, of version $llvm.
install_rust() {
  install_missing rustc-web cargo-web rust-web-src ca-certificates gcc libc6-dev
  llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  install_missing "lld-$llvm"
  rust=$(dpkg-query -W -f='${Version}' rustc-web)
  # Without the security archive apt would be content with a Rust that is too old.
  dpkg --compare-versions "$rust" ge 1.92 || { echo "rustc-web is $rust: 1.92 or later is needed" >&2; exit 1; }
}
