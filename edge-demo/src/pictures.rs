//! Pictures of what was found: files of `--overlay`, and those of a report.

use umedsam::{Error, ImageView, PixelBox, VolumeSize};

use crate::montage::{rows, stacked, tile};
use crate::output::Outputs;
use umedsam_demo::overlay::{draw, draw_slice};

/// Longer side of an image in a report, in pixels, at most.
const SIDE: usize = 900;

/// A picture of a report.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The object that it shows, by its place among the boxes, from 1; of an image all.
    pub(crate) object: Option<u16>,
    /// The slices that it shows, from 0.
    pub(crate) slices: Vec<usize>,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) png: Vec<u8>,
}

/// An image or volume, and what was found.
pub(crate) struct Drawn<'a> {
    pub(crate) pixels: &'a [u8],
    /// Objects are numbered from 1.
    pub(crate) labels: &'a [u16],
    pub(crate) size: VolumeSize,
    /// Size of a pixel along x and y, if it is known.
    pub(crate) spacing: Option<[f64; 2]>,
    pub(crate) boxes: &'a [PixelBox],
    /// The slice of the boxes, if they are of one.
    pub(crate) slice: Option<usize>,
}

impl Drawn<'_> {
    fn view(&self, z: usize) -> Result<ImageView<'_>, Error> {
        let VolumeSize { height, width, .. } = self.size;
        let channels = self.pixels.len() / self.labels.len().max(1);
        let pixels = self.pixels.chunks(height * width * channels.max(1)).nth(z).unwrap_or_default();
        if channels == 1 { ImageView::gray8(pixels, width, height) } else { ImageView::rgb8(pixels, width, height) }
    }

    /// Draws the overlay where one is written, and the pictures of a report where one is asked for.
    pub(crate) fn draw(&self, outputs: &Outputs, report: bool) -> anyhow::Result<Vec<Shown>> {
        let VolumeSize { depth, height, width } = self.size;
        if depth == 1 {
            if let Some(path) = &outputs.overlay {
                draw(self.pixels, self.labels, width, height, self.boxes, path)?;
            }
            return if report { Ok(vec![self.whole()?]) } else { Ok(Vec::new()) };
        }
        if outputs.overlay.is_none() && !report {
            return Ok(Vec::new());
        }
        let rows = rows(|z| self.view(z), self.labels, self.size, self.spacing.unwrap_or([1.0; 2]))?;
        match &outputs.overlay {
            // Nothing was found: the slice says where that was looked for.
            Some(path) if rows.is_empty() => {
                draw_slice(self.pixels, self.labels, self.size, self.slice, self.boxes, path)?;
            }
            Some(path) => stacked(&rows)?.save(path)?,
            None => {}
        }
        let shown = rows.into_iter().filter(|_| report).map(|row| {
            let (width, height) = row.picture.size();
            Ok(Shown { object: Some(row.label), slices: row.slices, width, height, png: row.picture.png()? })
        });
        shown.collect()
    }

    /// An image as a whole.
    fn whole(&self) -> anyhow::Result<Shown> {
        let VolumeSize { height, width, .. } = self.size;
        let scaled = |side: usize| (side * SIDE / width.max(height).max(SIDE)).max(1);
        let picture = tile(&self.view(0)?, self.labels, [[0, width], [0, height]], [scaled(width), scaled(height)])?;
        let (width, height) = picture.size();
        Ok(Shown { object: None, slices: Vec::new(), width, height, png: picture.png()? })
    }
}
