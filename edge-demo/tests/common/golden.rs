//! What other readers have of a file, compared with ours.
#![allow(missing_docs, unreachable_pub, reason = "a part of a test")]

use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};
use umedsam_demo::read::{ReadOptions, read};
use umedsam_demo::scan::Scan;

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn near(found: &[f64], expected: &[f64], by: f64) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= by)
}

/// Means of 4x4 blocks of the first slice, channel by channel.
fn blocks(scan: &Scan) -> Vec<f64> {
    let (values, channels) = (scan.values.to_f64(), scan.channels);
    let (height, width) = (scan.size.height, scan.size.width);
    // As numpy's array_split does it: the first parts have one more.
    let parts = |n: usize| {
        let count = n.min(4);
        let start = move |i: usize| i * (n / count) + i.min(n % count);
        (0..count).map(move |i| start(i)..start(i + 1))
    };
    let mut means = Vec::new();
    for channel in 0..channels {
        for rows in parts(height) {
            for columns in parts(width) {
                let cells = rows.clone().flat_map(|y| columns.clone().map(move |x| y * width + x));
                let (sum, n) = cells.fold((0.0, 0), |(sum, n), i| (sum + values[i * channels + channel], n + 1));
                means.push(sum / f64::from(n));
            }
        }
    }
    means
}

/// What is wrong with a file, by the table's entry.
pub fn check(folder: &Path, entry: &Value) -> Result<(), String> {
    let path = folder.join(entry["file"].as_str().unwrap());
    let frame = entry["frame"].as_u64().map(|f| f as usize);
    let found = read(&path, &ReadOptions::new().with_frame(frame));
    if let Some(expected) = entry["error"].as_str() {
        return match found {
            Err(error) if error.to_string().contains(expected) => Ok(()),
            Err(error) => Err(format!("'{error}' instead of '{expected}'")),
            Ok(scan) => Err(format!("read as {:?}", scan.shape())),
        };
    }
    let scan = found.map_err(|error| error.to_string())?;
    let mut shape: Vec<f64> = scan.shape().iter().map(|&n| n as f64).collect();
    shape.extend((scan.channels == 3).then_some(3.0));
    if shape != numbers(&entry["shape"]) {
        return Err(format!("shape {shape:?} of {}; {:?}", entry["shape"], scan.applied));
    }
    if let Some(expected) = entry["sha256"].as_str() {
        let bytes: Vec<u8> = scan.values.to_f64().iter().flat_map(|v| v.to_le_bytes()).collect();
        let found: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        if found != expected {
            return Err(format!("other values: {:?} {:?}", &scan.values.to_f64()[..6], scan.applied));
        }
    } else {
        let (found, expected) = (blocks(&scan), numbers(&entry["blocks"]));
        if !near(&found, &expected, 0.6) {
            return Err(format!("blocks {found:.1?} of {expected:.1?}; {:?}", scan.applied));
        }
    }
    if !entry["affine"].is_null() {
        let (found, expected) = (scan.affine.ok_or("no affine")?.0, numbers(&entry["affine"]));
        if !near(found.as_flattened(), &expected, 1e-4) {
            return Err(format!("affine {found:?} of {expected:?}"));
        }
    }
    if !entry["spacing"].is_null() && !near(&scan.spacing.unwrap()[..], &numbers(&entry["spacing"]), 1e-5) {
        return Err(format!("spacing {:?}", scan.spacing));
    }
    if entry["modality"].as_str() != scan.modality.as_deref() {
        return Err(format!("modality {:?}", scan.modality));
    }
    Ok(())
}
