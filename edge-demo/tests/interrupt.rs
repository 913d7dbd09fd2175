//! Ctrl-C: what is done stays, and of what is in hand nothing does.
#![cfg(unix)]

mod common;
#[path = "common/nifti.rs"]
mod made;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{err, files, umedsam};

#[test]
fn ctrl_c_leaves_what_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let plain = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]];
    let value = |[x, y, _]: [i32; 3]| if (x - 16).pow(2) + (y - 16).pow(2) < 60 { 300 } else { 20 };
    made::nifti(&path("a.nii"), [32, 32, 3], plain, value);
    made::nifti(&path("b.nii"), [32, 32, 400], plain, value);
    made::nifti(&path("c.nii"), [32, 32, 3], plain, value);
    let arguments = ["segment", "a.nii", "b.nii", "c.nii", "--box3d", "8,8,0,24,24,399", "--csv", "objects.csv"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_umedsam"));
    let child = command.current_dir(folder.path()).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    let (start, deadline) = (Instant::now(), Duration::from_secs(60));
    while !path("out/a.nii").exists() {
        assert!(start.elapsed() < deadline, "nothing is done");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let message = err(&output);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("interrupted: b.nii is dropped after "), "{message}");
    assert!(message.contains(" of 400 slices; of 3 inputs 1 are done") || message.contains("of 405"), "{message}");
    assert_eq!(files(&path("out")), ["a.nii"]);
    let table = std::fs::read_to_string(path("objects.csv")).unwrap();
    assert_eq!(table.lines().count(), 2, "{table}");
    let whole = std::fs::read(path("out/a.nii")).unwrap();
    assert!(umedsam(folder.path(), &["segment", "a.nii", "--box3d", "8,8,0,24,24,399"]).status.success());
    assert_eq!(std::fs::read(path("out/a.nii")).unwrap(), whole);
}
