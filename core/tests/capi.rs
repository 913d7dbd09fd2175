//! The C ABI, called as a C program calls it: results equal the Rust API's to the byte, wrong arguments get a status and
//! a message, and a panic ends within the library.
#![allow(unsafe_code, reason = "calls of C")]

use std::ffi::{CStr, CString, c_void};
use std::ops::ControlFlow;
use std::ptr::{null, null_mut};

use umedsam::capi::*;
use umedsam::intensity::{Window, to_u8};
use umedsam::uncertainty::UncertaintyOptions;
use umedsam::{ImageView, Model, PixelBox, SessionOptions, VolumeOptions, VolumeSize, VoxelBox, volume};

const OK: umedsam_status = umedsam_status::Ok;

fn message() -> String {
    unsafe { CStr::from_ptr(umedsam_last_error_message()) }.to_str().unwrap().to_owned()
}

#[track_caller]
fn fails(status: umedsam_status, expected: umedsam_status, text: &str) {
    assert_eq!(status, expected, "{}", message());
    assert!(message().contains(text), "'{}' does not hold '{text}'", message());
}

/// A session of the built-in model, freed at the end.
struct Handles {
    session: *mut umedsam_session,
    embedding: *mut umedsam_embedding,
}

impl Handles {
    fn new() -> Self {
        let (mut model, mut session, mut embedding) = (null_mut(), null_mut(), null_mut());
        unsafe {
            assert_eq!(umedsam_model_bundled(&mut model), OK);
            assert_eq!(umedsam_session_new(model, null(), &mut session), OK);
            assert_eq!(umedsam_embedding_new(&mut embedding), OK);
            umedsam_model_free(model);
        }
        Self { session, embedding }
    }

    fn encode(&self, image: &umedsam_image, window: Option<&umedsam_window>) -> umedsam_status {
        let window = window.map_or(null(), |w| w);
        unsafe { umedsam_encode(self.session, image, window, self.embedding) }
    }

    fn mask(&self, boxes: &[umedsam_box], masks: &mut [u8]) -> umedsam_status {
        let (len, masks) = (masks.len(), masks.as_mut_ptr());
        let (session, embedding) = (self.session, self.embedding);
        unsafe {
            umedsam_segment(session, embedding, boxes.as_ptr(), boxes.len(), masks, len, null_mut(), 0, null_mut())
        }
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        unsafe {
            umedsam_embedding_free(self.embedding);
            umedsam_session_free(self.session);
        }
    }
}

const WIDTH: usize = 90;
const HEIGHT: usize = 70;

/// A bright ellipse, in 16 bits.
fn picture(z: usize) -> Vec<u16> {
    let value = |i: usize| {
        let (x, y) = ((i % WIDTH) as f64 - 45.0, (i / WIDTH) as f64 - 35.0 - z as f64);
        if (x / 25.0).powi(2) + (y / 18.0).powi(2) < 1.0 { 3000 + i as u16 % 200 } else { 500 + i as u16 % 300 }
    };
    (0..WIDTH * HEIGHT).map(value).collect()
}

fn image(pixels: &[u8]) -> umedsam_image {
    let pixel_type = umedsam_pixel_type::U8 as i32;
    umedsam_image {
        pixels: pixels.as_ptr().cast(),
        width: WIDTH,
        height: HEIGHT,
        row_stride: 0,
        channels: 1,
        pixel_type,
    }
}

const BOXES: [umedsam_box; 2] =
    [umedsam_box { x0: 18.0, y0: 15.0, x1: 72.0, y1: 55.0 }, umedsam_box { x0: 30.0, y0: 20.0, x1: 60.0, y1: 50.0 }];

#[test]
fn masks_are_those_of_the_rust_api() {
    let pixels = picture(0);
    let window = umedsam_window { kind: umedsam_window_kind::Level as i32, level: 1750.0, width: 3500.0 };
    let bytes = to_u8(&pixels, Window::Level { level: 1750.0, width: 3500.0 }).unwrap();
    let mut session = Model::bundled().unwrap().session(&SessionOptions::new()).unwrap();
    let embedding = session.encode(&ImageView::gray8(&bytes, WIDTH, HEIGHT).unwrap()).unwrap();
    let boxes = BOXES.map(|b| PixelBox::new(b.x0, b.y0, b.x1, b.y1));
    let expected = session.segment(&embedding, &boxes).unwrap();
    assert!(expected.iter().all(|s| s.area() > 300), "masks to compare");

    // Rows with gaps, from an odd address, in 16 bits.
    let stride = 2 * WIDTH + 7;
    let mut strided = vec![0xa5u8; 1 + stride * HEIGHT];
    for (row, to) in pixels.chunks_exact(WIDTH).zip(strided[1..].chunks_exact_mut(stride)) {
        row.iter().zip(to.as_chunks_mut::<2>().0).for_each(|(v, bytes)| *bytes = v.to_ne_bytes());
    }
    let pixel_type = umedsam_pixel_type::U16 as i32;
    let odd = umedsam_image { row_stride: stride, pixel_type, ..image(&strided[1..]) };
    let handles = Handles::new();
    fails(handles.encode(&odd, None), umedsam_status::Argument, "window");
    assert_eq!(handles.encode(&odd, Some(&window)), OK, "{}", message());

    let (mut width, mut height, mut size) = (0, 0, 0);
    unsafe {
        assert_eq!(umedsam_embedding_size(handles.embedding, &mut width, &mut height), OK);
        assert_eq!(umedsam_embedding_mask_bytes(handles.embedding, 2, &mut size), OK);
    }
    assert_eq!((width, height, size), (WIDTH, HEIGHT, 2 * WIDTH * HEIGHT));
    let (mut masks, mut logits, mut ious) = (vec![9; size], vec![0.0; 2 * UMEDSAM_LOGITS_LEN], [0.0; 2]);
    let status = unsafe {
        let (logits_to, len) = (logits.as_mut_ptr(), logits.len());
        let (session, embedding, ious) = (handles.session, handles.embedding, ious.as_mut_ptr());
        umedsam_segment(session, embedding, BOXES.as_ptr(), 2, masks.as_mut_ptr(), size, logits_to, len, ious)
    };
    assert_eq!(status, OK, "{}", message());
    for (i, expected) in expected.iter().enumerate() {
        assert!(masks[i * WIDTH * HEIGHT..][..WIDTH * HEIGHT] == expected.mask());
        assert!(logits[i * UMEDSAM_LOGITS_LEN..][..UMEDSAM_LOGITS_LEN] == *expected.logits().values());
        assert_eq!(ious[i], expected.predicted_iou());
    }
    let mut memory = umedsam_memory::default();
    assert_eq!(unsafe { umedsam_session_memory(handles.session, &mut memory) }, OK);
    let said = session.memory().unwrap();
    let found = [memory.weights, memory.buffers, memory.scratch, memory.caches];
    assert_eq!(found, [said.weights, said.buffers, said.scratch, said.caches]);
    // Into the same embedding, and the mask alone.
    assert_eq!(handles.encode(&image(&bytes), None), OK);
    assert_eq!(handles.mask(&BOXES[..1], &mut masks), OK);
    assert!(masks[..WIDTH * HEIGHT] == expected[0].mask());
}

#[test]
fn uncertain_masks_are_those_of_the_rust_api() {
    let bytes: Vec<u8> = picture(0).iter().map(|v| (v / 16) as u8).collect();
    let mut session = Model::bundled().unwrap().session(&SessionOptions::new()).unwrap();
    let embedding = session.encode(&ImageView::gray8(&bytes, WIDTH, HEIGHT).unwrap()).unwrap();
    let boxes = BOXES.map(|b| PixelBox::new(b.x0, b.y0, b.x1, b.y1));
    let handles = Handles::new();
    assert_eq!(handles.encode(&image(&bytes), None), OK, "{}", message());

    let size = BOXES.len() * WIDTH * HEIGHT;
    let (mut masks, mut scores) = (vec![9; size], [9.0; 2]);
    let (mut likely, mut entropy) = (vec![9.0; size], vec![9.0; size]);
    let mut run = |options: Option<&umedsam_uncertainty>, len: usize| unsafe {
        let (options, boxes) = (options.map_or(null(), |o| o), BOXES.as_ptr());
        let (masks, scores) = (masks.as_mut_ptr(), scores.as_mut_ptr());
        let (likely, entropy, session) = (likely.as_mut_ptr(), entropy.as_mut_ptr(), handles.session);
        umedsam_segment_uncertain(
            session,
            handles.embedding,
            boxes,
            2,
            options,
            masks,
            size,
            likely,
            len,
            entropy,
            size,
            scores,
        )
    };
    let mut usual = umedsam_uncertainty::default();
    assert_eq!(unsafe { umedsam_uncertainty_default(&mut usual) }, OK);
    fails(run(None, size - 1), umedsam_status::BufferSize, "probabilities: the buffer holds 12599 values");
    let none = umedsam_uncertainty { samples: 0, ..usual };
    fails(run(Some(&none), size), umedsam_status::Argument, "samples is 0; 1 to 64");
    let seeded = umedsam_uncertainty { seed: 7, samples: 3, temperature: 2.0, ..usual };
    assert_eq!(run(Some(&seeded), size), OK, "{}", message());

    let options = UncertaintyOptions::new().with_seed(7).with_samples(3).with_temperature(2.0);
    let expected = session.segment_uncertain(&embedding, &boxes, &options).unwrap();
    let mut map = vec![0.0; WIDTH * HEIGHT];
    for (i, expected) in expected.iter().enumerate() {
        let part = i * WIDTH * HEIGHT..(i + 1) * WIDTH * HEIGHT;
        assert!(masks[part.clone()] == expected.mask() && expected.area() > 300);
        expected.probabilities_into(&mut map);
        assert!(likely[part.clone()] == map);
        expected.entropy_into(&mut map);
        assert!(entropy[part] == map);
        assert_eq!(scores[i], expected.score());
    }
    assert_eq!(usual, umedsam_uncertainty { samples: 4, seed: 0, pixels: 4.0, share: 0.1, temperature: 1.0 });
}

#[test]
fn a_session_with_a_cache_gives_the_same_masks() {
    let folder = std::env::temp_dir().join(format!("umedsam-capi-cache-{}", std::process::id()));
    let path = CString::new(folder.to_str().unwrap()).unwrap();
    let bytes: Vec<u8> = picture(0).iter().map(|v| (v / 16) as u8).collect();
    let mask_of = |handles: &Handles| {
        let mut mask = vec![9; WIDTH * HEIGHT];
        assert_eq!(handles.encode(&image(&bytes), None), OK, "{}", message());
        assert_eq!(handles.mask(&BOXES[..1], &mut mask), OK);
        mask
    };
    let expected = mask_of(&Handles::new());
    let written = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    for _ in 0..2 {
        let handles = Handles::new();
        assert_eq!(unsafe { umedsam_session_set_cache(handles.session, 0, path.as_ptr(), 5 << 20) }, OK);
        assert!(mask_of(&handles) == expected && written() == 1);
        // Without one nothing is written.
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(unsafe { umedsam_session_set_cache(handles.session, 0, null(), 0) }, OK);
        assert!(mask_of(&handles) == expected && written() == 0);
        assert_eq!(unsafe { umedsam_session_set_cache(handles.session, 5 << 20, null(), 0) }, OK);
        assert!(mask_of(&handles) == expected && mask_of(&handles) == expected && written() == 0);
    }
    std::fs::write(&folder, "no folder").unwrap();
    let status = unsafe { umedsam_session_set_cache(Handles::new().session, 0, path.as_ptr(), 1) };
    fails(status, umedsam_status::File, "umedsam-capi-cache");
    std::fs::remove_file(&folder).unwrap();
}

#[test]
fn wrong_arguments_get_a_status_and_a_message() {
    use umedsam_status::*;
    let handles = Handles::new();
    let pixels = vec![80; WIDTH * HEIGHT];
    let mut masks = vec![0; WIDTH * HEIGHT];
    fails(handles.mask(&BOXES[..1], &mut masks), Embedding, "no image");
    fails(handles.encode(&umedsam_image { width: 0, ..image(&pixels) }, None), Image, "0x70");
    fails(handles.encode(&umedsam_image { row_stride: 89, ..image(&pixels) }, None), Image, "row_stride 89");
    fails(handles.encode(&umedsam_image { channels: 4, ..image(&pixels) }, None), Argument, "4 channels");
    fails(handles.encode(&umedsam_image { pixel_type: 9, ..image(&pixels) }, None), Argument, "pixel_type 9");
    fails(handles.encode(&umedsam_image { pixels: null(), ..image(&pixels) }, None), Pointer, "pixels is NULL");
    let window = umedsam_window { kind: 1, level: 0.0, width: 0.0 };
    fails(handles.encode(&image(&pixels), Some(&window)), Image, "width 0");
    assert_eq!(handles.encode(&image(&pixels), None), OK);
    fails(handles.mask(&BOXES, &mut masks), BufferSize, "6300 values, 12600 are needed");
    fails(handles.mask(&[umedsam_box { x0: f64::NAN, ..BOXES[0] }], &mut masks), Box, "x0 is NaN");
    fails(handles.mask(&[umedsam_box { x0: 80.0, ..BOXES[0] }], &mut masks), Box, "x0 = 80");

    let (mut model, mut options) = (null_mut(), null_mut());
    unsafe {
        fails(umedsam_model_bundled(null_mut()), Pointer, "model is NULL");
        fails(umedsam_model_load(c"no/such.umedsam".as_ptr(), &mut model), File, "no/such.umedsam");
        fails(umedsam_model_from_bytes(b"PK\x03\x04".as_ptr().cast(), 4, &mut model), Model, "model in memory");
        fails(umedsam_model_from_static(b"PK\x03\x04".as_ptr().cast(), 4, &mut model), Model, "model in memory");
        fails(umedsam_session_memory(null(), &mut umedsam_memory::default()), Pointer, "session is NULL");
        fails(umedsam_session_new(null(), null(), &mut null_mut()), Pointer, "model is NULL");
        assert!(model.is_null());
        let bytes = include_bytes!("../assets/u-medsam-free-int8.umedsam");
        assert_eq!(umedsam_model_from_static(bytes.as_ptr().cast(), bytes.len(), &mut model), OK);
        let mut name = null();
        assert_eq!(umedsam_model_name(model, &mut name), OK);
        assert_eq!(CStr::from_ptr(name), c"U-MedSAM edge, free");
        umedsam_model_free(model);
        assert_eq!(umedsam_options_new(&mut options), OK);
        fails(umedsam_options_set_threads(options, 0), Argument, "threads is 0");
        fails(umedsam_options_set_precision(options, 77), Argument, "precision 77");
        umedsam_options_free(options);
        umedsam_options_free(null_mut());
        fails(umedsam_volume_new(0, 5, 5, &mut null_mut()), Volume, "0 slices");
        let odd = pixels.as_ptr().wrapping_add(usize::from(pixels.as_ptr().addr().is_multiple_of(2))).cast::<f32>();
        let status = umedsam_segment(
            handles.session,
            handles.embedding,
            BOXES.as_ptr(),
            1,
            null_mut(),
            0,
            odd.cast_mut(),
            1,
            null_mut(),
        );
        fails(status, Pointer, "logits is not aligned to 4 bytes");
    }
}

/// What the callbacks of a volume are to do.
struct Script {
    handles: *const Handles,
    slices: Vec<Vec<u16>>,
    slice: fn(&Script, usize) -> i32,
    progress: fn(&Script, usize) -> i32,
}

unsafe extern "C-unwind" fn slice(user: *mut c_void, z: usize, to: *mut umedsam_image) -> i32 {
    let script = unsafe { &*user.cast::<Script>() };
    let pixels = script.slices[z].as_ptr().cast();
    let pixel_type = umedsam_pixel_type::U16 as i32;
    let image = umedsam_image { pixels, width: WIDTH, height: HEIGHT, row_stride: 0, channels: 1, pixel_type };
    unsafe { *to = image };
    (script.slice)(script, z)
}

unsafe extern "C-unwind" fn progress(user: *mut c_void, done: usize, _: usize) -> i32 {
    let script = unsafe { &*user.cast::<Script>() };
    (script.progress)(script, done)
}

const DEPTH: usize = 3;

fn script(handles: &Handles) -> Script {
    Script { handles, slices: (0..DEPTH).map(picture).collect(), slice: |_, _| 0, progress: |_, _| 0 }
}

/// A volume, freed at the end.
struct Volume(*mut umedsam_volume);

impl Volume {
    fn new(script: &Script) -> Self {
        let mut volume = null_mut();
        let user = (&raw const *script).cast_mut().cast();
        let window = umedsam_window { kind: umedsam_window_kind::Level as i32, level: 1750.0, width: 3500.0 };
        unsafe {
            assert_eq!(umedsam_volume_new(DEPTH, HEIGHT, WIDTH, &mut volume), OK);
            assert_eq!(umedsam_volume_set_slices(volume, Some(slice), user), OK);
            assert_eq!(umedsam_volume_set_progress(volume, Some(progress), user), OK);
            assert_eq!(umedsam_volume_set_window(volume, &window), OK);
        }
        Self(volume)
    }

    fn segment(&self, handles: &Handles, labels: &mut [u16], iou: &mut f32) -> umedsam_status {
        let b = umedsam_voxel_box { x0: 18.0, y0: 15.0, z0: 0.0, x1: 72.0, y1: 55.0, z1: 2.0 };
        unsafe { umedsam_volume_segment(self.0, handles.session, &b, 1, labels.as_mut_ptr(), labels.len(), iou) }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        unsafe { umedsam_volume_free(self.0) };
    }
}

#[test]
fn volumes_are_those_of_the_rust_api() {
    let handles = Handles::new();
    let script = script(&handles);
    let volume = Volume::new(&script);
    let (mut labels, mut iou, mut count) = (vec![9; DEPTH * WIDTH * HEIGHT], 0.0, 0);
    assert_eq!(unsafe { umedsam_volume_label_count(volume.0, &mut count) }, OK);
    assert_eq!(count, labels.len());
    fails(volume.segment(&handles, &mut labels[1..], &mut iou), umedsam_status::BufferSize, "labels");
    assert_eq!(volume.segment(&handles, &mut labels, &mut iou), OK, "{}", message());

    let rust = |window| {
        let bytes = to_u8(&script.slices.concat(), window).unwrap();
        let slices = volume::from_fn(|z| ImageView::gray8(&bytes[z * WIDTH * HEIGHT..], WIDTH, HEIGHT));
        let size = VolumeSize { depth: DEPTH, height: HEIGHT, width: WIDTH };
        let boxes = [VoxelBox::new(18.0, 15.0, 0.0, 72.0, 55.0, 2.0)];
        let mut session = Model::bundled().unwrap().session(&SessionOptions::new()).unwrap();
        let go_on = |_, _| ControlFlow::Continue(());
        session.segment_volume(slices, size, &boxes, &VolumeOptions::new(), go_on).unwrap()
    };
    let expected = rust(Window::Level { level: 1750.0, width: 3500.0 });
    assert!(labels == expected.labels && labels.contains(&1));
    assert_eq!(iou, expected.predicted_iou[0]);

    fails(unsafe { umedsam_volume_set_middle_start(volume.0, 2) }, umedsam_status::Argument, "middle 2 is neither");
    assert_eq!(unsafe { umedsam_volume_set_middle_start(volume.0, 1) }, OK);
    assert_eq!(volume.segment(&handles, &mut labels, &mut iou), OK, "{}", message());
    assert!(labels == expected.labels, "of three slices the middle one is the only choice");

    // By the percentiles of the whole volume, which only memory can tell.
    let window = umedsam_window { kind: umedsam_window_kind::Percentile as i32, level: 0.0, width: 0.0 };
    assert_eq!(unsafe { umedsam_volume_set_window(volume.0, &window) }, OK);
    fails(volume.segment(&handles, &mut labels, &mut iou), umedsam_status::Argument, "percentiles");
    let gap = 11;
    let voxels: Vec<u16> = script.slices.iter().flat_map(|s| s.iter().copied().chain([7; 11])).collect();
    let stride = 2 * (WIDTH * HEIGHT + gap);
    let pixel_type = umedsam_pixel_type::U16 as i32;
    let voxels = voxels.as_ptr().cast();
    fails(
        unsafe { umedsam_volume_set_voxels(volume.0, voxels, 1, pixel_type, 0, 99) },
        umedsam_status::Image,
        "slice_stride 99",
    );
    assert_eq!(unsafe { umedsam_volume_set_voxels(volume.0, voxels, 1, pixel_type, 0, stride) }, OK);
    assert_eq!(volume.segment(&handles, &mut labels, &mut iou), OK, "{}", message());
    assert!(labels == rust(Window::Percentile).labels);
}

#[test]
fn callbacks_cancel_fail_and_are_kept_from_the_session_in_use() {
    let handles = Handles::new();
    let (mut labels, mut iou) = (vec![0; DEPTH * WIDTH * HEIGHT], 0.0);
    let mut run = |script: &Script| Volume::new(script).segment(&handles, &mut labels, &mut iou);

    let cancelling = Script { progress: |_, done| i32::from(done == 2), ..script(&handles) };
    fails(run(&cancelling), umedsam_status::Cancelled, "2 of 3");
    let failing = Script { slice: |_, z| if z == 2 { -5 } else { 0 }, ..script(&handles) };
    fails(run(&failing), umedsam_status::Callback, "slice 2: the slice callback returned -5");
    let entering = Script {
        progress: |script, _| {
            let handles = unsafe { &*script.handles };
            let status = handles.encode(&image(&[80; WIDTH * HEIGHT]), None);
            fails(status, umedsam_status::Busy, "session is in use");
            0
        },
        ..script(&handles)
    };
    assert_eq!(run(&entering), OK, "{}", message());
}

#[test]
fn a_panic_ends_as_a_status_and_its_session_is_not_used_again() {
    let handles = Handles::new();
    let (mut labels, mut iou) = (vec![0; DEPTH * WIDTH * HEIGHT], 0.0);
    let script = Script { progress: |_, _| panic!("provoked"), ..script(&handles) };
    let volume = Volume::new(&script);
    fails(volume.segment(&handles, &mut labels, &mut iou), umedsam_status::Panic, "panic: provoked");
    fails(handles.encode(&image(&[80; WIDTH * HEIGHT]), None), umedsam_status::Panic, "session was in use");
    fails(volume.segment(&handles, &mut labels, &mut iou), umedsam_status::Panic, "volume was in use");
    // Others are as before.
    assert_eq!(Handles::new().encode(&image(&[80; WIDTH * HEIGHT]), None), OK);
}

#[test]
fn sessions_of_one_model_decode_one_embedding_on_two_threads() {
    let handles = Handles::new();
    let bytes = to_u8(&picture(0), Window::Percentile).unwrap();
    assert_eq!(handles.encode(&image(&bytes), None), OK);
    let mut expected = vec![0; WIDTH * HEIGHT];
    assert_eq!(handles.mask(&BOXES[..1], &mut expected), OK);
    let embedding = unsafe { &*handles.embedding };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let own = Handles::new();
                let mut mask = vec![9; WIDTH * HEIGHT];
                let (len, to) = (mask.len(), mask.as_mut_ptr());
                let status = unsafe {
                    umedsam_segment(own.session, embedding, BOXES.as_ptr(), 1, to, len, null_mut(), 0, null_mut())
                };
                assert_eq!(status, OK, "{}", message());
                assert!(mask == expected);
            });
        }
    });
}

#[test]
fn the_header_says_what_the_library_is() {
    let header = include_str!("../include/umedsam.h");
    assert_eq!(umedsam_abi_version(), UMEDSAM_ABI_VERSION);
    assert!(header.contains(&format!("#define UMEDSAM_ABI_VERSION {UMEDSAM_ABI_VERSION}\n")));
    assert_eq!(unsafe { CStr::from_ptr(umedsam_version()) }.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    // Every function that the module exports is declared, and nothing else.
    let parts = ["mod", "model", "options", "segment", "session", "status", "uncertainty", "volume"];
    let sources = parts.map(|p| std::fs::read_to_string(format!("src/capi/{p}.rs")).unwrap()).concat();
    let mut exported: Vec<&str> = sources
        .split("#[unsafe(no_mangle)]")
        .skip(1)
        .map(|s| s.split("fn ").nth(1).unwrap().split('(').next().unwrap())
        .collect();
    let mut declared: Vec<&str> = header
        .lines()
        .filter(|l| !l.starts_with([' ', '#', '/', 't']))
        .filter_map(|l| l.split('(').next().filter(|_| l.contains('(')))
        .map(|l| l.rsplit([' ', '*']).next().unwrap())
        .collect();
    exported.sort_unstable();
    declared.sort_unstable();
    assert!(exported.len() > 20);
    assert_eq!(declared, exported);
}
