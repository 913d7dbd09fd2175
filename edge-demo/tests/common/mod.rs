//! The command, as a person runs it in a folder.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test takes what it needs")]

pub mod blob;
pub mod server;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

pub fn umedsam(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_umedsam")).current_dir(folder).args(arguments).output().unwrap()
}

pub fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn failure(output: &Output) -> String {
    assert!(!output.status.success(), "it should have failed");
    let message = err(output);
    assert!(!message.contains("panicked"), "{message}");
    message
}

pub fn data(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).canonicalize().unwrap().display().to_string()
}

pub fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Writes arrays, each with its name, its type in numpy's letters, its shape and its bytes, as numpy does.
pub fn npz(path: &Path, arrays: &[(&str, &str, &[usize], &[u8])]) {
    let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, kind, shape, bytes) in arrays {
        let shape: String = shape.iter().map(|d| format!("{d}, ")).collect();
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
        zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
        zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        zip.write_all(header.as_bytes()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}
