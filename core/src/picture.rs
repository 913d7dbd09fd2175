//! Segmenting an image from its boxes, as a whole or window by window.

use std::prelude::v1::*;
use std::time::Duration;

use crate::stopwatch::Stopwatch;
use crate::zoom::{Window, plan};
use crate::{Error, ImageView, MODEL_SIDE, ModelBox, PixelBox, Region, Session, ZoomOptions, memory};

/// The label map of an image, and the network's estimate of each mask's quality.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSegmentation {
    /// Label map (height,width): `i + 1` for box `i`, 0 for background. Where objects overlap, the later box prevails.
    pub labels: Vec<u16>,
    /// The network's own, uncalibrated estimate of each mask's intersection over union with the truth, 0 to 1.
    pub predicted_iou: Vec<f32>,
}

impl Session {
    /// Segments the objects in `boxes`, which are in pixels of the image, and paints them into one label map.
    ///
    /// Without `zoom` the image is encoded once, as a whole. With it, each window of the [`plan`] is encoded once.
    ///
    /// # Errors
    /// [`Error::TooManyBoxes`] for more than 65535 boxes; [`Error::BoxNotFinite`], [`Error::BoxReversed`] or
    /// [`Error::BoxOutside`] for a box; [`Error::Memory`] if there is none for the label map; those of
    /// [`encode`](Self::encode) and [`decode`](Self::decode).
    pub fn segment_image(
        &mut self,
        image: &ImageView<'_>,
        boxes: &[PixelBox],
        zoom: Option<&ZoomOptions>,
    ) -> Result<ImageSegmentation, Error> {
        let max = usize::from(u16::MAX);
        if boxes.len() > max {
            return Err(Error::TooManyBoxes { count: boxes.len(), max });
        }
        let (width, height) = (image.width(), image.height());
        let boxes: Vec<PixelBox> =
            boxes.iter().enumerate().map(|(i, b)| image.frame().clamp(b, i)).collect::<Result<_, _>>()?;
        let windows = match zoom {
            Some(options) => plan(&boxes, width, height, options),
            None => {
                vec![Window { region: Region { x: 0, y: 0, width, height }, boxes: (0..boxes.len()).collect() }]
            }
        };
        let mut labels = memory::filled(width * height, 0u16)?;
        let mut predicted_iou = vec![0.0; boxes.len()];
        let mut embedding = self.blank();
        for Window { region, boxes: seen } in &windows {
            let part = image.crop(region.x, region.y, region.width, region.height)?;
            let (x, y) = (region.x as f64, region.y as f64);
            let far = if (part.width(), part.height()) == (width, height) { 0.0 } else { far_edge(region) };
            let within = |b: &PixelBox| PixelBox::new(b.x0 - x, b.y0 - y, b.x1 - x + far, b.y1 - y + far);
            let prompts: Vec<ModelBox> =
                seen.iter().map(|&i| part.frame().to_model(&within(&boxes[i]), i)).collect::<Result<_, _>>()?;
            self.encode_into(&part, &mut embedding)?;
            let mut postprocess = Duration::ZERO;
            let decoded = self.decode(&embedding, &prompts, |i, logits, iou| {
                let start = Stopwatch::start();
                // Windows come in another order than labels.
                logits.paint_max_at((seen[i] + 1) as u16, &mut labels, width, (region.x, region.y));
                predicted_iou[seen[i]] = iou;
                postprocess += start.elapsed();
            });
            self.stats.postprocess += postprocess;
            decoded.map_err(|error| match error {
                Error::NotFinite { index } => Error::NotFinite { index: seen[index] },
                other => other,
            })?;
        }
        Ok(ImageSegmentation { labels, predicted_iou })
    }
}

/// How far beyond its coordinate a box's last pixel reaches, up to the last pixel of the grid that shows it.
///
/// A box names its last pixel. Magnified, that pixel is many of the grid, and the box ends at the first of them unless
/// this is added. The whole image is mapped as upstream maps it, which cuts even small images short.
fn far_edge(region: &Region) -> f64 {
    let scale = MODEL_SIDE as f64 / region.width.max(region.height) as f64;
    (1.0 - 1.0 / scale).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;

    #[test]
    fn a_box_in_a_crop_ends_with_its_last_pixel() {
        // Four and about 4.3 pixels of the grid to one: columns 10 to 19 end with the grid's 79th and 84th.
        for (side, end) in [(64, 79.0), (60, 84.0), (256, 19.0), (512, 9.0)] {
            let region = Region { x: 0, y: 0, width: side, height: side };
            let far = 19.0 + far_edge(&region);
            let prompt = Frame::new(side, side).unwrap().to_model(&PixelBox::new(10.0, 10.0, far, far), 0).unwrap();
            assert_eq!((prompt.x1, prompt.y1), (end, end), "{side}");
        }
    }
}
