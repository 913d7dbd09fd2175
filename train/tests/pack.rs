//! Packed data sets: what comes back is what was packed, and nothing else is taken for it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::write_case;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use tch::Tensor;
use umedsam_train::config::DataConfig;
use umedsam_train::data::pack::{Pack, PackProblem, PackSlice, Shard};
use umedsam_train::data::{Around, Dataset, DatasetError, Drawing, Picture, Sample};
use zune_core::bit_depth::BitDepth;
use zune_core::colorspace::ColorSpace;
use zune_core::options::EncoderOptions;
use zune_jpegxl::JxlSimpleEncoder;

fn config() -> DataConfig {
    DataConfig {
        component: 0.5,
        tone: 0.3,
        jitter_share: 0.1,
        carried: 0.5,
        opening: 0.3,
        unlabelled: 0.2,
        ..DataConfig::default()
    }
}

fn read(folder: &Path) -> Dataset {
    Dataset::read(folder, &config(), |_, _| ()).unwrap()
}

/// The cases of the accuracy gate, a colour image whose channels are equal, and a volume with more than 255 labels and
/// gaps between its slices.
fn cases() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for case in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/gate")).unwrap() {
        let path = case.unwrap().path();
        if path.extension().is_some_and(|e| e == "npz") {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let gray: Vec<u8> = (0..90 * 70).map(|i| (i * i / 90 % 251) as u8).collect();
    let rgb: Vec<u8> = gray.iter().flat_map(|&v| [v; 3]).collect();
    let labels = Tensor::from_slice(&gray).view([90, 70]).gt(120).to_kind(tch::Kind::Uint8);
    let arrays = [("imgs", Tensor::from_slice(&rgb).view([90, 70, 3])), ("gts", labels)];
    Tensor::write_npz(&arrays, folder.path().join("2DBox_US_gray.npz")).unwrap();
    let mut volume = vec![0i32; 6 * 40 * 60];
    for (z, slice) in volume.chunks_exact_mut(40 * 60).enumerate().filter(|(z, _)| *z != 3) {
        for row in slice.chunks_exact_mut(60).skip(5 + z).take(12) {
            row[3 + z..20 + z].fill(300);
            row[40..50].fill(1 + z as i32 / 2);
        }
    }
    let gts = Tensor::from_slice(&volume).view([6, 40, 60]);
    let arrays = [("imgs", gts.remainder(251).to_kind(tch::Kind::Uint8)), ("gts", gts)];
    Tensor::write_npz(&arrays, folder.path().join("3DBox_CT_many.npz")).unwrap();
    folder
}

fn encode(picture: &Picture) -> Vec<u8> {
    let colours = if picture.channels == 1 { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = EncoderOptions::new(picture.width, picture.height, colours, BitDepth::Eight);
    let mut jxl = Vec::new();
    JxlSimpleEncoder::new(&picture.pixels, options).encode(&mut jxl).unwrap();
    jxl
}

/// The wanted slices of a folder, dealt out to so many shards.
fn pack(dataset: &Dataset, shards: usize, wanted: impl Fn(&str, usize) -> bool) -> tempfile::TempDir {
    let mut packs: Vec<Shard> = (0..shards).map(|_| Shard::new(config().min_area)).collect();
    let mut number = 0;
    for (index, entry) in dataset.entries().iter().enumerate() {
        for &(z, _) in entry.slices.iter().filter(|(z, _)| wanted(&entry.name(), *z)) {
            let slice = PackSlice::new(dataset, index, z).unwrap();
            let encoded = slice.encoded(encode(&slice.picture()), config().min_area).unwrap();
            packs[number % shards].push(encoded);
            number += 1;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for (shard, number) in packs.iter().zip(1..) {
        shard.write(&folder.path().join(format!("{number}.pack"))).unwrap();
    }
    folder
}

/// A pack of one slice, as bytes.
fn small() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let labels: Vec<u8> = (0..64 * 256).map(|i| u8::from(i / 256 > 20) * u8::from(i % 256 > 99)).collect();
    write_case(&folder.path().join("2DBox_CT_small.npz"), &labels, &[64, 256]);
    let packed = pack(&read(folder.path()), 1, |_, _| true);
    fs::read(packed.path().join("1.pack")).unwrap()
}

/// The content with the digest that belongs to it.
fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    content.truncate(content.len() - 32);
    content.extend(Sha256::digest(&content));
    content
}

fn open(bytes: &[u8]) -> Result<PackSlice, umedsam_train::data::pack::PackError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    Pack::read(file.path())?.slice(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn packs_of_all_slices_are_the_folder(seed in any::<u64>(), position in 0..1000_u64) {
        thread_local!(static BOTH: [Dataset; 2] = {
            let files = cases();
            // Kept in memory, so that the folder may go.
            let files = read(files.path());
            let packs = pack(&files, 3, |_, _| true);
            let packed = read(packs.path());
            [files, packed]
        });
        BOTH.with(|[files, packed]| {
            let entries = |of: &Dataset| -> Vec<_> {
                of.entries().iter().map(|e| (e.name().into_owned(), e.group(), e.slices.clone(), e.extents.clone())).collect()
            };
            prop_assert_eq!(entries(files), entries(packed));
            prop_assert_eq!(files.digest(), packed.digest());
            for entry in 0..files.entries().len() {
                let drawing = Drawing::random(files, entry, &config(), seed, 0, position);
                prop_assert_eq!(&drawing, &Drawing::random(packed, entry, &config(), seed, 0, position));
                let [a, b] = [files, packed].map(|of| Sample::new(of, &drawing, config().min_area).unwrap());
                prop_assert_eq!((&a.name, &a.picture, &a.mask), (&b.name, &b.picture, &b.mask));
                prop_assert_eq!((a.model_box, a.shape), (b.model_box, b.shape));
                prop_assert!(a.embedding.is_none() && b.embedding.is_none());
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_bytes_are_taken_for_others(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        thread_local!(static SMALL: Vec<u8> = small());
        let bytes = SMALL.with(Clone::clone);
        prop_assert!(open(&bytes).is_ok());
        prop_assert!(open(&bytes[..at.index(bytes.len())]).is_err());
        let mut damaged = bytes;
        let position = at.index(damaged.len());
        damaged[position] ^= flip;
        let error = open(&damaged).unwrap_err();
        prop_assert!(!error.field.is_empty());
        // With a digest that fits, what it says may be taken or not, but does no harm.
        let _ = open(&sealed(damaged));
    }
}

#[test]
fn a_box_is_carried_on_from_a_slice_that_is_not_packed() {
    let files = cases();
    let files = read(files.path());
    // Slice 1 of 0, 1, 2, 4, 5.
    let packs = pack(&files, 1, |name, z| name.starts_with("3DBox_CT") && z == 1);
    let packed = read(packs.path());
    let entry = files.entries().iter().position(|e| e.name() == "3DBox_CT_many.npz").unwrap();
    let config = DataConfig { carried: 1.0, opening: 0.0, unlabelled: 0.0, ..config() };
    let mut from = [0; 3];
    for position in 0..40 {
        let drawing = Drawing::random(&packed, 0, &config, 3, 0, position);
        // The user's box is so loose that nothing of the carried one is cut.
        let drawing = Drawing { jitter: [(1.0, 0.0); 4], ..drawing };
        // Label 1 is in slices 0 and 1, label 300 in 2, too.
        let Around::Beside(other) = drawing.around else { panic!("{drawing:?}") };
        assert!(drawing.label == 300 || other == 0, "{drawing:?}");
        let same = Drawing { entry, ..drawing.clone() };
        let [a, b] = [(&packed, &drawing), (&files, &same)].map(|(of, what)| Sample::new(of, what, 3).unwrap());
        assert_eq!((a.model_box, a.mask), (b.model_box, b.mask));
        // It is the box of the label there, flipped in the same way, and moved out as inference does.
        let there = Drawing { z: other, around: Around::Object, jitter: [(3.0, 0.0); 4], ..same };
        assert_eq!(Sample::new(&files, &there, 3).unwrap().model_box, a.model_box);
        from[other] += 1;
    }
    assert!(from[0] > 0 && from[2] > 0);
    let error = Sample::new(&packed, &Drawing::exact(0, 4, 300), 3).unwrap_err();
    assert!(error.to_string().contains("3DBox_CT_many.npz: slice 4 is not in the packed data set"), "{error}");
    let far = Drawing { around: Around::Beside(5), ..Drawing::exact(0, 1, 300) };
    assert!(matches!(Sample::new(&packed, &far, 3), Err(DatasetError::Case { .. })));
}

#[test]
fn settings_and_folders_that_do_not_fit_are_refused() {
    let files = cases();
    let packs = pack(&read(files.path()), 2, |name, _| name.starts_with("2DBox"));
    let fail = |config: &DataConfig| Dataset::read(packs.path(), config, |_, _| ()).unwrap_err().to_string();
    let error = fail(&DataConfig { zoom: 0.5, ..config() });
    assert!(error.contains("1.pack: data.zoom: 0.5; 0, as packs"), "{error}");
    let error = fail(&DataConfig { min_area: 9, ..config() });
    assert!(error.contains("1.pack: data.min-area: 9; 3, as when it was packed"), "{error}");

    fs::copy(packs.path().join("1.pack"), packs.path().join("3.pack")).unwrap();
    let error = fail(&config());
    assert!(error.contains("3.pack") && error.contains("also in") && error.contains("1.pack"), "{error}");
    let name = "2DBox_US_cyst.npz";
    fs::copy(files.path().join(name), packs.path().join(name)).unwrap();
    let error = Dataset::read(packs.path(), &config(), |_, _| ()).unwrap_err();
    assert!(matches!(error, DatasetError::Mixed(_)), "{error}");
    // One shard alone is a data set.
    let one = Dataset::read(&packs.path().join("2.pack"), &config(), |_, _| ()).unwrap();
    assert!(!one.entries().is_empty());
}

#[test]
fn what_would_come_back_otherwise_is_not_packed() {
    let files = cases();
    let files = read(files.path());
    let entry = files.entries().iter().position(|e| e.group() == "MR 3D").unwrap();
    let slice = PackSlice::new(&files, entry, files.entries()[entry].slices[0].0).unwrap();
    let mut picture = slice.picture();
    assert!(slice.encoded(encode(&picture), 3).is_ok());
    assert!(matches!(slice.encoded(encode(&picture), 9999), Err(PackProblem::Value { .. })));
    assert!(matches!(slice.encoded(encode(&picture)[..300].to_vec(), 3), Err(PackProblem::Picture(_))));
    picture.pixels[777] ^= 1;
    assert!(matches!(slice.encoded(encode(&picture), 3), Err(PackProblem::Picture(_))));
}

#[test]
fn damage_is_named() {
    let bytes = small();
    let text = String::from_utf8_lossy(&bytes[16..]).into_owned();
    let index = &text[..text.find("]}").unwrap() + 2];
    // Another index before the same blobs.
    let with = |from: &str, to: &str| {
        let index = index.replace(from, to);
        assert!(!text.starts_with(&index), "{from}");
        let mut changed = bytes[..12].to_vec();
        changed.extend((index.len() as u32).to_le_bytes());
        changed.extend(index.as_bytes());
        let old = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        changed.extend(&bytes[16 + old..]);
        open(&sealed(changed)).unwrap_err().to_string()
    };
    for (from, to, words) in [
        ("\"width\":256", "\"width\":1256", "width: 1256; 1 to 256 expected"),
        ("\"width\":256", "\"width\":255", "a longest side of 256"),
        ("\"height\":64", "\"height\":65", "picture: 256 x 64 pixels; 256 x 65 expected"),
        ("\"channels\":1", "\"channels\":2", "channels: 2; 1 or 3 expected"),
        ("\"depth\":1", "\"depth\":2", "labels: damaged"),
        ("\"z\":0", "\"z\":70000", "z: 70000; less than 65536"),
        ("\"picture\":", "\"picture\":1844674407370955", "picture and labels"),
        ("\"picture\":", "\"picture\":9", "picture and labels"),
        ("\"min-area\":3", "\"min-area\":65535", "labels: no usable label"),
        ("\"case\":\"", "\"case\":\"../", "case: this name"),
        ("\"preprocessing\":1", "\"preprocessing\":7", "preprocessing: 7; 1 expected"),
        ("\"z\"", "\"zz\"", "index: unknown field"),
    ] {
        let error = with(from, to);
        assert!(error.contains(words), "{words} in {error}");
    }
    let mut longer = bytes.clone();
    longer.extend([0; 7]);
    assert!(matches!(open(&sealed(longer)).unwrap_err().problem, PackProblem::Value { .. }));
    let absent = Pack::read(&PathBuf::from("absent.pack")).unwrap_err();
    assert!(matches!(absent.problem, PackProblem::Io(_)), "{absent}");
}
