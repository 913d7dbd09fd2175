//! Another view of a picture: turned, nearer or farther, elsewhere on the same canvas.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use umedsam::PixelBox;

use super::case::Picture;
use crate::config::DataConfig;

/// A similarity around a point that the drawing chooses: the middle of what is to be found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Radians, from x towards y.
    pub angle: f64,
    /// Above 1, things become larger.
    pub scale: f64,
    /// Where that point goes, in widths and heights of the picture.
    pub shift: [f64; 2],
}

impl View {
    /// At most [`DataConfig::turn`] degrees, `exp` of at most [`DataConfig::scale`] and [`DataConfig::shift`], each either
    /// way; nothing where all of them are 0.
    pub(super) fn random(rng: &mut ChaCha8Rng, config: &DataConfig) -> Option<Self> {
        let mut of = |most: f64| rng.random_range(-most..=most);
        let (angle, scale) = (of(config.turn).to_radians(), of(config.scale).exp());
        let view = Self { angle, scale, shift: [of(config.shift), of(config.shift)] };
        (config.turn > 0.0 || config.scale > 0.0 || config.shift > 0.0).then_some(view)
    }

    /// The picture and the object in it, `around` a point in pixels: intensities between four pixels, the object's by the
    /// nearest; black and no object beyond the picture's edge.
    pub(super) fn apply(&self, picture: &Picture, object: &[bool], around: [f64; 2]) -> (Picture, Vec<bool>) {
        let Picture { width, height, channels, .. } = *picture;
        let target = self.target(around, [width, height]);
        let (sin, cos) = self.angle.sin_cos();
        let mut pixels = Vec::with_capacity(picture.pixels.len());
        let mut seen = Vec::with_capacity(object.len());
        for y in 0..height {
            for x in 0..width {
                let (dx, dy) = ((x as f64 - target[0]) / self.scale, (y as f64 - target[1]) / self.scale);
                let source = [around[0] + cos * dx + sin * dy, around[1] - sin * dx + cos * dy];
                let [column, row] = source.map(f64::round);
                let inside = column >= 0.0 && row >= 0.0 && column < width as f64 && row < height as f64;
                seen.push(inside && object[row as usize * width + column as usize]);
                if inside {
                    pixels.extend((0..channels).map(|channel| between(picture, source, channel)));
                } else {
                    pixels.extend((0..channels).map(|_| 0));
                }
            }
        }
        (Picture { pixels, channels, width, height }, seen)
    }

    /// The box around a box's corners, within the picture.
    pub(super) fn map(&self, b: PixelBox, around: [f64; 2], size: [usize; 2]) -> PixelBox {
        let target = self.target(around, size);
        let (sin, cos) = self.angle.sin_cos();
        let corners = [(b.x0, b.y0), (b.x1, b.y0), (b.x0, b.y1), (b.x1, b.y1)].map(|(x, y)| {
            let (dx, dy) = ((x - around[0]) * self.scale, (y - around[1]) * self.scale);
            [target[0] + cos * dx - sin * dy, target[1] + sin * dx + cos * dy]
        });
        let bound = |axis: usize, pick: fn(f64, f64) -> f64| {
            let far = corners.iter().map(|corner| corner[axis]).reduce(pick).unwrap_or_default();
            far.round().clamp(0.0, (size[axis] - 1) as f64)
        };
        PixelBox::new(bound(0, f64::min), bound(1, f64::min), bound(0, f64::max), bound(1, f64::max))
    }

    fn target(&self, around: [f64; 2], size: [usize; 2]) -> [f64; 2] {
        [0, 1].map(|axis| around[axis] + self.shift[axis] * size[axis] as f64)
    }
}

/// The intensity at a point, of the four pixels around it; the last ones go on beyond the edge.
fn between(picture: &Picture, [x, y]: [f64; 2], channel: usize) -> u8 {
    let at = |x: f64, y: f64| {
        let column = x.clamp(0.0, (picture.width - 1) as f64) as usize;
        let row = y.clamp(0.0, (picture.height - 1) as f64) as usize;
        f64::from(picture.pixels[(row * picture.width + column) * picture.channels + channel])
    };
    let (left, top) = (x.floor(), y.floor());
    let (right, below) = (x - left, y - top);
    let line = |y: f64| at(left, y) * (1.0 - right) + at(left + 1.0, y) * right;
    (line(top) * (1.0 - below) + line(top + 1.0) * below).round() as u8
}

#[cfg(test)]
mod tests {
    use super::super::crop::bounds;
    use super::*;

    /// A bright rectangle, and its mask.
    fn scene() -> (Picture, Vec<bool>) {
        let (width, height) = (90, 60);
        let object: Vec<bool> =
            (0..width * height).map(|i| (30..42).contains(&(i % width)) && (20..26).contains(&(i / width))).collect();
        let pixels = object.iter().flat_map(|&inside| [if inside { 200 } else { 40 }, 7]).collect();
        (Picture { pixels, channels: 2, width, height }, object)
    }

    #[test]
    fn the_picture_its_object_and_its_box_move_together() {
        let (picture, object) = scene();
        let around = [35.5, 22.5];
        let still = View { angle: 0.0, scale: 1.0, shift: [0.0; 2] };
        assert_eq!(still.apply(&picture, &object, around), (picture.clone(), object.clone()));
        let views = [
            View { scale: 1.5, shift: [0.1, -0.05], ..still },
            View { angle: std::f64::consts::FRAC_PI_2, ..still },
            View { angle: -0.5, scale: 0.8, shift: [0.2, 0.3] },
        ];
        for view in views {
            let (moved, seen) = view.apply(&picture, &object, around);
            assert_eq!(moved.pixels.len(), picture.pixels.len());
            let area = seen.iter().filter(|&&s| s).count() as f64;
            assert!((area / (72.0 * view.scale * view.scale) - 1.0).abs() < 0.15, "{view:?}: {area}");
            // The nearest pixel has a quarter of the weight at least, and the others three quarters at most.
            let fits = |(p, &inside): (&[u8], &bool)| if inside { p[0] >= 79 } else { p[0] <= 161 };
            assert!(moved.pixels.chunks(2).zip(&seen).all(fits), "{view:?}");
            assert!(moved.pixels.chunks(2).filter(|p| p[0] == 200).count() > 20, "{view:?}");
            let found = bounds(&seen, 90).unwrap();
            let mapped = view.map(bounds(&object, 90).unwrap(), around, [90, 60]);
            let far = [found.x0 - mapped.x0, found.y0 - mapped.y0, mapped.x1 - found.x1, mapped.y1 - found.y1];
            assert!(far.iter().all(|&d| (-1.0..3.0).contains(&d)), "{view:?}: {far:?}");
        }
        // A quarter turns width into height.
        let (_, seen) = views[1].apply(&picture, &object, around);
        let b = bounds(&seen, 90).unwrap();
        assert_eq!((b.x1 - b.x0, b.y1 - b.y0), (5.0, 11.0));
    }
}
