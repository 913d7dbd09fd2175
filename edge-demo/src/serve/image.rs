//! Images that clients send, or that the command line names.

use std::io::Write;
use std::ops::Deref;
use std::path::Path;
use std::sync::Mutex;

use axum::http::StatusCode;
use umedsam::{PixelBox, errln};
use umedsam_demo::shown::{self, Choice, Output};

use super::held::{Shared, room};
use super::limits::Room;
use super::pool::Detached;
use super::refusal::Refusal;

/// An image or a volume of a client, and the memory that it takes.
pub(super) struct Image {
    image: shown::Image,
    /// Encodes ahead, the newest request's.
    pub(super) ahead: Mutex<Vec<Detached>>,
    _room: Room,
}

impl Deref for Image {
    type Target = shown::Image;

    fn deref(&self) -> &shown::Image {
        &self.image
    }
}

impl Image {
    fn new(image: shown::Image, shared: &Shared) -> Result<Self, Refusal> {
        let room = room(&shared.budget, image.bytes())?;
        Ok(Self { image, ahead: Mutex::default(), _room: room })
    }

    /// Reads the bytes of a file that a client sent. They pass through a file of `folder` where a reader needs one.
    pub(super) fn of_bytes(
        name: &str,
        bytes: &[u8],
        folder: &Path,
        choice: &Choice,
        shared: &Shared,
    ) -> Result<Self, Refusal> {
        if let Some(picture) = shown::Image::of_picture(name, bytes, choice, &shared.recent) {
            return Self::new(picture?, shared);
        }
        let ending = if name.to_ascii_lowercase().ends_with(".npz") { ".npz" } else { "" };
        let written = tempfile::Builder::new().suffix(ending).tempfile_in(folder).and_then(|mut file| {
            file.write_all(bytes)?;
            file.flush()?;
            Ok(file.into_temp_path())
        });
        let path = written.map_err(|error| {
            errln!("umedsam: {name}: {error}");
            Refusal::new(StatusCode::INSUFFICIENT_STORAGE, format!("{name}: there was no room for a temporary file"))
        })?;
        Self::of_file(name, &path, choice, shared)
    }

    /// Reads a file, or a folder of DICOM files.
    pub(super) fn of_file(name: &str, path: &Path, choice: &Choice, shared: &Shared) -> Result<Self, Refusal> {
        Self::new(shown::Image::of_file(name, path, choice, &shared.recent)?, shared)
    }

    /// Gives it boxes that a person would draw.
    pub(super) fn with_boxes(self, boxes: &[PixelBox]) -> Self {
        Self { image: self.image.with_boxes(boxes), ..self }
    }

    /// The file of a label map, whose objects have these names.
    pub(super) fn file(
        &self,
        labels: &[u16],
        names: &[Option<String>],
        output: Output,
        folder: &Path,
    ) -> Result<Vec<u8>, Refusal> {
        let failed = |error: std::io::Error| {
            errln!("umedsam: {}{}: {error}", self.name, output.ending().0);
            Refusal::failed()
        };
        let folder = tempfile::tempdir_in(folder).map_err(failed)?;
        let path = folder.path().join(format!("labels{}", output.ending().0));
        self.write(labels, names, output, &path)?;
        std::fs::read(&path).map_err(failed)
    }
}
