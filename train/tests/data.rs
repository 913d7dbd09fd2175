//! Cases, what is drawn of them, and embeddings on disk.

mod common;

use std::fs;
use std::sync::Arc;

use common::{network, write_case};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};
use umedsam_train::config::{BadCases, CacheConfig, CacheKind, DataConfig};
use umedsam_train::data::{Around, Dataset, DatasetError, Drawing, Loader, Picture, Sample, Staged, Task};
use umedsam_train::embeddings::EmbeddingCache;

/// An image and a volume whose intensities are 50 times the labels: what is flipped with what can be seen. Label 3 is of
/// two pieces, label 4 of too few pixels.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (height, width) = (80, 256);
    let mut labels = vec![0u8; height * width];
    let mut paint = |x0: usize, y0: usize, x1: usize, y1: usize, label| {
        for y in y0..y1 {
            labels[y * width + x0..y * width + x1].fill(label);
        }
    };
    paint(10, 5, 60, 30, 1);
    paint(100, 40, 180, 70, 2);
    paint(200, 10, 210, 20, 3);
    paint(230, 60, 250, 75, 3);
    paint(5, 60, 7, 61, 4);
    write_case(&folder.path().join("2DBox_US_a.npz"), &labels, &[80, 256]);
    let volume = [vec![0; labels.len()], labels].concat();
    write_case(&folder.path().join("3DBox_MR_b.npz"), &volume, &[2, 80, 256]);
    folder
}

fn dataset(folder: &tempfile::TempDir, config: &DataConfig) -> Arc<Dataset> {
    Arc::new(Dataset::read(folder.path(), config, |_, _| ()).unwrap())
}

#[test]
fn cases_tell_slices_labels_and_what_is_wrong_with_them() {
    let folder = folder();
    fs::write(folder.path().join("2DBox_CT_broken.npz"), b"PK\x03\x04 no zip").unwrap();
    write_case(&folder.path().join("2DBox_CT_empty.npz"), &[0; 64], &[8, 8]);
    Tensor::write_npz(
        &[
            ("imgs", Tensor::zeros([8, 8], (Kind::Uint8, Device::Cpu))),
            ("gts", Tensor::zeros([8, 9], (Kind::Uint8, Device::Cpu))),
        ],
        folder.path().join("2DBox_CT_sizes.npz"),
    )
    .unwrap();
    let config = DataConfig::default();
    let read = dataset(&folder, &config);
    let entries: Vec<_> = read.entries().iter().map(|e| (e.group(), &e.slices[..])).collect();
    let labels = vec![1, 2, 3];
    assert_eq!(entries, [("US 2D".into(), &[(0, labels.clone())][..]), ("MR 3D".into(), &[(1, labels)][..])]);
    let skipped: Vec<String> = read.skipped().iter().map(|s| s.problem.to_string()).collect();
    assert_eq!(skipped.len(), 3);
    assert!(skipped[0].contains("NPZ"), "{skipped:?}");
    assert!(skipped[1].contains("no object of more than 3 pixels"), "{skipped:?}");
    assert!(skipped[2].contains("gts") && skipped[2].contains("[8, 9]"), "{skipped:?}");

    let strict = DataConfig { bad_cases: BadCases::Fail, ..config };
    let error = Dataset::read(folder.path(), &strict, |_, _| ()).unwrap_err();
    assert!(matches!(&error, DatasetError::Case { path, .. } if path.ends_with("2DBox_CT_broken.npz")), "{error}");
    let error = Dataset::read(&folder.path().join("absent"), &strict, |_, _| ()).unwrap_err();
    assert!(matches!(error, DatasetError::Folder(_)), "{error}");
}

#[test]
fn a_digest_is_of_names_pixels_and_labels() {
    let (folder, other) = (folder(), folder());
    let config = DataConfig::default();
    let digest = dataset(&folder, &config).digest();
    assert_eq!(digest, dataset(&other, &config).digest());
    fs::rename(other.path().join("2DBox_US_a.npz"), other.path().join("2DBox_US_c.npz")).unwrap();
    assert_ne!(digest, dataset(&other, &config).digest());
}

#[test]
fn sources_are_left_out_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut labels = [0; 64 * 64];
    labels[900..930].fill(1);
    for name in ["2DBox_US_A_1.npz", "2DBox_US_Ab_2.npz", "2DBox_CT_A_3.npz"] {
        write_case(&folder.path().join(name), &labels, &[64, 64]);
    }
    let without = |names: &[&str]| {
        let config = DataConfig { without: names.iter().map(ToString::to_string).collect(), ..DataConfig::default() };
        Dataset::read(folder.path(), &config, |_, _| ())
    };
    let left = without(&["A"]).unwrap();
    assert_eq!(left.entries().iter().map(|e| e.name().into_owned()).collect::<Vec<_>>(), ["2DBox_US_Ab_2.npz"]);
    let error = without(&["Ab", "a"]).unwrap_err();
    assert!(matches!(&error, DatasetError::NoSource { name, .. } if name == "a"), "{error}");
    let error = without(&["A", "Ab"]).unwrap_err();
    assert!(matches!(error, DatasetError::NothingLeft(_)), "{error}");
}

#[test]
fn a_view_moves_object_and_box_and_loses_neither() {
    let folder = folder();
    let config = DataConfig { flip: 0.0, jitter: 0, turn: 30.0, scale: 0.4, shift: 0.1, ..DataConfig::default() };
    let dataset = dataset(&folder, &config);
    let mut moved = 0;
    for position in 0..100 {
        let drawing = Drawing::random(&dataset, 0, &config, 1, 0, position);
        let still = Sample::new(&dataset, &Drawing { view: None, ..drawing.clone() }, config.min_area).unwrap();
        let sample = Sample::new(&dataset, &drawing, config.min_area).unwrap();
        let inside: Vec<_> =
            (0..).zip(&sample.mask).filter(|(_, inside)| **inside).map(|(i, _)| (i % 256, i / 256)).collect();
        assert!(inside.len() > config.min_area);
        let bound =
            |f: fn(&(i32, i32)) -> i32| (inside.iter().map(f).min().unwrap(), inside.iter().map(f).max().unwrap());
        let ((x0, x1), (y0, y1)) = (bound(|p| p.0), bound(|p| p.1));
        assert_eq!(sample.model_box, [x0, y0, x1, y1].map(|v| v as f32));
        moved += usize::from(sample.model_box != still.model_box);
    }
    assert!(moved > 90, "{moved}");
}

#[test]
fn some_boxes_fit_exactly() {
    let folder = folder();
    let config = DataConfig { exact: 0.4, jitter_share: 0.1, ..DataConfig::default() };
    let dataset = dataset(&folder, &config);
    let fits = |position: &u64| Drawing::random(&dataset, 0, &config, 1, 0, *position).jitter == [(0.0, 0.0); 4];
    let count = (0..500).filter(fits).count();
    assert!((160..240).contains(&count), "{count}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn picture_mask_and_box_stay_together(seed in any::<u64>(), position in 0..1000_u64, entry in 0..2_usize) {
        thread_local!(static FOLDER: tempfile::TempDir = folder());
        let config = DataConfig { component: 0.5, jitter_share: 0.1, memory_gib: 0.0, ..DataConfig::default() };
        let dataset = FOLDER.with(|folder| dataset(folder, &config));
        let drawing = Drawing::random(&dataset, entry, &config, seed, 0, position);
        prop_assert_eq!(&drawing, &Drawing::random(&dataset, entry, &config, seed, 0, position));
        prop_assert!(drawing.jitter.iter().all(|&(pixels, share)| pixels <= f64::from(config.jitter) && share <= 0.1));
        let sample = Sample::new(&dataset, &drawing, config.min_area).unwrap();
        let Picture { pixels, width, height, .. } = &sample.picture;
        prop_assert_eq!((*width, *height), (256, 80));
        let mut bounds = [usize::MAX, usize::MAX, 0, 0];
        let mut area = 0;
        for (i, &inside) in sample.mask.iter().enumerate() {
            let (x, y) = (i % 256, i / 256);
            let here = if y < *height { pixels[y * width + x] } else { 0 };
            // With one component, other pixels may be of its label too.
            if inside || drawing.component.is_none() {
                prop_assert_eq!(inside, u16::from(here) == 50 * drawing.label);
            }
            if inside {
                area += 1;
                bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
            }
        }
        let pieces = if drawing.component.is_some() { vec![100, 300] } else { vec![400] };
        prop_assert!(drawing.label != 3 || pieces.contains(&area), "{} pixels", area);
        let side = (bounds[2] - bounds[0]).max(bounds[3] - bounds[1]) + 1;
        let [left, top, right, bottom] =
            drawing.jitter.map(|(pixels, share)| pixels.max(share * side as f64).round() as usize);
        let expected = [
            bounds[0].saturating_sub(left),
            bounds[1].saturating_sub(top),
            (bounds[2] + right).min(256),
            (bounds[3] + bottom).min(80),
        ];
        prop_assert_eq!(sample.model_box, expected.map(|v| v as f32));
    }
}

#[test]
fn a_box_is_carried_on_from_the_slice_beside() {
    let folder = tempfile::tempdir().unwrap();
    let mut volume = vec![0u8; 3 * 64 * 64];
    // A bar that is 4 columns further right in each slice.
    for (z, slice) in volume.chunks_exact_mut(64 * 64).enumerate() {
        for row in slice.chunks_exact_mut(64).skip(10).take(20) {
            row[10 + 4 * z..30 + 4 * z].fill(1);
        }
    }
    write_case(&folder.path().join("3DBox_MR_c.npz"), &volume, &[3, 64, 64]);
    let config = DataConfig { carried: 1.0, component: 1.0, flip: 0.0, ..DataConfig::default() };
    let dataset = dataset(&folder, &config);
    let mut seen = [false; 3];
    for position in 0..40 {
        // The user's box is so loose that nothing of the carried one is cut.
        let drawing = Drawing { jitter: [(1.0, 0.0); 4], ..Drawing::random(&dataset, 0, &config, 5, 0, position) };
        let Around::Beside(from) = drawing.around else { panic!("{drawing:?}") };
        assert!(from.abs_diff(drawing.z) == 1 && drawing.component.is_none());
        let sample = Sample::new(&dataset, &drawing, 3).unwrap();
        // Four pixels of the grid to one; inference moves the box out by three.
        let left = (4 * (10 + 4 * from)) as f32;
        assert_eq!(sample.model_box, [left - 3.0, 40.0 - 3.0, left + 79.0 + 3.0, 119.0 + 3.0]);
        assert_eq!(sample.mask.iter().position(|&m| m), Some(40 * 256 + 4 * (10 + 4 * drawing.z)));
        seen[drawing.z] = true;
    }
    assert_eq!(seen, [true; 3]);
}

#[test]
fn volumes_begin_with_the_box_of_the_whole_object_and_no_carried_box_leaves_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut volume = vec![0u8; 9 * 64 * 64];
    // A bar that is 2 columns further right in each of slices 1 to 7, but for the one in the middle, where it is short.
    for (z, slice) in volume.chunks_exact_mut(64 * 64).enumerate().take(8).skip(1) {
        for row in slice.chunks_exact_mut(64).skip(10).take(20) {
            row[10 + 2 * z..if z == 4 { 20 } else { 30 + 2 * z }].fill(1);
        }
    }
    write_case(&folder.path().join("3DBox_MR_e.npz"), &volume, &[9, 64, 64]);
    let config = DataConfig { opening: 1.0, flip: 0.0, jitter: 2, ..DataConfig::default() };
    let dataset = dataset(&folder, &config);
    let extent = dataset.entries()[0].extents[&1];
    assert_eq!((extent.first, extent.last), (1, 7));
    // Four pixels of the grid to one: columns 12 to 43.
    assert_eq!(extent.bounds, umedsam::PixelBox::new(48.0, 40.0, 175.0, 119.0));
    for position in 0..20 {
        let drawing = Drawing::random(&dataset, 0, &config, 5, 0, position);
        assert_eq!((drawing.z, drawing.component, drawing.around), (4, None, Around::Volume));
        let [left, top, right, bottom] = drawing.jitter.map(|(pixels, _)| pixels as f32);
        let sample = Sample::new(&dataset, &drawing, 3).unwrap();
        assert!(sample.known);
        assert_eq!(sample.model_box, [48.0 - left, 40.0 - top, 175.0 + right, 119.0 + bottom]);
    }
    // From the last slice but one, whose box would reach column 171 + 3; from the last it is cut to 175 + 2.
    let carried = |from| Drawing { around: Around::Beside(from), flips: [true, false], ..Drawing::exact(0, 6, 1) };
    let box_of = |from| Sample::new(&dataset, &carried(from), 3).unwrap().model_box;
    assert_eq!(box_of(6), [255.0 - 167.0 - 3.0, 38.0, 255.0 - 88.0 + 3.0, 121.0]);
    assert_eq!(box_of(7), [255.0 - 175.0 - 2.0, 38.0, 255.0 - 96.0 + 3.0, 121.0]);
}

#[test]
fn boxes_anywhere_have_no_mask_of_their_own() {
    let folder = folder();
    let config = DataConfig { unlabelled: 1.0, ..DataConfig::default() };
    let dataset = dataset(&folder, &config);
    for position in 0..50 {
        let drawing = Drawing::random(&dataset, (position % 2) as usize, &config, 5, 0, position);
        let sample = Sample::new(&dataset, &drawing, 3).unwrap();
        assert!(!sample.known && sample.mask.iter().all(|&inside| !inside));
        let [x0, y0, x1, y1] = sample.model_box;
        assert!(0.0 <= x0 && x0 < x1 && x1 < 256.0 && 0.0 <= y0 && y0 < y1 && y1 < 80.0, "{:?}", sample.model_box);
    }
}

#[test]
fn a_crop_shows_the_object_larger() {
    let folder = tempfile::tempdir().unwrap();
    let mut labels = vec![0u8; 400 * 600];
    for row in labels.chunks_exact_mut(600).skip(100).take(40) {
        row[300..340].fill(1);
        // Another piece, out of the crop.
        row[10..20].fill(1);
    }
    write_case(&folder.path().join("2DBox_US_d.npz"), &labels, &[400, 600]);
    let config = DataConfig {
        zoom: 1.0,
        zoom_margins: vec![1.09],
        component: 1.0,
        flip: 0.0,
        jitter: 0,
        ..DataConfig::default()
    };
    let dataset = dataset(&folder, &config);
    let mut large = 0;
    for position in 0..20 {
        let drawing = Drawing::random(&dataset, 0, &config, 1, 0, position);
        assert_eq!(drawing.zoom, Some(1.09));
        let sample = Sample::new(&dataset, &drawing, 3).unwrap();
        assert_eq!((sample.picture.width, sample.picture.height), (256, 256));
        let area = sample.mask.iter().filter(|&&m| m).count();
        // 40 of the window's 40 + 2 x 44 columns.
        if area == 80 * 80 {
            assert_eq!(sample.model_box, [88.0, 88.0, 167.0, 167.0]);
            large += 1;
        }
    }
    assert!((1..20).contains(&large), "{large} of 20");
    // The whole label is as wide as half of the image, and its crop is shorter than the image still.
    let whole = Drawing { component: None, ..Drawing::random(&dataset, 0, &config, 1, 0, 0) };
    assert!(Sample::new(&dataset, &whole, 3).unwrap().mask.iter().filter(|&&m| m).count() < 80 * 80);
}

#[test]
fn threads_keep_the_order_and_shapes_are_wanted_or_not() {
    let folder = folder();
    let config = DataConfig::default();
    let dataset = dataset(&folder, &config);
    let drawings: Vec<Drawing> =
        (0..23).map(|i| Drawing::random(&dataset, (i % 2) as usize, &config, 5, 1, i)).collect();
    let batches: Vec<Vec<Drawing>> = drawings.chunks(4).map(<[Drawing]>::to_vec).collect();
    let load = |shape, images, workers| -> Vec<Staged> {
        let (dataset, device) = (dataset.clone(), Device::Cpu);
        let task = Task { dataset, cache: None, min_area: 3, shape, images, share: false, device };
        Loader::new(&task, batches.clone(), workers).map(Result::unwrap).collect()
    };
    let (one, three) = (load(false, false, 1), load(true, true, 3));
    assert_eq!((one.len(), three.len()), (6, 6));
    for ((a, b), drawn) in one.iter().zip(&three).zip(&batches) {
        assert_eq!((&a.names, &a.pictures, a.names.len()), (&b.names, &b.pictures, drawn.len()));
        for (name, drawing) in a.names.iter().zip(drawn) {
            assert_eq!(*name, Sample::new(&dataset, drawing, 3).unwrap().name);
        }
        let (a, b) = (a.to_device(Device::Cpu), b.to_device(Device::Cpu));
        assert!(a.boxes.equal(&b.boxes) && a.masks.equal(&b.masks) && a.shapes.is_none() && a.images.is_none());
        assert!(b.shapes.unwrap().gt(0.4).equal(&b.masks.gt(0.5)));
        assert_eq!(b.images.unwrap().size(), [drawn.len() as i64, 3, 256, 256]);
    }
}

#[test]
fn objects_of_one_slice_share_its_picture_where_that_is_asked_for() {
    let folder = folder();
    let dataset = dataset(&folder, &DataConfig::default());
    let exact = |&(entry, z, label): &(usize, usize, u16)| Drawing::exact(entry, z, label);
    let slices = &dataset.entries()[0].slices;
    let label = |at: usize| (0, slices[0].0, slices[0].1[at % slices[0].1.len()]);
    let mut drawings: Vec<Drawing> = [label(0), label(1), label(0), label(1)].iter().map(exact).collect();
    drawings[2..].iter_mut().for_each(|drawing| drawing.flips = [true, false]);
    let stage = |share| {
        let task = Task {
            dataset: dataset.clone(),
            cache: None,
            min_area: 0,
            shape: false,
            images: true,
            share,
            device: Device::Cpu,
        };
        Loader::new(&task, vec![drawings.clone()], 1).next().unwrap().unwrap()
    };
    let (shared, apart) = (stage(true), stage(false));
    assert_eq!((shared.pictures.len(), apart.pictures.len()), (2, 4));
    let images = |staged: &Staged| {
        let batch = staged.to_device(Device::Cpu);
        batch.of_samples(batch.images.as_ref().unwrap().shallow_clone())
    };
    assert!(images(&shared).equal(&images(&apart)));
}

#[test]
fn embeddings_come_back_rounded_and_only_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (vs, _) = network();
    let picture = |value| Picture { pixels: vec![value; 256 * 4], channels: 1, width: 256, height: 4 };
    let embedding = Tensor::randn([1, 256, 64, 64], (Kind::Float, Device::Cpu));
    let config = CacheConfig {
        kind: CacheKind::F16,
        folder: Some(folder.path().into()),
        // Room for one, not for two.
        max_gib: 3.0 / 1024.0,
    };
    let cache = EmbeddingCache::open(&config, &vs, "core").unwrap().unwrap();
    assert!(cache.get(&picture(1)).is_none());
    let rounded = embedding.to_kind(Kind::Half).to_kind(Kind::Float);
    assert!(cache.put(&picture(1), &embedding).unwrap().to_tensor(Device::Cpu).equal(&rounded));
    assert!(cache.get(&picture(1)).unwrap().to_tensor(Device::Cpu).equal(&rounded));
    // Beyond the bound it is rounded all the same, but not kept.
    assert!(cache.put(&picture(2), &embedding).unwrap().to_tensor(Device::Cpu).equal(&rounded));
    assert!(cache.get(&picture(2)).is_none());

    // What is there counts when the cache is opened again; a damaged file doesn't.
    let again = EmbeddingCache::open(&config, &vs, "core").unwrap().unwrap();
    assert!(again.get(&picture(1)).is_some());
    again.put(&picture(2), &embedding).unwrap();
    assert!(again.get(&picture(2)).is_none());
    let file = fs::read_dir(cache.folder()).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[77] ^= 1;
    for damaged in [&[][..], &whole[..100], &flipped] {
        fs::write(&file, damaged).unwrap();
        assert!(cache.get(&picture(1)).is_none());
    }
    // Made anew, it takes the damaged one's place and room.
    cache.put(&picture(1), &embedding).unwrap();
    assert!(cache.get(&picture(1)).is_some() && fs::read(&file).unwrap() == whole);
    // In the place of another picture's, it is no embedding of that.
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = CacheConfig { folder: Some(folder.path().into()), ..config.clone() };
    let foreign = EmbeddingCache::open(&elsewhere, &vs, "core").unwrap().unwrap();
    foreign.put(&picture(2), &embedding).unwrap();
    let name = fs::read_dir(foreign.folder()).unwrap().next().unwrap().unwrap().path();
    fs::copy(&file, &name).unwrap();
    assert!(foreign.get(&picture(2)).is_none());

    // Another encoder has embeddings of its own.
    let _ = tch::no_grad(|| vs.variables()["image_encoder.neck.0.weight"].shallow_clone().g_add_scalar_(1.0));
    let other = EmbeddingCache::open(&config, &vs, "core").unwrap().unwrap();
    assert_ne!(other.folder(), cache.folder());
}
