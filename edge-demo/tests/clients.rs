//! The clients of nnInteractive and MONAI Label against the server. Its answers are those of `umedsam segment` on the same
//! voxels.
#![cfg(feature = "client-tests")]

mod common;
#[path = "common/nifti.rs"]
mod nifti;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::blob::{SHAPE, blob, case};
use common::server::Server;
use common::{data, out, umedsam};
use nifti::nifti;
use umedsam::npz::{Limits, read_segs};

fn client(arguments: &[&str]) {
    let python = std::env::var("UMEDSAM_CLIENT").expect("UMEDSAM_CLIENT names a Python with the clients");
    let output = Command::new(python).arg(data("tests/clients.py")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("all of it held"), "{said}");
}

/// A slice of the volume along an axis, as a case of its own.
fn plane(voxels: &[u8], axis: usize, index: usize) -> (Vec<usize>, Vec<u8>) {
    let [depth, height, width] = SHAPE;
    let at = |z: usize, y: usize, x: usize| voxels[(z * height + y) * width + x];
    match axis {
        0 => (vec![height, width], voxels[index * height * width..][..height * width].to_vec()),
        1 => (vec![depth, width], (0..depth).flat_map(|z| (0..width).map(move |x| at(z, index, x))).collect()),
        _ => (vec![depth, height], (0..depth).flat_map(|z| (0..height).map(move |y| at(z, y, index))).collect()),
    }
}

fn segs(path: &Path) -> Vec<u8> {
    read_segs(path, &Limits::new()).unwrap().0.iter().map(|&label| u8::from(label > 0)).collect()
}

/// Runs `umedsam segment`, and keeps what it found as a raw file. Slices are encoded once for all runs.
fn segment(folder: &Path, arguments: &[&str], out_folder: &str, names: &[(&str, &str)]) {
    let common = ["--cache", "cache", "--out", out_folder];
    out(&umedsam(folder, &[&["segment"], arguments, &common].concat()));
    for (found, name) in names {
        let mask = segs(&folder.join(format!("{out_folder}/{found}.npz")));
        assert!(mask.iter().filter(|&&v| v > 0).count() > 100, "{name}");
        fs::write(folder.join(format!("{name}.raw")), mask).unwrap();
    }
}

#[test]
fn clients_get_what_the_command_finds() {
    let folder = tempfile::tempdir().unwrap();
    let voxels = blob();
    fs::write(folder.path().join("volume.raw"), &voxels).unwrap();
    // x0, y0, x1, y1 of each slice, and x0, y0, z0, x1, y1, z1: both ends included.
    let boxes = [(0, 11, [20.0, 10.0, 60.0, 44.0]), (1, 27, [20.0, 2.0, 60.0, 22.0]), (2, 40, [10.0, 2.0, 44.0, 22.0])];
    for (axis, index, one) in boxes {
        let (shape, pixels) = plane(&voxels, axis, index);
        case(&folder.path().join(format!("2DBox_{axis}.npz")), &shape, &pixels, &one);
    }
    case(&folder.path().join("3DBox_volume.npz"), &SHAPE, &voxels, &[20.0, 10.0, 3.0, 60.0, 44.0, 21.0]);
    segment(
        folder.path(),
        &["."],
        "cases",
        &["2DBox_0", "2DBox_1", "2DBox_2", "3DBox_volume"].map(|name| (name, name)),
    );
    // Two axes in turn are that of the slices, and the object is followed along it.
    for (axis, index, one) in [boxes[0], boxes[2]] {
        let name = format!("followed_{axis}");
        let (shape, _) = plane(&voxels, axis, 0);
        let identity = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        let size = [shape[1], shape[0], SHAPE[axis]].map(|n| n as i16);
        let file = format!("{name}.nii");
        nifti(&folder.path().join(&file), size, identity, |[x, y, z]| {
            plane(&voxels, axis, z as usize).1[y as usize * shape[1] + x as usize].into()
        });
        let (index, one) = (index.to_string(), one.map(|v| v.to_string()).join(","));
        // The window of 0 to 255 leaves the values as they are.
        let arguments = [&file, "--slice", &index, "--box", &one, "--window", "127.5,255", "--format", "npz"];
        segment(folder.path(), &arguments, "followed", &[(&name, &name)]);
    }
    // The same volume for MONAI Label, in the window that is found.
    let volume = |prompt: &[&str], name: &str| {
        let arguments = [&["followed_0.nii", "--format", "npz"], prompt].concat();
        segment(folder.path(), &arguments, name, &[("followed_0", name)]);
    };
    volume(&["--box3d", "20,10,3,60,44,21"], "box");
    volume(&["--slice", "11", "--box", "20,10,60,44"], "slice");
    let server = Server::start(&["--sessions", "2"]);
    for mode in ["whole", "monai", "first"] {
        client(&[mode, &server.address, folder.path().to_str().unwrap()]);
    }
}

#[test]
fn sessions_expire_and_the_key_is_asked_for() {
    let server = Server::start(&["--sessions", "1", "--idle", "2", "--token", "a-good-key"]);
    client(&["expiry", &server.address, "a-good-key"]);
}
