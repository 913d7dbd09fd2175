//! A crop around an object, as inference zooms into small objects.

use umedsam::npz::Labelled;
use umedsam::resize::Resizer;
use umedsam::{PixelBox, zoom};

use super::case::{Picture, shrink_labels};
use super::sample::object;

/// The window around an object of an image, shrunk or enlarged to the network's grid, and the object in it.
///
/// Nothing where there is no closer look to be had: in volumes, which inference does not zoom into, where the window is
/// as long as the image, or where the grid shows `min_area` pixels of the object or fewer.
pub(super) fn crop(
    case: &Labelled,
    label: u16,
    component: Option<u64>,
    margin: f64,
    min_area: usize,
) -> Result<Option<(Picture, Vec<bool>)>, umedsam::Error> {
    let (width, height) = (case.shape.width, case.shape.height);
    if case.shape.depth.is_some() {
        return Ok(None);
    }
    let mask = object(case.slice_labels(0), width, label, component, min_area)?;
    let Some(bounds) = bounds(&mask, width) else { return Ok(None) };
    let window = zoom::window(&bounds, width, height, margin);
    if window.width.max(window.height) >= width.max(height) {
        return Ok(None);
    }
    let image = case.slice(0)?.crop(window.x, window.y, window.width, window.height)?;
    let rows = mask.chunks_exact(width).skip(window.y).take(window.height);
    let inside: Vec<u16> = rows.flat_map(|row| &row[window.x..][..window.width]).map(|&m| u16::from(m)).collect();
    let seen: Vec<bool> = shrink_labels(&inside, &image.frame()).into_iter().map(|l| l > 0).collect();
    let large = seen.iter().filter(|&&s| s).count() > min_area;
    Ok(large.then(|| (Picture::new(&image, &mut Resizer::new()), seen)))
}

/// The box of the pixels that are set, both ends within it.
pub(super) fn bounds(mask: &[bool], width: usize) -> Option<PixelBox> {
    let inside = || mask.iter().enumerate().filter(|(_, inside)| **inside).map(|(i, _)| (i % width, i / width));
    let x0 = inside().map(|(x, _)| x).min()?;
    let x1 = inside().map(|(x, _)| x).max()?;
    let y0 = inside().map(|(_, y)| y).min()?;
    let y1 = inside().map(|(_, y)| y).max()?;
    Some(PixelBox::new(x0 as f64, y0 as f64, x1 as f64, y1 as f64))
}
