//! Masks as they are sent: cropped and packed, or in runs.

/// A mask cut to its bounding box, one bit a pixel. Rows begin at a byte, and the first pixel is the highest bit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The first column.
    pub x: usize,
    /// The first row.
    pub y: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Pixels that are set.
    pub area: usize,
    /// The rows, one after the other.
    pub bits: Vec<u8>,
}

impl Packed {
    /// The pixels of `mask`, in rows of `width`, that are not 0.
    pub fn new(mask: &[u8], width: usize) -> Self {
        let (mut x0, mut x1, mut y0, mut y1, mut area) = (usize::MAX, 0, usize::MAX, 0, 0);
        for (y, row) in mask.chunks_exact(width.max(1)).enumerate() {
            let Some(first) = row.iter().position(|&v| v != 0) else { continue };
            let last = row.iter().rposition(|&v| v != 0).unwrap_or(first);
            (x0, x1) = (x0.min(first), x1.max(last));
            (y0, y1) = (y0.min(y), y);
            area += row.iter().filter(|&&v| v != 0).count();
        }
        if area == 0 {
            return Self::default();
        }
        let (columns, rows) = (x1 + 1 - x0, y1 + 1 - y0);
        let mut bits = vec![0; columns.div_ceil(8) * rows];
        for (y, packed) in bits.chunks_exact_mut(columns.div_ceil(8)).enumerate() {
            for (x, &v) in mask[(y0 + y) * width + x0..][..columns].iter().enumerate() {
                packed[x / 8] |= u8::from(v != 0) << (7 - x % 8);
            }
        }
        Self { x: x0, y: y0, width: columns, height: rows, area, bits }
    }
}

/// Run lengths in row-major order: background first, then object, and so on.
pub fn runs(mask: &[u8]) -> Vec<u32> {
    let mut runs = Vec::new();
    let (mut set, mut length) = (false, 0);
    for &v in mask {
        if (v != 0) != set {
            runs.push(length);
            (set, length) = (!set, 0);
        }
        length += 1;
    }
    runs.push(length);
    runs
}

/// Calls `paint` with the ranges of `pixels` that runs set; nothing if they are longer than that.
pub fn each_set(runs: &[u32], pixels: usize, mut paint: impl FnMut(std::ops::Range<usize>)) -> Option<()> {
    let mut position = 0usize;
    for (i, &run) in runs.iter().enumerate() {
        let end = position.checked_add(run as usize).filter(|&end| end <= pixels)?;
        if i % 2 == 1 {
            paint(position..end);
        }
        position = end;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_in_runs() {
        let mask = [0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 1];
        let packed = Packed::new(&mask, 4);
        assert_eq!(packed, Packed { x: 1, y: 1, width: 3, height: 2, area: 4, bits: vec![0b1010_0000, 0b0110_0000] });
        assert_eq!(Packed::new(&[0; 12], 4), Packed::default());
        let found = runs(&mask);
        assert_eq!(found, [5, 1, 1, 1, 2, 2]);
        let mut again = [0; 12];
        each_set(&found, 12, |range| again[range].fill(1)).unwrap();
        assert_eq!(again, mask);
        assert_eq!(runs(&[1, 1]), [0, 2]);
        assert!(each_set(&[5, 1, 7], 12, |_| {}).is_none() && each_set(&[u32::MAX; 9], 12, |_| {}).is_none());
    }
}
