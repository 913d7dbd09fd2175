//! The page without a server: WebAssembly, which it asks what it would ask the server.
//!
//! The page fills the memory that [`umedsam_room`] gives with bytes and, after them, a question in JSON ([`Question`]), and
//! calls [`umedsam_ask`] with the number of the bytes. The answer is five numbers of 32 bits: whether it is one (0: words
//! why not), and where what is told and the bytes are, and how many there are of each. They stay until the next question.
//!
//! Threads beside the one that asks are workers that share its memory: each takes the stack and the room for variables that
//! [`umedsam_thread_room`] gave for it, then calls `umedsam_thread`.
#![allow(unsafe_code, reason = "names that the page calls")]

use std::alloc::Layout;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value, json};
use umedsam::{Model, PixelBox, Session, SessionOptions, files, memory, terminal};

use crate::kind::Kind;
use crate::read::{holds_dicom, within};
use crate::shown::{
    Asked, Choice, Image, LabelsAsked, Plane, Recent, Unfit, WINDOWS, describe_model, file_name, segment,
};

/// Embeddings at hand, of 4 MB each, and what the decoder keeps beside them.
const RECENT: usize = 24;

/// Bytes that all files of an image may have, and that their values may take. WebAssembly has 4 GiB, also for what is made
/// of them: 8 bits, labels, masks.
const MEMORY: u64 = 1 << 30;

/// Where files are.
const FOLDER: &str = "/files";

#[link(wasm_import_module = "page")]
unsafe extern "C" {
    /// Seconds since 1970.
    safe fn now() -> f64;
    /// Tells that so many slices of so many are done; not 0 where the person wants no more.
    safe fn progress(done: u32, of: u32) -> u32;
}

/// Seconds since 1970.
pub(crate) fn seconds() -> u64 {
    now() as u64
}

/// What is asked.
#[derive(Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
enum Question {
    /// The bytes are a model: takes it. What is told is of the model.
    Load { threads: usize },
    /// Whether files of so many bytes are read.
    Allow { name: String, bytes: u64 },
    /// The bytes are a file: keeps it until an image is opened.
    File { name: String },
    /// Opens the image in the files.
    Open { name: String },
    /// Another window.
    Window { window: String },
    /// A slice's stored numbers.
    Slice { axis: usize, index: usize },
    /// Encodes a slice.
    Ahead { axis: usize, index: usize },
    /// The mask of a box, and a map of how unsure it is.
    Mask {
        axis: usize,
        slice: usize,
        #[serde(rename = "box")]
        numbers: [f64; 4],
        heat: bool,
    },
    /// An object through the slices.
    Volume { asked: Asked },
    /// A file of labels.
    Labels { asked: LabelsAsked },
}

#[derive(Default)]
struct Page {
    input: Vec<u8>,
    session: Option<Session>,
    image: Option<Image>,
    recent: Option<Arc<Recent>>,
    told: String,
    bytes: Vec<u8>,
}

static PAGE: Mutex<Option<Page>> = Mutex::new(None);
static ANSWER: [AtomicU32; 5] = [const { AtomicU32::new(0) }; 5];

fn with<T>(act: impl FnOnce(&mut Page) -> T) -> T {
    act(PAGE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// Memory for a question, of so many bytes in all; NULL where there is none.
#[unsafe(no_mangle)]
extern "C" fn umedsam_room(length: usize) -> *mut u8 {
    with(|page| {
        (page.input, page.bytes) = (Vec::new(), Vec::new());
        match memory::filled(length, 0) {
            Ok(room) => {
                page.input = room;
                page.input.as_mut_ptr()
            }
            Err(_) => std::ptr::null_mut(),
        }
    })
}

/// Answers the question after so many bytes.
#[unsafe(no_mangle)]
extern "C" fn umedsam_ask(bytes: usize) -> *const AtomicU32 {
    with(|page| {
        let mut input = std::mem::take(&mut page.input);
        let question = input.split_off(bytes.min(input.len()));
        let answer = serde_json::from_slice(&question).map_err(|error| Unfit::Asked(error.to_string()));
        let answer = answer.and_then(|question| page.answer(question, input));
        let good = answer.is_ok();
        (page.told, page.bytes) = match answer {
            Ok((told, bytes)) => (told.to_string(), bytes),
            Err(Unfit::Failed(error)) => (terminal::chain(&error), Vec::new()),
            Err(error) => (error.to_string(), Vec::new()),
        };
        let of = |part: &[u8]| [part.as_ptr() as u32, part.len() as u32];
        let ([told, told_length], [bytes, length]) = (of(page.told.as_bytes()), of(&page.bytes));
        for (place, number) in ANSWER.iter().zip([good.into(), told, told_length, bytes, length]) {
            place.store(number, Ordering::Relaxed);
        }
    });
    ANSWER.as_ptr()
}

/// Memory for a thread, never given back: its stack, or its variables. NULL where there is none.
#[unsafe(no_mangle)]
extern "C" fn umedsam_thread_room(bytes: usize, align: usize) -> *mut u8 {
    match Layout::from_size_align(bytes.max(1), align) {
        // SAFETY: the size is not 0.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Works as one of the network's threads; returns when no session needs it any more.
#[cfg(target_feature = "atomics")]
#[unsafe(no_mangle)]
extern "C" fn umedsam_thread() {
    umedsam::runtime::lend_thread();
}

type Answer = Result<(Value, Vec<u8>), Unfit>;

fn told(value: Value) -> Answer {
    Ok((value, Vec::new()))
}

fn asked(words: impl Into<String>) -> Unfit {
    Unfit::Asked(words.into())
}

impl Page {
    fn answer(&mut self, question: Question, input: Vec<u8>) -> Answer {
        match question {
            Question::Load { threads } => {
                let model = Model::from_bytes(input)?;
                self.session = Some(model.session(&SessionOptions::new().with_threads(threads))?);
                told(json!({
                    "ok": true, "version": env!("CARGO_PKG_VERSION"), "model": describe_model(&model),
                    "windows": WINDOWS, "threads": threads,
                }))
            }
            Question::Allow { name, bytes } => {
                // What was left by files of which one was refused.
                clear();
                within(bytes, MEMORY).map_err(|problem| asked(format!("{name}: {problem}")))?;
                told(json!({}))
            }
            Question::File { name } => {
                let path = Path::new(FOLDER).join(&name);
                if files::is_file(&path) {
                    return Err(asked(format!("two files are named {name}; pack them as ZIP")));
                }
                files::put(&path, input);
                told(json!({}))
            }
            Question::Open { name } => {
                let opened = self.open(&name);
                clear();
                let image = opened?;
                let info = image.describe(0);
                self.image = Some(image);
                told(info)
            }
            Question::Window { window } => {
                let image = self.image()?;
                image.show(&window)?;
                told(image.describe(0))
            }
            Question::Slice { axis, index } => {
                let image = self.image()?;
                Ok(image.slice(Plane::new(axis, index, image.size)?))
            }
            Question::Ahead { axis, index } => {
                let (image, session) = self.both()?;
                image.current.get().embedding(session, Plane::new(axis, index, image.size)?)?;
                told(json!({}))
            }
            Question::Mask { axis, slice, numbers: [x0, y0, x1, y1], heat } => {
                let (image, session) = self.both()?;
                let plane = Plane::new(axis, slice, image.size)?;
                let boxes = [PixelBox::new(x0, y0, x1, y1)];
                let found = image.current.get().masks(session, plane, &boxes, heat)?;
                Ok(found.first().ok_or_else(|| asked("no mask"))?.bits())
            }
            Question::Volume { asked } => {
                let (image, session) = self.both()?;
                let mut cancelled = false;
                let report = |done: usize, of: usize| {
                    cancelled = progress(done as u32, of as u32) != 0;
                    if cancelled { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                let object = segment(session, &image.current.get(), asked.prompt(image.size)?, report)?;
                told(if cancelled { Value::Null } else { object.describe(image.size) })
            }
            Question::Labels { asked } => {
                let image = self.image()?;
                let labelled = asked.read()?;
                let (ending, kind) = labelled.output.ending();
                let path = PathBuf::from(format!("/labels{ending}"));
                image.write(&image.labels(&labelled.objects)?, &labelled.names, labelled.output, &path)?;
                let bytes = files::take(&path).unwrap_or_default();
                Ok((json!({ "name": file_name(&image.name, ending), "type": kind }), bytes))
            }
        }
    }

    fn image(&self) -> Result<&Image, Unfit> {
        self.image.as_ref().ok_or_else(|| asked("no image is open"))
    }

    fn both(&mut self) -> Result<(&Image, &mut Session), Unfit> {
        match (&self.image, &mut self.session) {
            (Some(image), Some(session)) => Ok((image, session)),
            _ => Err(asked("no image is open, or no model is loaded")),
        }
    }

    /// Reads the file; of several the series of DICOM, or the image beside its values.
    fn open(&mut self, name: &str) -> Result<Image, Unfit> {
        let recent = self.recent.get_or_insert_with(|| Arc::new(Recent::new(RECENT)));
        let choice = Choice { memory: MEMORY, ..Choice::default() };
        let paths = list();
        if let [path] = &paths[..] {
            let bytes = files::take(path).unwrap_or_default();
            if let Some(picture) = Image::of_picture(name, &bytes, &choice, recent) {
                return picture;
            }
            files::put(path, bytes);
            return Image::of_file(name, path, &choice, recent);
        }
        let folder = Path::new(FOLDER);
        let first = || paths.iter().find(|path| Kind::of(path).is_some());
        let path = if holds_dicom(folder) { folder } else { first().map_or(folder, PathBuf::as_path) };
        Image::of_file(name, path, &choice, recent)
    }
}

fn clear() {
    list().iter().for_each(|path| drop(files::take(path)));
}

/// The files that are there.
fn list() -> Vec<PathBuf> {
    files::entries(Path::new(FOLDER)).unwrap_or_default()
}
