//! NRRD and MetaImage as SimpleITK and pynrrd write them (tests/golden/readers_made.py), and as others do.

#[path = "common/golden.rs"]
mod golden;

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use umedsam_demo::labels::{Grid, Labels, Selection};
use umedsam_demo::nrrd::{is_segmentation, write_labels};
use umedsam_demo::objects::Object;
use umedsam_demo::read::{ReadOptions, read};

#[test]
fn nrrd_and_metaimage_are_read_as_their_makers_read_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/made");
    let table: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("made.json")).unwrap()).unwrap();
    assert!(table.len() > 40, "{} files", table.len());
    let wrong =
        table.iter().filter_map(|entry| golden::check(&folder, entry).err().map(|error| (&entry["file"], error)));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A file of these lines and so many bytes.
fn write(folder: &Path, name: &str, lines: &str, bytes: usize) -> std::path::PathBuf {
    let path = folder.join(name);
    let values: Vec<u8> = (0..bytes).map(|i| (i % 3) as u8).collect();
    fs::write(&path, [lines.as_bytes(), &values].concat()).unwrap();
    path
}

const NRRD: &str = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n";
const META: &str = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\n";

#[test]
fn headers_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let nrrd = |from: &str, to: &str| write(folder.path(), "x.nrrd", &(NRRD.replace(from, to) + "\n"), 24);
    let meta = |from: &str, to: &str| {
        write(folder.path(), "x.mha", &(META.replace(from, to) + "ElementDataFile = LOCAL\n"), 24)
    };
    let options = ReadOptions::new();
    assert_eq!(read(&nrrd("", ""), &options).unwrap().shape(), [2, 3, 4]);
    assert_eq!(read(&meta("", ""), &options).unwrap().shape(), [2, 3, 4]);
    type Maker<'a> = &'a dyn Fn(&str, &str) -> std::path::PathBuf;
    let (nrrd, meta): (Maker<'_>, Maker<'_>) = (&nrrd, &meta);
    for (made, from, to, words) in [
        (nrrd, "uint8", "uint9", "type is uint9"),
        (nrrd, "4 3 2", "4 3", "sizes is 4 3"),
        (nrrd, "4 3 2", "4 0 2", "sizes is 4 0 2"),
        (nrrd, "4 3 2", "4 3 3", "of 36 bytes of the voxels 24 are there"),
        (nrrd, "4 3 2", "99999999999 99999999999 9", "a volume that has room in memory"),
        (nrrd, "dimension: 3", "dimension: 7", "7 dimensions; 2 to 4 are read"),
        (nrrd, "uint8", "int16", "endian is missing"),
        (nrrd, "encoding: raw", "encoding: gzip", "packed"),
        (nrrd, "encoding: raw", "encoding: raw\ndata file: ../secret", "data file is ../secret"),
        (nrrd, "encoding: raw", "encoding: raw\ndata file: LIST", "values in several files"),
        (nrrd, "encoding: raw", "encoding: raw\nnonsense", "a line without a field: 'nonsense'"),
        (
            nrrd,
            "encoding: raw",
            "encoding: raw\nspace: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,0)",
            "steps that span a volume",
        ),
        (nrrd, "encoding: raw", "encoding: raw\nspace directions: (1,0,0) (0,1", "or none expected"),
        (nrrd, "encoding: raw", "encoding: raw\nbyte skip: 99999999", "what is before the voxels"),
        (nrrd, "NRRD0004", "NRRD0009", "no NRRD file of version 1 to 5"),
        (meta, "4 3 2", "4 3", "DimSize is 4 3"),
        (meta, "4 3 2", "4 3 -2", "DimSize is 4 3 -2"),
        (meta, "4 3 2", "4 3 9", "of 108 bytes of the voxels 24 are there"),
        (meta, "UCHAR", "OTHER", "ElementType is MET_OTHER"),
        (meta, "NDims = 3\n", "NDims = 3\nHeaderSize = -2\n", "HeaderSize is -2"),
        (meta, "MET_UCHAR\n", "MET_UCHAR\nElementDataFile = /etc/hosts\n", "a file beside the header"),
        (meta, "NDims = 3\n", "NDims = 3\nElementSpacing = 1 0 1\n", "lengths above 0"),
        (meta, "NDims = 3\n", "NDims = 3\nTransformMatrix = 1 0 0 1 0 0 0 0 1\nOffset = 0 0 0\n", "span a volume"),
        (meta, "NDims = 3\n", "NDims = 3\nCompressedData = True\n", "packed"),
        (meta, "= Image", "= Tube", "MetaImage of a Tube"),
    ] {
        let message = read(&made(from, to), &options).unwrap_err().to_string();
        assert!(message.contains(words), "{words}: {message}");
    }
    // Packed to more than is allowed.
    let path = folder.path().join("bomb.nrrd");
    let mut file = fs::File::create(&path).unwrap();
    let header = NRRD.replace("4 3 2", "4000 3000 20").replace("raw", "gzip");
    file.write_all(format!("{header}\n").as_bytes()).unwrap();
    let mut encoder = GzEncoder::new(file, Compression::fast());
    encoder.write_all(&vec![0; 240_000_000]).unwrap();
    encoder.finish().unwrap();
    let message = read(&path, &ReadOptions::new().with_memory(100 << 20)).unwrap_err().to_string();
    assert!(message.contains("takes 240000000 bytes of memory to read, beyond the limit"), "{message}");
}

#[test]
fn segmentations_of_slicer_have_names_and_may_be_a_part() {
    let folder = tempfile::tempdir().unwrap();
    let place =
        |origin: &str| format!("space: LPS\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: ({origin})\n");
    let image =
        write(folder.path(), "image.nrrd", &format!("{}{}\n", NRRD.replace("4 3 2", "9 8 7"), place("0,0,0")), 504);
    let named = "Segment0_ID:=S1\nSegment0_LabelValue:=2\nSegment0_Name:=left: lobe\nSegment1_LabelValue:=x\n";
    let lines = format!("{NRRD}{}{named}\n", place("2,4,9"));
    let part = write(folder.path(), "part.seg.nrrd", &lines, 24);
    let scan = read(&image, &ReadOptions::new()).unwrap();
    let labels = Labels::read(&part, &ReadOptions::new()).unwrap();
    let map = labels.on(&Grid::from(&scan), None, &Selection::all()).unwrap();
    assert_eq!(map.names.iter().map(|(label, name)| (*label, name.as_str())).collect::<Vec<_>>(), [(2, "left: lobe")]);
    for (i, label) in map.labels.iter().enumerate() {
        let [x, y, z] = [i % 9, i / 9 % 8, i / 72];
        let inside = (2..6).contains(&x) && (2..5).contains(&y) && (3..5).contains(&z);
        let expected = if inside { (x - 2 + 4 * (y - 2) + 12 * (z - 3)) % 3 } else { 0 };
        assert_eq!(usize::from(*label), expected, "{x} {y} {z}");
    }
    // What is written here comes back.
    let written = folder.path().join("back.seg.nrrd");
    let objects = [Object::new(1), Object::new(2).with_name("lobe".to_string())];
    write_labels(&written, &map.labels, &map.grid, &objects).unwrap();
    let back = Labels::read(&written, &ReadOptions::new()).unwrap().on(&map.grid, None, &Selection::all()).unwrap();
    assert_eq!((back.labels, &back.names[&2][..], &back.names[&1][..]), (map.labels, "lobe", "object 1"));
    assert!(is_segmentation(&written) && !is_segmentation(&part));
}
