//! The cache of embeddings with the real network: what it gives is what the encoder gives, to the bit.

use std::ops::ControlFlow;

use prost::Message;
use tract_onnx::pb::ModelProto;
use umedsam::volume::from_fn;
use umedsam::{
    CacheOptions, EMBEDDING_BYTES, Embedding, EmbeddingCache, Error, ImageView, Model, PixelBox, Precision, Session,
    SessionOptions, VolumeOptions, VolumeSize, VoxelBox, encode_bundle,
};
use umedsam_tests::picture;

fn session(model: &Model, precision: Precision) -> Session {
    model.session(&SessionOptions::new().with_threads(2).with_precision(precision)).unwrap()
}

fn bits(embedding: &Embedding) -> Vec<u32> {
    embedding.values().iter().map(|v| v.to_bits()).collect()
}

/// The built-in model with one other weight in its encoder.
fn other_model(model: &Model) -> Model {
    let mut encoder = ModelProto::decode(model.encoder_onnx()).unwrap();
    let graph = encoder.graph.as_mut().unwrap();
    let weights = graph.initializer.iter_mut().filter(|tensor| tensor.data_type == 1 && tensor.raw_data.len() >= 4);
    let last = weights.last().unwrap();
    // The highest byte of the first value: another exponent.
    last.raw_data[3] ^= 1;
    let bytes = encode_bundle(&encoder.encode_to_vec(), model.decoder_onnx(), model.manifest()).unwrap();
    Model::from_bytes(bytes).unwrap()
}

#[test]
fn an_entry_is_never_another_images_or_another_models() {
    let model = Model::bundled().unwrap();
    let other = other_model(&model);
    let pixels: Vec<u8> = (0..12).map(|i| i * 20).collect();
    let mut changed = pixels.clone();
    changed[7] += 1;
    let images = [
        ImageView::gray8(&pixels, 3, 4).unwrap(),
        ImageView::gray8(&pixels, 2, 6).unwrap(),
        ImageView::gray8(&pixels, 4, 3).unwrap(),
        ImageView::rgb8(&pixels, 2, 2).unwrap(),
        ImageView::gray8(&changed, 3, 4).unwrap(),
    ];
    // Rows of 4 of which 3 are the first image's.
    let spread: Vec<u8> = pixels.chunks(3).flat_map(|row| [row, &[99]].concat()).collect();
    let strided = ImageView::gray8_strided(&spread, 3, 4, 4).unwrap();

    let runs = [(&model, Precision::Int8), (&model, Precision::F32), (&other, Precision::Int8)];
    let mut sessions = runs.map(|(model, precision)| session(model, precision));
    let expected: Vec<Vec<u32>> =
        sessions.iter_mut().flat_map(|s| images.map(|image| bits(&s.encode(&image).unwrap()))).collect();
    // All of them are different, or the test would prove nothing.
    for (i, one) in expected.iter().enumerate() {
        assert!(!expected[..i].contains(one), "{i}");
    }

    let folder = tempfile::tempdir().unwrap();
    let options = CacheOptions::new().with_folder(folder.path(), 1 << 30);
    // The first cache fills the folder, from which the others are served. They hold few in memory, or none.
    for (memory, encoded) in [(64 << 20, images.len()), (2 * EMBEDDING_BYTES, 0), (0, 0)] {
        let cache = EmbeddingCache::new(&options.clone().with_memory_bytes(memory)).unwrap();
        for ((session, (model, precision)), expected) in
            sessions.iter_mut().zip(runs).zip(expected.chunks(images.len()))
        {
            session.set_cache(Some(cache.clone()));
            let before = session.stats();
            // All of them twice, so that each is asked for after others were put in.
            for (image, expected) in images.iter().zip(expected).chain(images.iter().zip(expected)) {
                let found = session.encode(image).unwrap();
                assert!(bits(&found) == *expected, "{precision} {image:?}");
                assert_eq!((found.frame(), found.model()), (image.frame(), &*model.manifest().encoder_sha256));
            }
            assert!(bits(&session.encode(&strided).unwrap()) == expected[0], "strides make no difference");
            let (after, asked) = (session.stats(), 2 * images.len() + 1);
            let counts = (after.encodes - before.encodes, after.cache_hits - before.cache_hits);
            assert_eq!(counts, (encoded, asked - encoded));
        }
        let stats = cache.stats();
        assert!(stats.bytes <= memory && stats.bytes == stats.entries * EMBEDDING_BYTES, "{stats:?}");
        assert!(cache.take_notes().is_empty());
    }
}

#[test]
fn stored_values_are_an_embedding_again() {
    let model = Model::bundled().unwrap();
    let mut session = session(&model, Precision::Int8);
    let pixels = picture();
    let embedding = session.encode(&ImageView::rgb8(&pixels, 256, 256).unwrap()).unwrap();
    assert_eq!(embedding.model(), model.manifest().encoder_sha256);
    let boxes = [PixelBox::new(60.0, 30.0, 180.0, 150.0)];
    let mut logits = |e: &Embedding| session.segment(e, &boxes).map(|found| found[0].logits().values().to_vec());
    let of_values =
        |model: &str| Embedding::from_values(embedding.values().to_vec(), embedding.frame(), model).unwrap();
    assert!(logits(&of_values(embedding.model())).unwrap() == logits(&embedding).unwrap());
    let error = logits(&of_values("another")).unwrap_err();
    assert!(matches!(error, Error::Embedding(_)), "{error}");
}

#[test]
fn half_as_many_bytes_round_alike_whatever_the_cache_held() {
    let model = Model::bundled().unwrap();
    let mut session = session(&model, Precision::Int8);
    let pixels = picture();
    let image = ImageView::rgb8(&pixels, 256, 256).unwrap();
    let whole = session.encode(&image).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = CacheOptions::new().with_half().with_folder(folder.path(), 3 << 20);
    session.set_cache(Some(EmbeddingCache::new(&options).unwrap()));
    let (made, kept) = (session.encode(&image).unwrap(), session.encode(&image).unwrap());
    session.set_cache(Some(EmbeddingCache::new(&options).unwrap()));
    let read = session.encode(&image).unwrap();
    assert!(bits(&made) == bits(&kept) && bits(&made) == bits(&read) && bits(&made) != bits(&whole));
    let stats = session.cache().unwrap().stats();
    assert_eq!((stats.folder_hits, stats.misses, stats.entries, stats.bytes), (1, 0, 1, EMBEDDING_BYTES / 2));
    // One in f32 does not take it, nor does it find room.
    let options = CacheOptions::new().with_folder(folder.path(), 3 << 20);
    session.set_cache(Some(EmbeddingCache::new(&options).unwrap()));
    assert!(bits(&session.encode(&image).unwrap()) == bits(&whole));
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[test]
fn slices_come_from_the_cache() {
    let model = Model::bundled().unwrap();
    let mut session = session(&model, Precision::Int8);
    let (depth, side) = (6, 32);
    let voxels: Vec<u8> = (0..depth * side * side).map(|i| ((i * 7) % 251 + i / 1024) as u8).collect();
    // One rises through the slices that the other sinks through.
    let boxes = [VoxelBox::new(2.0, 2.0, 0.0, 20.0, 20.0, 5.0), VoxelBox::new(9.0, 9.0, 2.0, 30.0, 30.0, 6.0)];
    let size = VolumeSize { depth, height: side, width: side };
    let mut segment = |cache: Option<&EmbeddingCache>, cache_bytes| {
        session.set_cache(cache.cloned());
        let before = session.stats();
        let slices = from_fn(|z| ImageView::gray8(&voxels[z * side * side..][..side * side], side, side));
        let options = VolumeOptions::new().with_cache_bytes(cache_bytes);
        let found = session.segment_volume(slices, size, &boxes, &options, |_, _| ControlFlow::Continue(())).unwrap();
        let after = session.stats();
        (found.labels, (after.encodes - before.encodes, after.cache_hits - before.cache_hits))
    };
    let (labels, (encodes, _)) = segment(None, 64 << 20);
    let (again, (twice, _)) = segment(None, 0);
    assert!(labels == again && encodes == depth && twice > encodes, "{encodes} {twice}");
    let cache = EmbeddingCache::new(&CacheOptions::new()).unwrap();
    for (cache_bytes, expected) in [(0, (depth, twice - depth)), (0, (0, twice)), (64 << 20, (0, depth))] {
        let (found, counts) = segment(Some(&cache), cache_bytes);
        assert!(found == labels);
        assert_eq!(counts, expected);
    }
}
