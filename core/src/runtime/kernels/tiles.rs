//! Handing out an output to threads, tile by tile.

use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};

/// An image of rows of equal length, cut into tiles that are handed out once each.
#[derive(Debug)]
pub(in crate::runtime) struct Tiles<'a> {
    values: *mut f32,
    rows: usize,
    /// Values of a row.
    width: usize,
    tile_rows: usize,
    tile_width: usize,
    next: AtomicUsize,
    _image: PhantomData<&'a mut [f32]>,
}

// SAFETY: a tile is handed out once, and tiles do not overlap.
unsafe impl Sync for Tiles<'_> {}

/// A rectangle of an image that nobody else holds.
#[derive(Debug)]
pub(in crate::runtime) struct Tile<'a> {
    /// Number of the tile: row by row, left to right.
    pub(in crate::runtime) index: usize,
    /// First row.
    pub(in crate::runtime) top: usize,
    /// Its rows: fewer at the image's end.
    pub(in crate::runtime) rows: usize,
    /// First value of its rows within the image's.
    pub(in crate::runtime) left: usize,
    /// Values of its rows: fewer at the image's right.
    pub(in crate::runtime) width: usize,
    first: *mut f32,
    stride: usize,
    _image: PhantomData<&'a mut [f32]>,
}

impl<'a> Tiles<'a> {
    /// Cuts `values`, rows of `width` values, into tiles of `tile_rows` times `tile_width`.
    pub(in crate::runtime) fn new(values: &'a mut [f32], width: usize, tile_rows: usize, tile_width: usize) -> Self {
        assert!(
            width > 0 && tile_rows > 0 && tile_width > 0 && values.len().is_multiple_of(width),
            "tiles of an image"
        );
        let rows = values.len() / width;
        let (values, next) = (values.as_mut_ptr(), AtomicUsize::new(0));
        Self { values, rows, width, tile_rows, tile_width, next, _image: PhantomData }
    }

    /// The next tile, or nothing when all are out.
    pub(in crate::runtime) fn next(&self) -> Option<Tile<'a>> {
        let across = self.width.div_ceil(self.tile_width);
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let (top, left) = (index / across * self.tile_rows, index % across * self.tile_width);
        if top >= self.rows {
            return None;
        }
        Some(Tile {
            index,
            top,
            rows: self.tile_rows.min(self.rows - top),
            left,
            width: self.tile_width.min(self.width - left),
            // SAFETY: within the image.
            first: unsafe { self.values.add(top * self.width + left) },
            stride: self.width,
            _image: PhantomData,
        })
    }
}

impl Tile<'_> {
    /// The tile's part of one of its rows.
    pub(in crate::runtime) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row of a tile");
        // SAFETY: within the tile, which nobody else holds.
        unsafe { core::slice::from_raw_parts_mut(self.first.add(row * self.stride), self.width) }
    }

    /// All values of a tile that is as wide as the image.
    pub(in crate::runtime) fn whole(&mut self) -> &mut [f32] {
        assert_eq!(self.width, self.stride, "a tile of whole rows");
        // SAFETY: within the tile, which nobody else holds.
        unsafe { core::slice::from_raw_parts_mut(self.first, self.rows * self.width) }
    }
}
