//! What the device does with frames and volumes. Whatever runs the network, and wherever this runs, it is the same.

pub mod recording;
pub mod scene;

use core::fmt;

use alloc::vec;
use alloc::vec::Vec;
use umedsam::intensity::{Window, to_u8_into};
use umedsam::mask::{CleanOptions, Cleaner, Connectivity, Contours, MeasureOptions, Measurer, ObjectMeasures, Spacing};
use umedsam::postprocess::LOGITS_LEN;
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::volume::{Propagation, Request};
use umedsam::{Error, Frame, ImageView, MaskLogits, ModelBox, VolumeSize};

use scene::{EIGHT, FRAMES, SIXTEEN, Sensor, VOLUME, VOXEL_BOXES};

/// The window of the 12-bit sensor.
const WINDOW: Window = Window::Level { level: 1900.0, width: 2400.0 };

/// What runs the network.
pub trait Network {
    /// The logits of a box, 256x256 row by row, in the image of this input, whose digest is at hand.
    fn logits(&mut self, input: &[f32], digest: u64, prompt: ModelBox, logits: &mut [f32]) -> Result<(), Problem>;
}

/// Why the device stopped.
#[derive(Debug)]
pub enum Problem {
    Library(Error),
    Recording(&'static str),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Library(error) => write!(f, "{error}"),
            Self::Recording(what) => write!(f, "recording: {what}"),
        }
    }
}

impl core::error::Error for Problem {}

/// Takes a line of the report.
pub type Tell<'a> = dyn FnMut(fmt::Arguments<'_>) + 'a;

/// Every buffer of the device.
pub struct Device {
    sensor8: Vec<u8>,
    sensor16: Vec<u16>,
    pixels: Vec<u8>,
    preprocessor: Preprocessor,
    input: Vec<f32>,
    logits: Vec<f32>,
    mask: Vec<u8>,
    cleaner: Cleaner,
    contours: Contours,
    measurer: Measurer,
    propagation: Propagation,
    request: Request,
}

impl Device {
    /// Takes the memory whose size is known beforehand. The rest is taken as the first frames ask for it.
    pub fn new() -> Self {
        let pixels = (SIXTEEN.width * SIXTEEN.height).max(EIGHT.width * EIGHT.height);
        Self {
            sensor8: vec![0; EIGHT.stride * EIGHT.height],
            sensor16: vec![0; SIXTEEN.stride * SIXTEEN.height],
            pixels: vec![0; pixels],
            preprocessor: Preprocessor::new(),
            input: vec![0.0; INPUT_LEN],
            logits: vec![0.0; LOGITS_LEN],
            mask: vec![0; pixels],
            cleaner: Cleaner::new(),
            contours: Contours::new(),
            measurer: Measurer::new(),
            propagation: Propagation::empty(),
            request: Request::default(),
        }
    }

    /// What each part holds.
    #[cfg(target_os = "none")]
    pub fn tell_memory(&self, tell: &mut Tell<'_>) {
        let buffers = self.sensor8.len() + 2 * self.sensor16.len() + self.pixels.len() + self.mask.len();
        tell(format_args!("# pictures {buffers}, input {}, logits {}", 4 * INPUT_LEN, 4 * LOGITS_LEN));
        let (preprocessor, propagation) = (self.preprocessor.capacity_bytes(), self.propagation.capacity_bytes());
        tell(format_args!("# preprocessor {preprocessor}, propagation {propagation}"));
        let (cleaner, contours) = (self.cleaner.capacity_bytes(), self.contours.capacity_bytes());
        tell(format_args!("# cleaner {cleaner}, contours {contours}, measurer {}", self.measurer.capacity_bytes()));
    }

    /// All frames of both sensors, then the volume.
    pub fn round(&mut self, network: &mut impl Network, tell: &mut Tell<'_>) -> Result<(), Problem> {
        for n in 0..FRAMES {
            scene::eight(n, &mut self.sensor8);
            self.eight(network, tell)?;
        }
        for n in 0..FRAMES {
            scene::sixteen(n, &mut self.sensor16);
            self.sixteen(network, tell)?;
        }
        self.volume(network, tell)
    }

    fn eight(&mut self, network: &mut impl Network, tell: &mut Tell<'_>) -> Result<(), Problem> {
        let image = ImageView::gray8_strided(&self.sensor8, EIGHT.width, EIGHT.height, EIGHT.stride)?;
        let frame = self.preprocessor.preprocess_into(&image, &mut self.input);
        // Without gaps, as the mask is, for the intensities under it.
        let lines = self.pixels.chunks_exact_mut(EIGHT.width).zip(self.sensor8.chunks(EIGHT.stride));
        lines.for_each(|(line, row)| line.copy_from_slice(&row[..EIGHT.width]));
        self.segment(&EIGHT, frame, network, tell)
    }

    fn sixteen(&mut self, network: &mut impl Network, tell: &mut Tell<'_>) -> Result<(), Problem> {
        let Sensor { width, height, stride, .. } = SIXTEEN;
        let pixels = &mut self.pixels[..width * height];
        let step = to_u8_into(&self.sensor16, width, height, stride, WINDOW, pixels)?;
        tell(format_args!("{step}"));
        let frame = self.preprocessor.preprocess_into(&ImageView::gray8(pixels, width, height)?, &mut self.input);
        self.segment(&SIXTEEN, frame, network, tell)
    }

    /// From the network's input to sizes in mm.
    fn segment(
        &mut self,
        sensor: &Sensor,
        frame: Frame,
        network: &mut impl Network,
        tell: &mut Tell<'_>,
    ) -> Result<(), Problem> {
        let prompt = frame.to_model(&sensor.pixel_box, 0)?;
        let input = digest(self.input.iter().flat_map(|v| v.to_le_bytes()));
        tell(format_args!(
            "{}x{} pixels, input {input:016x}, prompt {:?}",
            sensor.width,
            sensor.height,
            prompt.to_array()
        ));
        network.logits(&self.input, input, prompt, &mut self.logits)?;
        let (pixels, mask) = (&self.pixels[..frame.pixels()], &mut self.mask[..frame.pixels()]);
        let area = MaskLogits::new(&self.logits, frame).mask_into(mask);
        let size = VolumeSize { depth: 1, height: sensor.height, width: sensor.width };
        let cleaned = self.cleaner.clean(mask, size, &CleanOptions::new().with_largest().with_holes_filled())?;
        tell(format_args!("mask {:016x}, {area} pixels, {cleaned:?}", digest(mask.iter().copied())));
        self.contours.find(mask, sensor.width, sensor.height, Connectivity::All)?;
        for polygon in self.contours.polygons() {
            let points = polygon.outer();
            let digest = digest(points.iter().flat_map(|c| [c.x, c.y]).flat_map(u32::to_le_bytes));
            tell(format_args!("contour {digest:016x}, {} points, {} pixels within", points.len(), polygon.area()));
        }
        let [x, y] = sensor.pixel;
        let options = MeasureOptions::new().with_spacing(Spacing::new(x, y, 1.0)?).with_diameters();
        for object in self.measurer.measure_with_intensities(mask, pixels, size, &options)? {
            tell(format_args!("{} mm2, mean {:?}", object.area(), object.mean_intensity));
            tell_diameters(object, tell);
        }
        Ok(())
    }

    fn volume(&mut self, network: &mut impl Network, tell: &mut Tell<'_>) -> Result<(), Problem> {
        let VolumeSize { height, width, .. } = VOLUME;
        self.propagation.restart(&VOXEL_BOXES, VOLUME)?;
        while self.propagation.next_request_into(&mut self.request)? {
            let pixels = &mut self.pixels[..width * height];
            scene::slice(self.request.z, pixels);
            let frame = self.preprocessor.preprocess_into(&ImageView::gray8(pixels, width, height)?, &mut self.input);
            let input = digest(self.input.iter().flat_map(|v| v.to_le_bytes()));
            for prompt in &self.request.prompts {
                let (z, object) = (self.request.z, prompt.object);
                tell(format_args!("slice {z}, input {input:016x}, object {object}: {:?}", prompt.model_box.to_array()));
                network.logits(&self.input, input, prompt.model_box, &mut self.logits)?;
                self.propagation.supply(z, object, &MaskLogits::new(&self.logits, frame))?;
            }
        }
        let labels = self.propagation.labels();
        tell(format_args!("labels {:016x}", digest(labels.iter().flat_map(|l| l.to_le_bytes()))));
        let options = MeasureOptions::new().with_spacing(scene::voxel()?).with_diameters();
        for object in self.measurer.measure(labels, VOLUME, &options)? {
            tell(format_args!(
                "object {}: {} mm3 from {:?} to {:?}",
                object.label,
                object.volume(),
                object.first,
                object.last
            ));
            tell_diameters(object, tell);
        }
        Ok(())
    }
}

fn tell_diameters(object: &ObjectMeasures, tell: &mut Tell<'_>) {
    if let Some(found) = object.diameters {
        let [long, short] = [found.diameters.longest, found.diameters.perpendicular];
        tell(format_args!("slice {}: {} mm from {:?} to {:?}", found.z, long.length, long.from, long.to));
        tell(format_args!("across: {} mm from {:?} to {:?}", short.length, short.from, short.to));
    }
}

/// FNV-1a.
fn digest(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}
