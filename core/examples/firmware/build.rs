//! Where a program for the board lies in its memory.

use std::env::{var, var_os};
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=memory.x");
    if var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let folder = var_os("OUT_DIR").expect("cargo sets OUT_DIR");
        std::fs::copy("memory.x", Path::new(&folder).join("memory.x")).expect("memory.x is copied");
        println!("cargo:rustc-link-search={}", Path::new(&folder).display());
        println!("cargo:rustc-link-arg=-Tlink.x");
        println!("cargo:rustc-link-arg=--nmagic");
    }
}
