//! Sessions and the images that they have encoded.

use std::ffi::c_char;
use std::prelude::v1::*;
use std::ptr::null_mut;
use std::sync::{Mutex, RwLock};

use super::image::{Pixels, umedsam_image, umedsam_window, window_of};
use super::model::umedsam_model;
use super::options::umedsam_options;
use super::pointers::{file_path, free, lock, reference, result, write};
use super::status::{Failure, call, umedsam_status};
use crate::{CacheOptions, Embedding, EmbeddingCache, Memory, Session, SessionOptions};

/// A model that is loaded and ready to run, with its threads and memory. One call at a time may use it, from whichever
/// thread; a second one gets UMEDSAM_STATUS_BUSY. For work in parallel make a session for each thread.
#[derive(Debug)]
pub struct umedsam_session(pub(super) Mutex<Session>);

/// An encoded image: 4 MiB, from which any number of boxes are decoded. Any number of calls may decode from it at once,
/// with one session each.
#[derive(Debug)]
pub struct umedsam_embedding(pub(super) RwLock<Option<Embedding>>);

/// Makes a session of a model, which takes some tenths of a second. `options` may be NULL. The model may be freed
/// afterwards, the options as well. Free the session with umedsam_session_free.
///
/// Sessions of one model and one precision share its weights; those of one number of threads, two or more, share the
/// threads, and each takes those that are free.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_session_new(
    model: *const umedsam_model,
    options: *const umedsam_options,
    session: *mut *mut umedsam_session,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (place, model) = unsafe { (result(session, null_mut(), "session")?, reference(model, "model")?) };
        let options = if options.is_null() {
            SessionOptions::new()
        } else {
            // SAFETY: as above.
            unsafe { reference(options, "options") }?.get()?
        };
        *place = Box::into_raw(Box::new(umedsam_session(Mutex::new(model.model.session(&options)?))));
        Ok(())
    })
}

/// Memory of a session, in bytes. Beside it there are a model file's own bytes, embeddings (4 MiB each), the caller's
/// buffers and the stacks of threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct umedsam_memory {
    /// The packed weights, which all sessions of the same model and precision share; held since the session was made.
    pub weights: usize,
    /// What passes from one part of the network to the next, for one image or as many boxes as are decoded together; taken
    /// by the first encode, and by the first boxes that need more.
    pub buffers: usize,
    /// What the threads need while they work; taken by the first encode.
    pub scratch: usize,
    /// What is kept from one image to the next to resize another of the same size, as of now.
    pub caches: usize,
}

/// Gets the memory that a session takes at its most, before it has taken it. It returns UMEDSAM_STATUS_UNSUPPORTED for a
/// graph that does not run in this library's own blocks.
///
/// Threads: one at a time for the same session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_session_memory(
    session: *const umedsam_session,
    memory: *mut umedsam_memory,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (place, session) =
            unsafe { (result(memory, umedsam_memory::default(), "memory")?, reference(session, "session")?) };
        let Some(found) = lock(&session.0, "session")?.memory() else {
            return Err(Failure::new(
                umedsam_status::Unsupported,
                "the memory of a graph of single operators is not known",
            ));
        };
        let Memory { weights, buffers, scratch, caches, .. } = found;
        *place = umedsam_memory { weights, buffers, scratch, caches };
        Ok(())
    })
}

/// Frees a session. NULL is passed over. Embeddings that it made stay as they are.
///
/// Threads: any, once nobody uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_session_free(session: *mut umedsam_session) {
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { free(session) }
}

/// Gives a session a cache of embeddings: an image or a slice whose embedding is kept is not encoded again. Results are the
/// same. What was used least recently goes first.
///
/// `memory_bytes` bounds what is kept in memory, 4 MiB an embedding. `folder`, a path as umedsam_model_load takes it, is a
/// folder for embeddings on disk, which `folder_bytes` bounds. It is made if absent, and many programs may share it.
/// Embeddings tell of the images that they were made of: the folder needs the protection that the images need. With NULL
/// nothing is written. The cache that the session had is dropped, what it had on disk stays; 0, NULL and 0 leave the
/// session without one.
///
/// Threads: one at a time for the same session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_session_set_cache(
    session: *mut umedsam_session,
    memory_bytes: usize,
    folder: *const c_char,
    folder_bytes: u64,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let mut session = lock(&unsafe { reference(session, "session") }?.0, "session")?;
        let mut options = CacheOptions::new().with_memory_bytes(memory_bytes);
        if !folder.is_null() {
            // SAFETY: as above.
            options = options.with_folder(unsafe { file_path(folder, "folder") }?, folder_bytes);
        }
        let wanted = memory_bytes > 0 || options.folder.is_some();
        session.set_cache(wanted.then(|| EmbeddingCache::new(&options)).transpose()?);
        Ok(())
    })
}

/// Makes an embedding of no image yet, for umedsam_encode. Free it with umedsam_embedding_free.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_embedding_new(embedding: *mut *mut umedsam_embedding) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let place = unsafe { result(embedding, null_mut(), "embedding") }?;
        *place = Box::into_raw(Box::new(umedsam_embedding(RwLock::default())));
        Ok(())
    })
}

/// Frees an embedding. NULL is passed over.
///
/// Threads: any, once nobody uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_embedding_free(embedding: *mut umedsam_embedding) {
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { free(embedding) }
}

/// Encodes an image, the expensive part: once, however many boxes are decoded from it. What the embedding held before
/// is replaced, and its memory used again; if the call fails, it holds no image or the one that it held.
///
/// `window` may be NULL if pixels have 8 bits, which are then taken as they are. Pixels of 16 bits need one, and take a
/// copy of the image while they are brought to 8.
///
/// Threads: one at a time for the same session or the same embedding.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_encode(
    session: *mut umedsam_session,
    image: *const umedsam_image,
    window: *const umedsam_window,
    embedding: *mut umedsam_embedding,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (session, image, window, embedding) = unsafe {
            let pixels = Pixels::new(reference(image, "image")?)?;
            (reference(session, "session")?, pixels, window_of(window)?, reference(embedding, "embedding")?)
        };
        let mut session = lock(&session.0, "session")?;
        let mut embedding = write(&embedding.0, "embedding")?;
        let mut memory = Vec::new();
        let view = image.view(window, &mut memory)?;
        // Out of its place until it is whole.
        *embedding = Some(match embedding.take() {
            Some(mut used) => {
                session.encode_into(&view, &mut used)?;
                used
            }
            None => session.encode(&view)?,
        });
        Ok(())
    })
}
