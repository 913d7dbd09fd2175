//! NPZ files: what numpy writes (tests/golden/npz.py) is read, what is damaged or hostile is refused by name.
#![cfg(feature = "npz")]

use std::fs;
use std::path::{Path, PathBuf};

use umedsam::npz::{
    Boxes, Case, Labelled, Limits, NewCase, NpzError, Problem, Shape, Truth, cases, is_case, is_segmentation,
    read_affine, read_segs, read_spacing, write_case, write_segs,
};
use umedsam::{PixelBox, VoxelBox};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

fn refusal(name: &str) -> NpzError {
    Case::read(&data(name), &Limits::new()).unwrap_err()
}

#[test]
fn types_byte_orders_and_memory_orders_make_no_difference() {
    let plain = Case::read(&data("plain.npz"), &Limits::new()).unwrap();
    let dressed = Case::read(&data("dressed.npz"), &Limits::new()).unwrap();
    let gray: Vec<u8> = plain.pixels.iter().copied().step_by(3).collect();
    assert_eq!((plain.shape.channels, dressed.shape.channels), (3, 1));
    assert_eq!(gray, dressed.pixels);
    assert_eq!(plain.boxes, dressed.boxes);
    assert_eq!(plain.boxes, Boxes::Plane(vec![PixelBox::new(1.0, 2.0, 4.0, 3.0), PixelBox::new(0.0, 0.0, 6.0, 4.0)]));
    let truth = |name| Truth::read(&data(name), &Limits::new()).unwrap();
    assert_eq!(truth("plain.npz").labels, truth("dressed.npz").labels);
    let expected: Vec<u16> = gray.iter().map(|&v| u16::from(v > 100)).collect();
    assert_eq!(truth("plain.npz").labels, expected);
}

#[test]
fn a_volume_has_slices_and_spacing() {
    let case = Case::read(&data("volume.npz"), &Limits::new()).unwrap();
    assert_eq!(case.shape.labels(), [3, 5, 7]);
    assert_eq!(case.boxes, Boxes::Volume(vec![VoxelBox::new(1.0, 1.0, 0.0, 4.0, 3.0, 2.0)]));
    let truth = Truth::read(&data("volume.npz"), &Limits::new()).unwrap();
    assert_eq!(truth.spacing, Some([0.7, 0.8, 2.5]));
    assert_eq!(read_spacing(&data("volume.npz"), &Limits::new()).unwrap(), truth.spacing);
    assert_eq!(read_spacing(&data("plain.npz"), &Limits::new()).unwrap(), None);
    // The label map was made of the voxels, slice by slice.
    let expected: Vec<u16> = case.pixels.iter().map(|&v| u16::from(v > 100)).collect();
    assert_eq!(truth.labels, expected);
    assert_eq!(case.slice(2).unwrap().width(), 7);
    assert!(case.slice(3).is_err());
}

#[test]
fn labelled_cases_need_no_boxes() {
    let read = |name| Labelled::read(&data(name), &Limits::new());
    for (name, depth, channels) in [("plain.npz", 1, 3), ("dressed.npz", 1, 1), ("volume.npz", 3, 1)] {
        let case = read(name).unwrap();
        assert_eq!((case.depth(), case.shape.channels), (depth, channels), "{name}");
        for z in 0..depth {
            let gray = case.pixels[z * 35 * channels..][..35 * channels].iter().step_by(channels);
            let expected: Vec<u16> = gray.map(|&v| u16::from(v > 100)).collect();
            assert_eq!(case.slice_labels(z), expected, "{name}");
        }
        assert!(case.slice(depth).is_err() && case.slice_labels(depth).is_empty());
    }
    assert!(read("nobox.npz").unwrap_err().to_string().contains("array 'gts': missing"));
    assert!(read("negative.npz").unwrap_err().to_string().contains("value -1"));
}

#[test]
fn what_cannot_be_segmented_is_refused_by_name() {
    let message = |name| refusal(name).to_string();
    for (name, words) in [
        ("objects.npz", "array 'imgs': holds Python objects"),
        ("nan.npz", "array 'imgs': pixel 1 is NaN"),
        ("complex.npz", "array 'imgs': elements are"),
        ("text.npz", "array 'imgs': elements are"),
        ("nobox.npz", "array 'boxes': missing"),
        ("emptybox.npz", "array 'boxes': has shape [0, 4]; at least one box expected"),
        ("flatbox.npz", "array 'boxes': has shape [4]; (N,4) or (N,6) expected"),
        ("rank.npz", "array 'imgs': has shape [2, 3, 4, 5, 6]"),
        ("zero.npz", "array 'imgs': image is 3x0 pixels"),
    ] {
        let message = message(name);
        assert!(message.contains(words) && message.contains(name), "{message}");
    }
    let truth = |name| Truth::read(&data(name), &Limits::new()).unwrap_err().to_string();
    assert!(truth("negative.npz").contains("array 'gts': value -1 at 0: a label from 0 to 65535 expected"));
    assert!(truth("spacing.npz").contains("array 'spacing': value 0 at 1: a length in mm above 0 expected"));
    assert!(truth("nobox.npz").contains("array 'gts': missing"));
    let absent = Case::read(&data("absent.npz"), &Limits::new()).unwrap_err();
    assert!(matches!(absent.problem, Problem::Io(_)), "{absent}");
}

#[test]
fn limits_are_kept() {
    // A box of six 16-bit numbers, with 8 bits of each, and 105 voxels, twice: they lie in Fortran order.
    let error = Case::read(&data("volume.npz"), &Limits::new().with_peak_bytes(227)).unwrap_err();
    assert!(matches!(error.problem, Problem::TooLarge { bytes: 228, max: 227, .. }), "{error}");
    assert!(error.to_string().contains("[3, 5, 7] of u8 takes 228 bytes of memory to read, beyond the limit of 227"));
    Case::read(&data("volume.npz"), &Limits::new().with_peak_bytes(228)).unwrap();
    // Labels are kept in 16 bits, whatever they are stored in.
    let truth = |bytes| Truth::read(&data("plain.npz"), &Limits::new().with_peak_bytes(bytes));
    // 35 of them, and eight numbers of boxes with 8 bits of each.
    assert!(truth(141).is_err() && truth(142).is_ok());
}

/// Every truncation and a thousand damaged bytes: an error or the right values, never a panic.
#[test]
fn damage_is_noticed() {
    let path = temporary("damaged.npz");
    let whole = fs::read(data("dressed.npz")).unwrap();
    let expected = Case::read(&data("dressed.npz"), &Limits::new()).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Case::read(&path, &Limits::new()).is_err(), "cut to {length} bytes");
    }
    let mut state = 1u32;
    for _ in 0..1000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut bytes = whole.clone();
        bytes[(state >> 8) as usize % whole.len()] ^= 1 << (state & 7);
        fs::write(&path, &bytes).unwrap();
        if let Ok(case) = Case::read(&path, &Limits::new()) {
            assert_eq!((case.pixels, case.boxes), (expected.pixels.clone(), expected.boxes.clone()));
        }
    }
    fs::remove_file(path).unwrap();
}

/// A header that promises more than the file holds is refused without the promised memory.
#[test]
fn a_header_cannot_ask_for_memory() {
    let path = temporary("greedy.npz");
    for shape in ["(1000000000, 2)", "(18446744073709551615, 18446744073709551615)", "(40000, 40000)"] {
        let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        let mut npy = b"\x93NUMPY\x01\x00".to_vec();
        npy.extend((text.len() as u16 + 1).to_le_bytes());
        npy.extend(text.bytes().chain([b'\n']));
        write_zip(&path, &[("boxes.npy", &npy)]);
        let error = Case::read(&path, &Limits::new()).unwrap_err();
        assert!(matches!(error.problem, Problem::Truncated { .. } | Problem::TooLarge { .. }), "{error}");
    }
    let mut npy = b"\x93NUMPY\x02\x00".to_vec();
    npy.extend(u32::MAX.to_le_bytes());
    write_zip(&path, &[("boxes.npy", &npy)]);
    let error = Case::read(&path, &Limits::new()).unwrap_err();
    assert!(error.to_string().contains("header of 4294967295 bytes"), "{error}");
    fs::remove_file(path).unwrap();
}

fn write_zip(path: &Path, entries: &[(&str, &[u8])]) {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// An array of bytes as numpy writes it.
fn npy(shape: &str, values: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
    [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes(), text.as_bytes(), values].concat()
}

/// Labels are compared by their values, so both sides must mean the same by them.
#[test]
fn truth_is_paired_only_with_what_it_is_the_truth_of() {
    let path = temporary("").with_file_name(format!("2DBox_{}-pairs.npz", std::process::id()));
    // Three objects of two pixels in three rows, and a box around each.
    let write = |labels: [u8; 3], boxes: usize| {
        let gts = npy("(3, 4)", &labels.map(|l| [0, l, l, 0]).concat());
        let rows = npy(&format!("({boxes}, 4)"), &[[1, 0, 2, 0], [1, 1, 2, 1], [1, 2, 2, 2]][..boxes].concat());
        write_zip(&path, &[("gts.npy", &gts), ("boxes.npy", &rows)]);
        Truth::read(&path, &Limits::new()).unwrap()
    };
    let message = |result: Result<(), NpzError>| result.unwrap_err().to_string();
    let numbered = write([1, 2, 3], 3);
    numbered.of_boxes().unwrap();
    for segs in [&[0, 3, 1][..], &[0, 0]] {
        numbered.of_segs(segs).unwrap();
    }
    let text = message(numbered.of_segs(&[1, 4]));
    assert!(text.ends_with("the labels 1 to 3; the segmentation has 1, 4; its 3 boxes are labels 1 to 3"), "{text}");

    // A mask of 0 and 255, organ numbers, an object without a box, a box without an object.
    for (labels, boxes, words) in [
        ([0, 255, 0], 1, "pairs.npz: array 'gts': has the labels 255; its one box is label 1"),
        ([2, 3, 7], 3, "has the labels 2, 3, 7; its 3 boxes are labels 1 to 3"),
        ([1, 2, 3], 2, "has the labels 1 to 3; its 2 boxes are labels 1 to 2"),
        ([1, 0, 3], 3, "has the labels 1, 3; its 3 boxes"),
        ([0, 0, 0], 1, "has the labels none; its one box is label 1"),
        ([3, 2, 1], 3, "label 1 lies outside box 1"),
    ] {
        let text = message(write(labels, boxes).of_boxes());
        assert!(text.contains(words), "{text}");
    }
    // Segmentations may carry the case's own numbers; what could mean the boxes as well is not guessed.
    let organs = write([2, 3, 7], 3);
    organs.of_segs(&[2, 7, 0]).unwrap();
    for segs in [&[1, 2, 3][..], &[2, 3], &[2, 8]] {
        assert!(message(organs.of_segs(segs)).contains("has the labels 2, 3, 7; the segmentation has"), "{segs:?}");
    }
    assert!(message(write([3, 2, 1], 3).of_segs(&[1, 2, 3])).contains("lies outside"));
    assert!(message(write([0, 255, 0], 1).of_segs(&[1])).contains("the segmentation has 1; its one box"));

    // The name decides in which row a case is scored.
    let wrong = path.with_file_name(format!("3DBox_{}.npz", std::process::id()));
    fs::rename(&path, &wrong).unwrap();
    let text = Truth::read(&wrong, &Limits::new()).unwrap_err().to_string();
    assert!(text.contains("has shape [3, 4]; (D,H,W), as the file's name says, expected"), "{text}");
    fs::remove_file(wrong).unwrap();
}

#[test]
fn segmentations_come_back_in_bytes_or_in_16_bits() {
    let path = temporary("segs.npz");
    for (top, kind) in [(255, "'|u1'"), (256, "'<u2'")] {
        let labels: Vec<u16> = (0..24).map(|i| i * top / 23).collect();
        write_segs(&path, &labels, &[2, 3, 4]).unwrap();
        assert_eq!(read_segs(&path, &Limits::new()).unwrap(), (labels, vec![2, 3, 4]));
        assert!(is_segmentation(&path));
        let mut zip = zip::ZipArchive::new(fs::File::open(&path).unwrap()).unwrap();
        let mut npy = Vec::new();
        std::io::Read::read_to_end(&mut zip.by_name("segs.npy").unwrap(), &mut npy).unwrap();
        let header = String::from_utf8_lossy(&npy[..128]).into_owned();
        assert!(header.contains(kind) && header.contains("(2, 3, 4"), "{header}");
    }
    // What somebody else wrote is not taken for one.
    write_zip(&path, &[("segs.npy", b"")]);
    assert!(!is_segmentation(&path) && !is_segmentation(&data("plain.npz")) && !is_segmentation(Path::new("absent")));
    fs::remove_file(&path).unwrap();
    let error = write_segs(&data("no/such/folder/x.npz"), &[0], &[1, 1]).unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn a_folder_of_cases_holds_files() {
    let folder = temporary("cases");
    fs::create_dir_all(folder.join("folder.npz")).unwrap();
    for name in ["b.npz", "a.NPZ", "._a.npz", "notes.txt"] {
        fs::write(folder.join(name), "").unwrap();
    }
    assert_eq!(cases(&folder).unwrap(), [folder.join("a.NPZ"), folder.join("b.npz")]);
    assert!(matches!(cases(&folder.join("folder.npz")).unwrap_err().problem, Problem::NoCases));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_case_that_is_written_is_read_in_all_its_parts() {
    let folder = temporary("case");
    fs::create_dir_all(&folder).unwrap();
    let labels: Vec<u16> = (0..24).map(|i| if i % 5 == 0 { 300 } else { 0 }).collect();
    let pixels: Vec<u8> = (0..24).collect();
    let boxes = Boxes::Volume(vec![VoxelBox::new(0.0, 0.0, 0.0, 3.0, 2.0, 1.0)]);
    let shape = Shape { depth: Some(2), height: 3, width: 4, channels: 1 };
    let affine = [[-1.0, 0.0, 0.0, 5.0], [0.0, 2.0, 0.0, 6.0], [0.0, 0.0, 3.0, 7.0]];
    let case = NewCase {
        pixels: &pixels,
        shape,
        labels: &labels,
        boxes: &boxes,
        spacing: Some([1.0, 2.0, 3.0]),
        affine: Some(affine),
    };
    let path = folder.join("3DBox_CT_x.npz");
    write_case(&path, &case).unwrap();
    assert!(is_case(&path) && !is_segmentation(&path) && !is_case(&data("plain.npz")));
    let limits = Limits::new();
    let (found, truth) = (Labelled::read(&path, &limits).unwrap(), Truth::read(&path, &limits).unwrap());
    assert_eq!((found.pixels, found.labels, found.shape), (pixels.clone(), labels.clone(), shape));
    assert_eq!((truth.spacing, truth.boxes.unwrap()), (Some([1.0, 2.0, 3.0]), boxes.clone()));
    assert_eq!(read_affine(&path, &limits).unwrap(), Some(affine));
    assert_eq!(read_affine(&data("plain.npz"), &limits).unwrap(), None);
    // RGB, without what is not known.
    let plane = Boxes::Plane(vec![PixelBox::new(1.0, 0.0, 2.0, 1.0); 2]);
    let shape = Shape { depth: None, height: 2, width: 4, channels: 3 };
    let case = NewCase { shape, labels: &labels[..8], boxes: &plane, spacing: None, affine: None, ..case };
    let path = folder.join("2DBox_US_x.npz");
    write_case(&path, &case).unwrap();
    assert_eq!(
        (Case::read(&path, &limits).unwrap().boxes, read_spacing(&path, &limits).unwrap()),
        (plane.clone(), None)
    );
    let error = write_case(&path, &NewCase { pixels: &pixels[1..], ..case }).unwrap_err();
    assert_eq!((error.array, matches!(error.problem, Problem::Shape { .. })), (Some("imgs"), true));
    fs::remove_dir_all(folder).unwrap();
}

/// Boxes in dictionaries (tests/golden/npz_boxes.py): a box in one slice, whose object is in others too.
#[test]
fn boxes_of_later_challenges_are_read() {
    let expected = [
        VoxelBox::new(0.0, 1.0, 1.0, 5.0, 3.0, 4.0).with_slice(2),
        VoxelBox::new(1.5, -1.0, 0.0, 6.0, 4.0, 5.0).with_slice(5),
        VoxelBox::new(0.25, 1.0, 2.0, 3.0, 4.0, 3.0).with_slice(3),
    ];
    for name in ["later.npz", "later-numpy1.npz"] {
        let case = Case::read(&data(name), &Limits::new()).unwrap();
        assert_eq!(case.boxes, Boxes::Volume(expected.to_vec()), "{name}");
        assert_eq!(Truth::read(&data(name), &Limits::new()).unwrap().boxes, Some(case.boxes));
    }
    let shared = Case::read(&data("later-shared.npz"), &Limits::new()).unwrap();
    assert_eq!(shared.boxes, Boxes::Volume(vec![expected[1]; 3]));
    let refused = |name: &str| refusal(name).to_string();
    assert!(refused("later-unknown.npz").contains("array 'boxes': box 2: unknown key 'score'"));
    assert!(refused("later-missing.npz").contains("box 2: no 'z_mid'"));
    assert!(refused("later-outside.npz").contains("box 1: z_mid is 6; a whole number from z_min, 0, to z_max, 5"));
    assert!(refused("later-text.npz").contains("no dictionary of names and numbers"));
    assert!(matches!(refusal("later-empty.npz").problem, Problem::Shape { .. }));
}
