//! `segment --report`: a page of a run, which needs no other file.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use umedsam::files::write_atomically;
use umedsam::html::{base64, escape};
use umedsam_demo::objects::colour;

use crate::montage::OBJECTS;
use crate::pictures::Shown;
use crate::report::{Object, Report};

const STYLE: &str = include_str!("../assets/report.css");

/// Writing to a string cannot fail.
macro_rules! put {
    ($html:expr, $($text:tt)*) => { let _ = write!($html, $($text)*); };
}

/// What every page begins with.
pub(crate) const BEGIN: &str =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"generator\" content=\"umedsam\">";

/// What a page tells of.
pub(crate) struct Run<'a> {
    /// The model, in words.
    pub(crate) model: &'a str,
    /// Number of inputs that are done.
    pub(crate) done: usize,
    /// Inputs that failed.
    pub(crate) failed: &'a [PathBuf],
    /// Number of inputs, those of an interrupted run among them that were not begun.
    pub(crate) of: usize,
}

/// Of a path no more than the file's name: where it lies is nobody's business.
fn name(path: &Path) -> String {
    escape(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

/// What a page tells of each input, in a temporary file: pictures of many have no room in memory.
pub(crate) struct Sections {
    file: BufWriter<File>,
}

impl Sections {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(tempfile::tempfile()?) })
    }

    /// Adds an input, whose pictures nobody needs any more.
    pub(crate) fn add(&mut self, report: &mut Report) -> io::Result<()> {
        let mut html = String::new();
        section(&mut html, report);
        report.pictures = Vec::new();
        self.file.write_all(html.as_bytes())
    }
}

impl Run<'_> {
    pub(crate) fn write(&self, sections: Sections, path: &Path) -> anyhow::Result<()> {
        let copy = |to: &mut dyn Write| {
            let mut sections = sections.file.into_inner().map_err(io::IntoInnerError::into_error)?;
            sections.rewind()?;
            to.write_all(self.head().as_bytes())?;
            io::copy(&mut sections, to)?;
            to.write_all(self.foot().as_bytes())
        };
        write_atomically(path, copy).with_context(|| path.display().to_string())
    }

    fn head(&self) -> String {
        let mut html = String::from(BEGIN);
        html += r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#;
        put!(html, "<title>Segmentation of {} images</title><style>{STYLE}</style></head><body><main>\n", self.of);
        let (done, failed) = (self.done, self.failed.len());
        put!(html, "<header><h1>Segmentation</h1><p>{done} of {} inputs are done", self.of);
        if failed > 0 {
            put!(html, ", {failed} failed");
        }
        if done + failed < self.of {
            put!(html, ", the others were not: the run was interrupted");
        }
        put!(html, ".</p><p>{}</p>", escape(self.model));
        put!(
            html,
            "<p class=\"note\">umedsam {}. Research software, not a medical device: look at the masks. The predicted IoU \
             is the network's own estimate of a mask's quality, 0 to 1. Slices count from 0.</p></header>\n",
            env!("CARGO_PKG_VERSION")
        );
        html
    }

    fn foot(&self) -> String {
        let mut html = String::new();
        for path in self.failed {
            put!(html, "<section><h2>{}</h2><p class=\"bad\">Could not be segmented.</p></section>\n", name(path));
        }
        html + "</main></body></html>\n"
    }
}

fn section(html: &mut String, report: &Report) {
    let shape: Vec<String> = report.shape.iter().map(usize::to_string).collect();
    let unit = if report.shape.len() == 3 { "voxels" } else { "px" };
    put!(html, "<section><h2>{} <small>{}</small></h2>", name(report.input.as_ref()), shape.join(" × "));
    put!(html, "<ul class=\"note\"><li>values {}</li>", escape(&report.intake.to_string()));
    for applied in &report.applied {
        put!(html, "<li>{}</li>", escape(&applied.anonymous()));
    }
    put!(html, "<li>{:.1} s, {} encodes</li></ul>\n", report.ms.total() / 1e3, report.encodes);
    put!(html, "<div class=\"scroll\"><table><thead><tr><th>object</th><th>{unit}</th><th>predicted IoU</th>");
    html.push_str("<th class=\"text\">measures</th></tr></thead><tbody>");
    report.objects.iter().zip(1..).for_each(|(object, place)| row(html, object, place));
    html.push_str("</tbody></table></div>\n");
    report.pictures.iter().for_each(|shown| figure(html, shown, &report.objects));
    let several = report.pictures.iter().any(|shown| shown.object.is_some());
    if several && report.objects.len() > OBJECTS {
        put!(html, "<p class=\"note\">Pictures of the first {OBJECTS} objects that were found.</p>");
    }
    html.push_str("</section>\n");
}

/// What an object is called.
fn title(object: &Object) -> String {
    object.name.as_deref().map_or_else(|| object.label.to_string(), |name| format!("{} {}", object.label, escape(name)))
}

fn row(html: &mut String, object: &Object, place: u16) {
    let [r, g, b] = colour(place);
    put!(html, "<tr><th><i style=\"background:rgb({r},{g},{b})\"></i>{}</th><td>{}</td>", title(object), object.size);
    put!(html, "<td>{:.3}</td><td class=\"text\">", object.predicted_iou);
    let empty = (object.size == 0).then(|| "empty: nothing found, or hidden by a later object".to_string());
    let score = object.score.map(|score| format!("score {score:.3}"));
    let way = object.way.iter().flat_map(|way| way.words());
    let measures = object.measures.as_ref().map(|measures| measures.words());
    let lines: Vec<String> = empty.into_iter().chain(measures).chain(score).chain(way).map(|l| escape(&l)).collect();
    put!(html, "{}</td></tr>\n", lines.join("<br>"));
}

fn figure(html: &mut String, shown: &Shown, objects: &[Object]) {
    let object = shown.object.and_then(|place| objects.get(usize::from(place) - 1));
    let slices: Vec<String> = shown.slices.iter().map(usize::to_string).collect();
    let caption = match object {
        Some(object) => format!("object {}: slices {}", title(object), slices.join(", ")),
        None => "all objects".into(),
    };
    let Shown { width, height, .. } = shown;
    put!(html, "<figure><img alt=\"{caption}\" width=\"{width}\" height=\"{height}\" src=\"data:image/png;base64,");
    html.push_str(&base64(&shown.png));
    put!(html, "\"><figcaption>{caption}</figcaption></figure>\n");
}
