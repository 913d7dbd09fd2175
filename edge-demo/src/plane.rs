//! Segmenting images.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use umedsam::{Error, ImageSegmentation, ImageView, PixelBox, Session, UncertaintyOptions, VolumeSize, ZoomOptions};
use umedsam_demo::labels::Grid;
use umedsam_demo::scan::Applied;
use umedsam_demo::{objects, pages};

use crate::SegmentArguments;
use crate::mask::MaskArguments;
use crate::output::Outputs;
use crate::pictures::Drawn;
use crate::report::{Report, objects, put_names, stages};
use crate::uncertainty::{self, Uncertainty};
use umedsam_demo::label_file::Found;
use umedsam_demo::picture::Picture;
use umedsam_demo::png_file::write_gray;

/// How an image is segmented.
pub(crate) struct PlaneOptions<'a> {
    pub(crate) zoom: Option<ZoomOptions>,
    pub(crate) uncertainty: Option<UncertaintyOptions>,
    pub(crate) mask: &'a MaskArguments,
}

impl PlaneOptions<'_> {
    /// The label map, and how sure it is if that is asked for.
    pub(crate) fn segment(
        &self,
        session: &mut Session,
        image: &ImageView<'_>,
        boxes: &[PixelBox],
    ) -> Result<(ImageSegmentation, Option<Uncertainty>), Error> {
        match &self.uncertainty {
            Some(options) => {
                let (found, uncertainty) = uncertainty::segment(session, image, boxes, options)?;
                Ok((found, Some(uncertainty)))
            }
            None => Ok((session.segment_image(image, boxes, self.zoom.as_ref())?, None)),
        }
    }
}

/// A picture that was read.
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) picture: &'a Picture,
    pub(crate) boxes: &'a [PixelBox],
    /// What is told of its objects.
    pub(crate) told: &'a [objects::Object],
    /// How long it took to read.
    pub(crate) read: Duration,
}

/// Segments a picture and writes its label map.
pub(crate) fn segment_picture(
    session: &mut Session,
    input: &Input<'_>,
    options: &PlaneOptions<'_>,
    outputs: &Outputs,
) -> anyhow::Result<Report> {
    let &Input { name, picture, boxes, told, read } = input;
    let before = session.stats();
    let view = picture.view()?;
    let (width, height) = (view.width(), view.height());
    let (mut found, uncertainty) = options.segment(session, &view, boxes)?;
    let start = Instant::now();
    let size = VolumeSize { depth: 1, height, width };
    options.mask.clean(&mut found.labels, size)?;
    let mut objects = objects(&found.labels, &found.predicted_iou, uncertainty.as_ref(), &[]);
    if options.mask.measures() {
        let measured = options.mask.measure(&found.labels, picture.pixels(), size, false, None, objects.len())?;
        objects.iter_mut().zip(measured).for_each(|(object, measures)| object.measures = measures);
    }
    let masks = start.elapsed();
    let start = Instant::now();
    let (shape, grid) = (vec![height, width], Grid::new(size, None));
    let input = Path::new(name);
    outputs.write(&Found { input, labels: &found.labels, shape: &shape, grid, scan: None, objects: told })?;
    put_names(&mut objects, told);
    let drawn = Drawn { pixels: picture.pixels(), labels: &found.labels, size, spacing: None, boxes, slice: None };
    let pictures = drawn.draw(outputs, options.mask.report.is_some())?;
    write_maps(outputs, uncertainty.as_ref(), width, height)?;
    let written = outputs.paths().cloned().collect();
    let after = session.stats();
    let stages = stages(before, after, read, after.postprocess - before.postprocess + masks, start.elapsed());
    let (encodes, cache_hits) = (after.encodes - before.encodes, after.cache_hits - before.cache_hits);
    let intake = picture.intake().clone();
    Ok(Report {
        input: name.into(),
        shape,
        intake,
        applied: Vec::new(),
        objects,
        own_labels: false,
        written,
        encodes,
        cache_hits,
        ms: stages,
        pictures,
    })
}

/// Segments a picture in a file.
pub(crate) fn segment_file(
    session: &mut Session,
    path: &Path,
    outputs: &Outputs,
    arguments: &SegmentArguments,
    boxes: &[PixelBox],
    options: &PlaneOptions<'_>,
) -> anyhow::Result<Report> {
    let start = Instant::now();
    let picture = Picture::read(path, arguments.scan.frame, arguments.memory.bytes())?;
    let read = start.elapsed();
    let name = path.display().to_string();
    let told = arguments.format.objects((1..=u16::MAX).take(boxes.len())).with_context(|| name.clone())?;
    let input = Input { name: &name, picture: &picture, boxes, told: &told, read };
    let mut report = segment_picture(session, &input, options, outputs).with_context(|| name.clone())?;
    report.applied.extend(arguments.scan.frame.map(|index| page(path, index)));
    Ok(report)
}

/// What is told of a picture of which a page was asked for.
pub(crate) fn page(path: &Path, index: usize) -> Applied {
    match pages::count(path) {
        0 => Applied::Note("--frame is for TIFF and volumes: not used".into()),
        of => Applied::Frame { index, of },
    }
}

/// Writes the maps of an image, if there are any.
pub(crate) fn write_maps(
    outputs: &Outputs,
    found: Option<&Uncertainty>,
    width: usize,
    height: usize,
) -> anyhow::Result<()> {
    if let (Some(maps), Some(found)) = (&outputs.uncertainty, found) {
        write_gray(&maps.probabilities, &found.probabilities, width, height)?;
        write_gray(&maps.entropy, &found.entropy, width, height)?;
    }
    Ok(())
}
