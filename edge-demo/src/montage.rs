//! Slices through each object of a volume.

use std::collections::BTreeMap;

use umedsam::resize::Resizer;
use umedsam::{Error, ImageView, VolumeSize, memory};

use umedsam_demo::overlay::Overlay;

/// Side of a slice's picture, in pixels.
const TILE: usize = 240;
/// Slices of an object, at most.
const SLICES: usize = 5;
/// Objects that are shown, at most.
pub(crate) const OBJECTS: usize = 24;
const GAP: usize = 2;
/// What is shown around an object: its size times this, and some pixels.
const AROUND: f64 = 1.5;
const MARGIN: f64 = 8.0;

/// Slices through an object, beside each other.
pub(crate) struct Row {
    pub(crate) label: u16,
    /// From 0.
    pub(crate) slices: Vec<usize>,
    pub(crate) picture: Overlay,
}

/// Where an object is.
#[derive(Default)]
struct Extent {
    /// First and last column, and row.
    x: Option<[usize; 2]>,
    y: Option<[usize; 2]>,
    /// The slices that it is in, in order.
    slices: Vec<usize>,
}

/// A row for each of the first objects that have a voxel. `spacing` is the size of a pixel along x and y.
pub(crate) fn rows<'a>(
    slice: impl Fn(usize) -> Result<ImageView<'a>, Error>,
    labels: &[u16],
    size: VolumeSize,
    spacing: [f64; 2],
) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for (label, extent) in extents(labels, size).into_iter().take(OBJECTS) {
        let (x, y) = (extent.x.unwrap_or_default(), extent.y.unwrap_or_default());
        let part = part([x, y], [size.width, size.height], spacing);
        let tile_size = tile_size(part, spacing);
        let count = extent.slices.len().min(SLICES);
        let slices: Vec<usize> =
            (0..count).map(|i| extent.slices[(2 * i + 1) * extent.slices.len() / (2 * count)]).collect();
        let mut picture = Overlay::blank(SLICES * (TILE + GAP) - GAP, TILE)?;
        for (i, &z) in slices.iter().enumerate() {
            let pixels = size.width * size.height;
            let mut tile = tile(&slice(z)?, &labels[z * pixels..][..pixels], part, tile_size)?;
            tile.number(z);
            picture.put(&tile, i * (TILE + GAP) + (TILE - tile_size[0]) / 2, (TILE - tile_size[1]) / 2);
        }
        rows.push(Row { label, slices, picture });
    }
    Ok(rows)
}

/// All rows in one picture.
pub(crate) fn stacked(rows: &[Row]) -> Result<Overlay, Error> {
    let mut all = Overlay::blank(SLICES * (TILE + GAP) - GAP, rows.len() * (TILE + GAP) - GAP)?;
    for (i, row) in rows.iter().enumerate() {
        all.put(&row.picture, 0, i * (TILE + GAP));
    }
    Ok(all)
}

fn extents(labels: &[u16], size: VolumeSize) -> BTreeMap<u16, Extent> {
    let grown = |range: Option<[usize; 2]>, low: usize, high: usize| {
        Some(range.map_or([low, high], |[a, b]| [a.min(low), b.max(high)]))
    };
    let mut extents: BTreeMap<u16, Extent> = BTreeMap::new();
    for (i, row) in labels.chunks_exact(size.width).enumerate() {
        let (z, y) = (i / size.height, i % size.height);
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run[0] > 0 {
                let extent = extents.entry(run[0]).or_default();
                extent.x = grown(extent.x, x, x + run.len() - 1);
                extent.y = grown(extent.y, y, y);
                if extent.slices.last() != Some(&z) {
                    extent.slices.push(z);
                }
            }
            x += run.len();
        }
    }
    extents
}

/// What is shown of the slices of an object: first column and row, and their numbers; a square in the patient, as far as
/// the image goes.
fn part(object: [[usize; 2]; 2], image: [usize; 2], spacing: [f64; 2]) -> [[usize; 2]; 2] {
    let length = |axis: usize| (object[axis][1] - object[axis][0] + 1) as f64 * spacing[axis];
    let side = length(0).max(length(1)) * AROUND + 2.0 * MARGIN * spacing[0].min(spacing[1]);
    [0, 1].map(|axis| {
        let count = ((side / spacing[axis]).ceil() as usize).clamp(1, image[axis]);
        let centre = (object[axis][0] + object[axis][1]).div_ceil(2);
        [centre.saturating_sub(count / 2).min(image[axis] - count), count]
    })
}

/// Size of the picture of a part, which fits a tile.
fn tile_size([[_, columns], [_, rows]]: [[usize; 2]; 2], spacing: [f64; 2]) -> [usize; 2] {
    let [width, height] = [columns as f64 * spacing[0], rows as f64 * spacing[1]];
    [width, height].map(|length| ((length / width.max(height) * TILE as f64).round() as usize).clamp(1, TILE))
}

/// A part of an image with its objects, in another size.
pub(crate) fn tile(
    image: &ImageView<'_>,
    labels: &[u16],
    [[x, columns], [y, rows]]: [[usize; 2]; 2],
    [width, height]: [usize; 2],
) -> Result<Overlay, Error> {
    let shown = image.crop(x, y, columns, rows)?;
    let mut pixels = memory::filled(width * height * shown.channel_count(), 0)?;
    Resizer::new().resize_into(&shown, width, height, &mut pixels);
    let mut drawn = Overlay::new(&pixels, width, height)?;
    let at = |i: usize| {
        let (column, row) = (x + i % width * columns / width, y + i / width * rows / height);
        labels[row * image.width() + column]
    };
    let mut map = memory::with_room(width * height)?;
    map.extend((0..width * height).map(at));
    drawn.masks(&map);
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_shown_in_its_middle_and_in_its_proportions() {
        // Columns 90 to 99 of 100 and rows 40 to 59, of pixels twice as wide as high.
        let part = part([[90, 99], [40, 59]], [100, 100], [2.0, 1.0]);
        // 20 mm and 20 mm: 30 mm and 16 more, 23 columns and 46 rows, as far as the image goes.
        assert_eq!(part, [[77, 23], [27, 46]]);
        assert_eq!(tile_size(part, [2.0, 1.0]), [240, 240]);
        assert_eq!(tile_size([[0, 10], [0, 40]], [1.0, 1.0]), [60, 240]);
    }

    #[test]
    fn slices_are_spread_over_those_that_hold_the_object() {
        let size = VolumeSize { depth: 40, height: 4, width: 4 };
        let mut labels = vec![0u16; 40 * 16];
        (10..30).filter(|z| z % 2 == 0).for_each(|z| labels[z * 16 + 5] = 2);
        labels[39 * 16] = 7;
        let pixels = [9u8; 16];
        let found = rows(|_| ImageView::gray8(&pixels, 4, 4), &labels, size, [1.0, 1.0]).unwrap();
        assert_eq!(
            found.iter().map(|row| (row.label, &row.slices[..])).collect::<Vec<_>>(),
            [(2, &[12, 16, 20, 24, 28][..]), (7, &[39][..])]
        );
    }
}
