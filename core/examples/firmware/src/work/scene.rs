//! What the sensor sees: pictures made by integers alone, so that they are the same everywhere.

use umedsam::mask::Spacing;
use umedsam::{Error, PixelBox, VolumeSize, VoxelBox};

/// A sensor and the box that a person drew in its first frame.
pub struct Sensor {
    pub width: usize,
    pub height: usize,
    /// From row to row, in values.
    pub stride: usize,
    /// Millimetres from pixel to pixel along x and y.
    pub pixel: [f64; 2],
    pub pixel_box: PixelBox,
}

/// 8 bits, as from an ultrasound probe.
pub const EIGHT: Sensor = Sensor {
    width: 320,
    height: 240,
    stride: 352,
    pixel: [0.21, 0.26],
    pixel_box: PixelBox::new(104.0, 68.0, 216.0, 152.0),
};

/// 12 bits in 16, as from an X-ray detector.
pub const SIXTEEN: Sensor = Sensor {
    width: 400,
    height: 300,
    stride: 416,
    pixel: [0.4, 0.4],
    pixel_box: PixelBox::new(128.0, 86.0, 272.0, 214.0),
};

/// Frames of each sensor.
pub const FRAMES: usize = 2;

/// The volume, in slices of 8 bits without gaps.
pub const VOLUME: VolumeSize = VolumeSize { depth: 8, height: 120, width: 160 };

/// The size of its voxels in mm.
pub fn voxel() -> Result<Spacing, Error> {
    Spacing::new(1.2, 1.5, 5.0)
}

/// Two objects of it.
pub const VOXEL_BOXES: [VoxelBox; 2] =
    [VoxelBox::new(34.0, 34.0, 1.0, 86.0, 82.0, 5.0), VoxelBox::new(100.0, 52.0, 3.0, 140.0, 92.0, 6.0)];

/// An ellipse by its centre and its half axes, in pixels.
struct Blob {
    centre: [i64; 2],
    axes: [i64; 2],
}

impl Blob {
    /// 1024 in the middle, 0 at the rim, negative outside.
    fn depth(&self, x: usize, y: usize) -> i64 {
        let [dx, dy] = [x as i64 - self.centre[0], y as i64 - self.centre[1]];
        let [a, b] = self.axes;
        1024 - 1024 * (dx * dx * b * b + dy * dy * a * a) / (a * a * b * b)
    }
}

/// A brightness from 0 to 255: `inside` within the blob, `outside` without, a soft rim, and speckle.
fn brightness(blob: &Blob, inside: i64, outside: i64, x: usize, y: usize, seed: usize) -> i64 {
    let share = (blob.depth(x, y) + 128).clamp(0, 256);
    let level = (inside * share + outside * (256 - share)) / 256;
    let mut noise = (x * 0x9e37 + y * 0x85eb + seed * 0xc2b3) as u32;
    for _ in 0..2 {
        noise = (noise ^ noise >> 15).wrapping_mul(0x2c1b_3c6d);
    }
    (level + i64::from(noise >> 27) - 16).clamp(0, 255)
}

/// Frame `n` of [`EIGHT`]: a dark ellipse in speckle. The gaps between rows hold 255.
pub fn eight(n: usize, frame: &mut [u8]) {
    let shift = 3 * n as i64;
    let blob = Blob { centre: [160 + shift, 110 + shift], axes: [52, 38] };
    draw(&EIGHT, frame, 255, |x, y| brightness(&blob, 40, 130, x, y, n) as u8);
}

/// Frame `n` of [`SIXTEEN`]: a bright ellipse on a dark ground. The gaps between rows hold 65535.
pub fn sixteen(n: usize, frame: &mut [u16]) {
    let blob = Blob { centre: [200, 150 - 4 * n as i64], axes: [66, 58] };
    draw(&SIXTEEN, frame, 65_535, |x, y| (brightness(&blob, 180, 60, x, y, n) * 11 + 700) as u16);
}

fn draw<T: Copy>(sensor: &Sensor, frame: &mut [T], gap: T, pixel: impl Fn(usize, usize) -> T) {
    for (y, row) in frame.chunks_exact_mut(sensor.stride).enumerate() {
        for (x, value) in row.iter_mut().enumerate() {
            *value = if x < sensor.width { pixel(x, y) } else { gap };
        }
    }
}

/// Slice `z` of the volume: two balls of different brightness.
pub fn slice(z: usize, pixels: &mut [u8]) {
    // Half axes in the slice, from the distance to the ball's middle slice.
    let axes = |middle: i64, half: i64, wide: i64, high: i64| {
        let away = (z as i64 - middle).abs().min(half);
        let share = 256 - 256 * away * away / (half * half);
        (away < half).then(|| [(wide * (share + 256) / 512).max(1), (high * (share + 256) / 512).max(1)])
    };
    let first = axes(3, 3, 25, 22).map(|axes| Blob { centre: [60, 58], axes });
    let second = axes(4, 3, 19, 18).map(|axes| Blob { centre: [120, 72], axes });
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let (x, y) = (i % VOLUME.width, i / VOLUME.width);
        let near = [(&first, 190), (&second, 150)].into_iter().filter_map(|(b, level)| Some((b.as_ref()?, level)));
        let (blob, level) = near.max_by_key(|(b, _)| b.depth(x, y)).unwrap_or((&NOWHERE, 70));
        *pixel = brightness(blob, level, 70, x, y, z) as u8;
    }
}

const NOWHERE: Blob = Blob { centre: [-1 << 20; 2], axes: [1, 1] };
