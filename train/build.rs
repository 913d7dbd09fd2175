//! Compiles what `tch` lacks of libtorch, and lets this package's programs find libtorch without LD_LIBRARY_PATH.

use std::path::Path;

const SOURCE: &str = "src/torch/torch.cpp";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={SOURCE}");
    // Absent with the feature `nolibtorch`, with which nothing links.
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    let include = Path::new(&lib).with_file_name("include");
    cc::Build::new().cpp(true).std("c++17").warnings(false).include(include).file(SOURCE).compile("umedsam_torch");
}
