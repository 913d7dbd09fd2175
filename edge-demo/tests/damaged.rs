//! Damaged, hostile and awkward files, made here: a typed error each, and no more memory than the file or the limit.

#[path = "common/dicom.rs"]
mod dicom;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use umedsam::VolumeSize;
use umedsam::intensity::Values;
use umedsam_demo::labels::Grid;
use umedsam_demo::nifti::{is_segmentation, write_labels};
use umedsam_demo::read::{Problem, ReadError, ReadOptions, read};
use umedsam_demo::scan::{Origin, Scan, Window};

fn header(dims: [i16; 8], datatype: i16) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, field: &[u8]| bytes[at..][..field.len()].copy_from_slice(field);
    put(0, &348i32.to_le_bytes());
    dims.iter().enumerate().for_each(|(i, d)| put(40 + 2 * i, &d.to_le_bytes()));
    put(70, &datatype.to_le_bytes());
    [1.0f32, 2.0, 3.0, 4.0].iter().enumerate().for_each(|(i, v)| put(76 + 4 * i, &v.to_le_bytes()));
    put(108, &352f32.to_le_bytes());
    put(344, b"n+1\0");
    bytes
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn try_read(path: &Path) -> Result<Scan, ReadError> {
    read(path, &ReadOptions::new().with_memory(64 << 20))
}

fn refused(path: &Path) -> String {
    match try_read(path) {
        Err(error) => error.to_string(),
        Ok(scan) => panic!("{} was read: {:?}", path.display(), scan.shape()),
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn nifti_that_is_cut_or_lies_is_refused() {
    let folder = Folder::new();
    let mut whole = header([3, 5, 4, 3, 1, 1, 1, 1], 4);
    whole.extend((0..60i16).flat_map(i16::to_le_bytes));
    let scan = try_read(&folder.write("whole.nii", &whole)).unwrap();
    assert_eq!((scan.shape(), scan.values), (vec![3, 4, 5], Values::I16((0..60).collect())));
    assert_eq!(scan.spacing, Some([2.0, 3.0, 4.0]));
    for cut in [0, 1, 3, 4, 100, 347, 348, 351, 352, 353, 400, 471] {
        for (name, bytes) in [("cut.nii", whole[..cut].to_vec()), ("cut.nii.gz", packed(&whole[..cut]))] {
            let error = try_read(&folder.write(name, &bytes)).unwrap_err();
            assert!(matches!(error.problem, Problem::Ended { .. } | Problem::Kind(_)), "{cut}: {error}");
        }
    }
    for cut in (10..packed(&whole).len() - 9).step_by(7) {
        refused(&folder.write("packed.nii.gz", &packed(&whole)[..cut]));
    }
    let lie = |at: usize, field: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..][..field.len()].copy_from_slice(field);
        refused(&folder.write("lie.nii", &bytes))
    };
    let many = lie(40, &[7, 0, 255, 127, 255, 127, 255, 127, 255, 127, 255, 127, 255, 127, 255, 127]);
    assert!(many.contains("7 dimensions; 2 to 4 are read"), "{many}");
    assert!(
        lie(42, &[255, 127, 255, 127, 255, 127]).contains("ends too early: of 70362301923330 bytes of the voxels"),
        "2^45 voxels"
    );
    assert!(lie(42, &[255, 255]).contains("dim is -1 in place 1"));
    assert!(lie(70, &32i16.to_le_bytes()).contains("complex numbers"));
    assert!(lie(70, &99i16.to_le_bytes()).contains("datatype is 99"));
    assert!(lie(108, &f32::NAN.to_le_bytes()).contains("vox_offset is NaN"));
    assert!(lie(108, &100f32.to_le_bytes()).contains("vox_offset is 100"));
    assert!(lie(254, &1i16.to_le_bytes()).contains("sform is "), "a matrix of zeros");
    assert!(lie(344, b"nix\0").contains("Analyze 7.5"));
    let slope = [2f32.to_le_bytes(), f32::INFINITY.to_le_bytes()].concat();
    assert!(lie(112, &slope).contains("scl_inter is inf"));
}

#[test]
fn slopes_follow_the_rule_of_nibabel() {
    let folder = Folder::new();
    let scaled = |slope: f32, inter: f32| {
        let mut bytes = header([2, 2, 1, 1, 1, 1, 1, 1], 4);
        bytes[112..120].copy_from_slice(&[slope.to_le_bytes(), inter.to_le_bytes()].concat());
        bytes.extend([5i16, -7].iter().flat_map(|v| v.to_le_bytes()));
        try_read(&folder.write("scaled.nii", &bytes)).unwrap().values
    };
    let raw = Values::I16(vec![5, -7]);
    assert_eq!(scaled(0.0, 3.0), raw);
    assert_eq!(scaled(f32::NAN, f32::NAN), raw);
    assert_eq!(scaled(f32::INFINITY, 0.0), raw);
    assert_eq!(scaled(-2.0, 1.0), Values::I32(vec![-9, 15]));
    assert_eq!(scaled(0.5, 0.0), Values::F32(vec![2.5, -3.5]));
}

/// 256 MB of zeros in 1 MB of gzip: little more is unfolded than the header tells.
#[test]
fn a_gzip_bomb_stays_packed() {
    let folder = Folder::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&header([3, 10, 10, 10, 1, 1, 1, 1], 2)).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..256).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = encoder.finish().unwrap();
    assert!(refused(&folder.write("bomb.nii.gz", &bomb)).contains("goes on for more than 1048576 bytes"));
    // So much belongs to other volumes that it is not looked through, which is told.
    let mut many = header([4, 10, 10, 10, 30_000, 1, 1, 1], 16);
    many.resize(352 + 4 * 30_000_000, 0);
    let many = folder.write("many.nii.gz", &packed(&many));
    let scan = read(&many, &ReadOptions::new().with_memory(64 << 20).with_frame(1)).unwrap();
    assert!(scan.applied.iter().any(|applied| applied.to_string().contains("no checksum was compared")));
    assert!(read(&many, &ReadOptions::new().with_frame(1)).unwrap().applied.len() < scan.applied.len());
    // A header that tells more than the file can hold, and one that tells more than may be taken.
    let small = packed(&header([3, 1000, 1000, 1000, 1, 1, 1, 1], 2));
    assert!(refused(&folder.write("small.nii.gz", &small)).contains("ends too early"));
    let mut large = header([3, 500, 500, 500, 1, 1, 1, 1], 2);
    large.resize(352 + 125_000_000, 0);
    assert!(refused(&folder.write("large.nii.gz", &packed(&large))).contains("125000000 bytes of memory"));
    // As DICOM, and in ZIP archives.
    let zeros = vec![0u8; 100 << 20];
    let mut deflated = dicom::preamble("1.2.840.10008.1.2.1.99");
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&zeros).unwrap();
    deflated.extend(encoder.finish().unwrap());
    assert!(refused(&folder.write("deflated.dcm", &deflated)).contains("beyond the limit of 67108864"));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for i in 0..3 {
        zip.start_file(format!("{i}.dcm"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&zeros[..40 << 20]).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    assert!(refused(&folder.write("bomb.zip", &zip)).contains("beyond the limit of 67108864"));
}

/// A bit that is wrong in the voxels is found by the checksum behind them, of the last volume and of others.
#[test]
fn what_gzip_unfolds_is_compared_with_its_checksum() {
    let folder = Folder::new();
    let mut bytes = header([4, 10, 10, 10, 2, 1, 1, 1], 2);
    bytes.extend((0..2000u32).map(|i| (i.wrapping_mul(i) >> 3) as u8));
    let whole = packed(&bytes);
    let read = |bytes: &[u8], frame| read(&folder.write("a.nii.gz", bytes), &ReadOptions::new().with_frame(frame));
    let mut wrong = whole.clone();
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    for frame in [0, 1] {
        read(&whole, frame).unwrap();
        let message = read(&wrong, frame).unwrap_err().to_string();
        assert!(message.contains("damaged: what is packed: ") && message.contains("checksum"), "{message}");
        assert!(read(&whole[..checksum], frame).is_err(), "no checksum");
    }
    let head = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 10 10 10\nencoding: gzip\n\n";
    let mut nrrd = [head.as_bytes(), &packed(&bytes[352..1352])].concat();
    try_read(&folder.write("a.nrrd", &nrrd)).unwrap();
    let checksum = nrrd.len() - 8;
    nrrd[checksum] ^= 1;
    assert!(refused(&folder.write("a.nrrd", &nrrd)).contains("checksum"));
}

#[test]
fn labels_come_back_as_they_were_written() {
    let folder = Folder::new();
    let mut bytes = header([3, 5, 4, 3, 1, 1, 1, 1], 2);
    bytes[252..256].copy_from_slice(&[3, 0, 2, 0]);
    let forms: [f32; 18] =
        [0.1, 0.2, 0.3, -10.0, 20.0, 30.0, 1.5, 0.1, 0.0, -4.0, 0.2, 2.5, 0.0, 5.0, 0.0, 0.3, 3.5, -6.0];
    forms.iter().enumerate().for_each(|(i, v)| bytes[256 + 4 * i..][..4].copy_from_slice(&v.to_le_bytes()));
    bytes.extend([0; 60]);
    let scan = try_read(&folder.write("scan.nii", &bytes)).unwrap();
    assert_eq!(scan.size, VolumeSize { depth: 3, height: 4, width: 5 });
    let Origin::Nifti(own) = &scan.origin else { panic!("no NIfTI") };
    for (name, top) in [("a.nii", 255u16), ("1.2.840.nii.gz", 300), ("x.seg.nii", 60)] {
        let labels: Vec<u16> = (0..60).map(|i| if i == 59 { top } else { i }).collect();
        let path = folder.0.path().join(name);
        write_labels(&path, &labels, &Grid::from(&scan), Some(own)).unwrap();
        let back = try_read(&path).unwrap();
        assert_eq!(back.affine, scan.affine);
        assert_eq!(back.values.to_f64(), labels.iter().map(|&l| f64::from(l)).collect::<Vec<_>>());
        assert!(is_segmentation(&path));
        let written = fs::read(&path).unwrap();
        let unpacked = if name.ends_with("gz") { None } else { Some(&written[252..328]) };
        assert!(unpacked.is_none_or(|forms| forms == &bytes[252..328]), "both forms are kept as they were");
    }
    assert!(!is_segmentation(&folder.0.path().join("scan.nii")));
    assert!(write_labels(&folder.0.path().join("few.nii"), &[0; 59], &Grid::from(&scan), None).is_err());
}

#[test]
fn dicom_that_is_cut_or_lies_is_refused() {
    let folder = Folder::new();
    let whole = dicom::file(&dicom::slice(0, 2.0), "1.2.840.10008.1.2.1");
    let scan = try_read(&folder.write("whole.dcm", &whole)).unwrap();
    assert_eq!((scan.shape(), scan.spacing), (vec![4, 6], Some([0.5, 0.75, 2.0])));
    for cut in 0..whole.len() {
        refused(&folder.write("cut.dcm", &whole[..cut]));
    }
    let with = |change: fn(&mut dicom::Slice)| {
        let mut slice = dicom::slice(0, 2.0);
        change(&mut slice);
        refused(&folder.write("lie.dcm", &dicom::file(&slice, "1.2.840.10008.1.2.1")))
    };
    assert!(with(|s| s.rows = 65_535).contains("of 786420 bytes of the pixels 48 are there"));
    assert!(with(|s| s.rows = 0).contains("Rows is 0"));
    assert!(with(|s| s.stored = 17).contains("BitsStored is 17"));
    assert!(with(|s| s.orientation = "1\\0\\0\\1\\0\\0").contains("two unit vectors at a right angle"));
    assert!(with(|s| s.orientation = "1\\0\\0\\0\\nan\\0").contains("ImageOrientationPatient"));
    assert!(with(|s| s.frames = "2147483648").contains("NumberOfFrames is 2147483648"));
    assert!(with(|s| s.frames = "100000").contains("bytes of the pixels 48 are there"));
    // Sequences in sequences, each of undefined length.
    let mut deep = dicom::preamble("1.2.840.10008.1.2.1");
    for _ in 0..100_000 {
        deep.extend(b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff");
    }
    assert!(refused(&folder.write("deep.dcm", &deep)).contains("nested more than 32 deep"));
    // An element of 4 GB, in a file of 200 bytes.
    let mut long = dicom::preamble("1.2.840.10008.1.2.1");
    long.extend(b"\x08\x00\x15\x11OB\0\0\xf0\xff\xff\xff");
    assert!(
        refused(&folder.write("long.dcm", &long))
            .contains("ends too early: of 4294967280 bytes of an element 0 are there")
    );
}

#[test]
fn series_are_sorted_by_position_and_told_apart() {
    let folder = Folder::new();
    let write = |name: &str, slice: &dicom::Slice| folder.write(name, &dicom::file(slice, "1.2.840.10008.1.2.1"));
    // Names and numbers in an order that is not that of the places.
    for (name, z) in [("s/c", 2), ("s/a", 0), ("s/deep/er/b", 1), ("s/z", 3)] {
        write(name, &dicom::slice(z, 2.5));
    }
    folder.write("s/notes.txt", b"no image");
    folder.write("s/DICOMDIR", b"no image either");
    let path = folder.0.path().join("s");
    let scan = try_read(&path).unwrap();
    assert_eq!(scan.shape(), [4, 4, 6]);
    assert_eq!(scan.values.to_f64().chunks(24).map(|s| s[0]).collect::<Vec<_>>(), [-1000.0, -999.0, -998.0, -997.0]);
    let affine = scan.affine.unwrap();
    assert_eq!(affine.0, [[-0.5, 0.0, 0.0, 10.0], [0.0, -0.75, 0.0, -20.0], [0.0, 0.0, 2.5, 30.0]]);
    assert_eq!(affine.axes(), "LPS");
    let words: Vec<String> = scan.applied.iter().map(ToString::to_string).collect();
    let words = words.join("; ");
    assert!(words.contains("2 other files passed over") && words.contains("4 slices in order of position"), "{words}");
    // The mask of the series lies where the series lies.
    let mask = folder.0.path().join("mask.nii.gz");
    write_labels(&mask, &[1; 96], &Grid::from(&scan), None).unwrap();
    assert_eq!(try_read(&mask).unwrap().affine, scan.affine);
    // CT without a window is shown in the abdomen's, and may be shown in others.
    let shown = scan.to_8bit(Window::Auto).unwrap();
    assert!(
        shown.applied[0].to_string().contains("abdomen") && shown.intake.to_string().contains("window -160 to 240")
    );
    let lung = scan.to_8bit("lung".parse().unwrap()).unwrap();
    assert_eq!(lung.pixels[0], ((-1000.0 + 1350.0) / 1500.0 * 255.0) as u8);
    assert!(scan.to_8bit(Window::File).is_err(), "the files have none");

    // A ZIP archive of the same.
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for z in [3, 1, 0, 2] {
        zip.start_file(format!("in/{z}"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&dicom::file(&dicom::slice(z, 2.5), "1.2.840.10008.1.2.1")).unwrap();
    }
    let zip = try_read(&folder.write("s.zip", &zip.finish().unwrap().into_inner())).unwrap();
    assert_eq!((zip.values, zip.affine), (scan.values.clone(), scan.affine));

    // A doubled slice, then a missing one.
    let twin = write("s/twin", &dicom::slice(1, 2.5));
    assert!(refused(&path).contains("two slices at 32.500 mm along the normal, b and twin"));
    // Two echoes at each place are two series to choose from.
    fs::remove_file(twin).unwrap();
    for z in 0..4 {
        let slice = dicom::Slice { echo: "2", ..dicom::slice(z, 2.5) };
        write(&format!("s/echo{z}"), &slice);
    }
    let list = refused(&path);
    assert!(list.contains("holds 2 series") && list.contains("echo 1") && list.contains("echo 2"), "{list}");
    let series = |text: &str| read(&path, &ReadOptions::new().with_series(text.to_string()));
    assert_eq!(series("2").unwrap().shape(), [4, 4, 6]);
    assert!(series("3").is_err(), "no number of the list, though a UID may end so");
    for name in ["a", "c", "z", "deep/er/b"] {
        fs::remove_file(path.join(name)).unwrap();
    }
    fs::remove_file(path.join("echo1")).unwrap();
    write("s/echo4", &dicom::Slice { echo: "2", ..dicom::slice(4, 2.5) });
    assert!(refused(&path).contains("slices are missing: 5.000 mm between echo0 and echo2 where 2.500 mm is usual"));
    let all_the_same = read(&path, &ReadOptions::new().with_gaps()).unwrap();
    assert_eq!(all_the_same.spacing.unwrap()[2], 2.5);
    // A tilted gantry is kept in the affine.
    for z in 0..3 {
        let position = format!("-10\\{}\\{}", 20.0 + 0.5 * f64::from(z), 30.0 + 2.0 * f64::from(z));
        let slice = dicom::Slice { position, series: "1.9", ..dicom::slice(z, 2.0) };
        write(&format!("tilt/{z}"), &slice);
    }
    let tilted = try_read(&folder.0.path().join("tilt")).unwrap();
    assert_eq!(tilted.affine.unwrap().step(2), [0.0, -0.5, 2.0]);
    assert!(tilted.applied.iter().any(|a| a.to_string().contains("tilted by 14.04 degrees")), "{:?}", tilted.applied);
    // Another series beside it has to be chosen.
    write("tilt/other", &dicom::slice(0, 2.0));
    assert!(refused(&folder.0.path().join("tilt")).contains("holds 2 series"));
    let chosen = read(&folder.0.path().join("tilt"), &ReadOptions::new().with_series("1.9".to_string())).unwrap();
    assert_eq!(chosen.values, tilted.values);
    // A localizer in the series is left out, and told of.
    let across = dicom::Slice {
        series: "1.9",
        orientation: "0\\1\\0\\0\\0\\-1",
        kind: "ORIGINAL\\PRIMARY\\LOCALIZER",
        ..dicom::slice(0, 2.0)
    };
    write("tilt/other", &across);
    let without = try_read(&folder.0.path().join("tilt")).unwrap();
    assert_eq!(without.values, tilted.values);
    assert!(without.applied.iter().any(|a| a.to_string().contains("1 localizer images")), "{:?}", without.applied);
}
