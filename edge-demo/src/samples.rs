//! What the command does without arguments: segments two built-in images.

use std::path::Path;
use std::time::Instant;

use umedsam::{PixelBox, outln};

use crate::mask::MaskArguments;
use crate::output::{Wanted, plan};
use crate::plane::{Input, PlaneOptions, segment_picture};
use crate::report::print;
use crate::segment::open;
use crate::{ModelArguments, ZoomArguments};
use umedsam_demo::kind::Kind;
use umedsam_demo::picture::Picture;

/// A built-in image and the boxes that a person would draw in it.
pub(crate) struct Sample {
    pub(crate) file: &'static str,
    what: &'static str,
    pub(crate) bytes: &'static [u8],
    pub(crate) boxes: &'static [PixelBox],
}

pub(crate) const SAMPLES: [Sample; 2] = [
    Sample {
        file: "retina.jpg",
        what: "fundus photograph: optic disc and macula",
        bytes: include_bytes!("../assets/retina.jpg"),
        boxes: &[PixelBox::new(118.0, 538.0, 322.0, 766.0), PixelBox::new(560.0, 570.0, 860.0, 840.0)],
    },
    Sample {
        file: "cell.png",
        what: "quantitative phase microscopy: a cell in saline",
        bytes: include_bytes!("../assets/cell.png"),
        boxes: &[PixelBox::new(360.0, 305.0, 496.0, 442.0)],
    },
];

/// Segments the samples into the folder `out`.
pub(crate) fn run() -> anyhow::Result<()> {
    let wanted = Wanted { overlay: true, ..Wanted::default() };
    let outputs = plan(&SAMPLES.map(|sample| (sample.file.into(), Kind::Picture)), Path::new("out"), wanted)?;
    let start = Instant::now();
    let model = ModelArguments { model: None, precision: None, threads: None };
    let mut session = open(&model)?;
    outln!("built-in model ready in {:.0} ms (umedsam info shows what it is)", start.elapsed().as_secs_f64() * 1e3);
    let options =
        PlaneOptions { zoom: ZoomArguments::default().options(), uncertainty: None, mask: &MaskArguments::default() };
    for (sample, outputs) in SAMPLES.iter().zip(&outputs) {
        let start = Instant::now();
        let picture = Picture::decode(sample.bytes)?;
        let name = format!("{} - {}", sample.file, sample.what);
        let (name, boxes, read) = (&*name, sample.boxes, start.elapsed());
        let input = Input { name, picture: &picture, boxes, told: &[], read };
        print(&segment_picture(&mut session, &input, &options, outputs)?);
    }
    outln!("your own image: umedsam segment IMAGE --box x0,y0,x1,y1 --overlay");
    Ok(())
}
