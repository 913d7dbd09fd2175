//! `--format`, and what is told of objects in the files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use umedsam_demo::dicom::Series;
use umedsam_demo::kind::Kind;
use umedsam_demo::label_file::{Format, Found};
use umedsam_demo::objects::{Code, Object, check_name};
use umedsam_demo::scan::{Origin, Scan};

use crate::output::Outputs;

/// What is written of label maps.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FormatArguments {
    /// Formats of label maps, apart by commas; the input's own if left out.
    #[arg(long = "format", value_name = "F,...", value_delimiter = ',')]
    pub(crate) formats: Vec<Format>,
    /// The name of an object, by its label, for formats that have names; once for each.
    #[arg(long = "name", value_name = "LABEL=NAME", value_parser = parse_name)]
    names: Vec<(u16, String)>,
    /// What an object is, by its label, as a coded concept; once for each. DICOM segmentations have it, and those of 3D
    /// Slicer.
    #[arg(long, value_name = "LABEL=SCHEME:CODE:MEANING", value_parser = parse_anatomy)]
    anatomy: Vec<(u16, Code)>,
    /// The same from a file: a line LABEL=SCHEME:CODE:MEANING for each object; empty ones and those that begin with # count
    /// as nothing.
    #[arg(long, value_name = "FILE")]
    anatomy_file: Option<PathBuf>,
}

/// Most bytes of a file of anatomy: 65535 objects take less.
const MAX_BYTES: u64 = 16 << 20;

/// The codes of a file.
fn read_anatomy(path: &Path) -> anyhow::Result<Vec<(u16, Code)>> {
    let named = || path.display().to_string();
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text)).with_context(named)?;
    if text.len() as u64 > MAX_BYTES {
        bail!("{}: more than {MAX_BYTES} bytes", named());
    }
    let mut codes = Vec::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().map(str::trim).zip(1..) {
        if !line.is_empty() && !line.starts_with('#') {
            codes.push(parse_anatomy(line).map_err(|reason| anyhow!("{}: line {number}: {reason}", named()))?);
        }
    }
    if codes.is_empty() { bail!("{}: no line LABEL=SCHEME:CODE:MEANING", named()) } else { Ok(codes) }
}

fn parse_label(text: &str) -> Result<(u16, &str), String> {
    let (label, rest) = text.split_once('=').ok_or_else(|| format!("'{text}': LABEL=... expected"))?;
    match label.trim().parse() {
        Ok(label) if label > 0 => Ok((label, rest.trim())),
        _ => Err(format!("'{label}': a label from 1 to 65535 expected")),
    }
}

fn parse_name(text: &str) -> Result<(u16, String), String> {
    let (label, name) = parse_label(text)?;
    check_name(name)?;
    Ok((label, name.into()))
}

fn parse_anatomy(text: &str) -> Result<(u16, Code), String> {
    let (label, code) = parse_label(text)?;
    Ok((label, code.parse()?))
}

impl FormatArguments {
    /// What is told of the objects with these labels.
    ///
    /// # Errors
    /// If something is told of a label that is none of them, or told twice.
    pub(crate) fn objects(&self, labels: impl IntoIterator<Item = u16>) -> anyhow::Result<Vec<Object>> {
        let mut objects: Vec<Object> = labels.into_iter().map(Object::new).collect();
        for (label, name) in &self.names {
            let object = find(&mut objects, *label, "--name")?;
            if object.name.replace(name.clone()).is_some() {
                bail!("--name {label}=...: told twice");
            }
        }
        let told = self.anatomy_file.as_deref().map(read_anatomy).transpose()?.unwrap_or_default();
        for (label, code) in self.anatomy.iter().chain(&told) {
            let object = find(&mut objects, *label, "--anatomy")?;
            if object.code.replace(code.clone()).is_some() {
                bail!("--anatomy {label}=...: told twice");
            }
        }
        Ok(objects)
    }
}

fn find<'a>(objects: &'a mut [Object], label: u16, option: &str) -> anyhow::Result<&'a mut Object> {
    let count = objects.len();
    let found = objects.iter_mut().find(|object| object.label == label);
    found.with_context(|| format!("{option} {label}=...: no object has this label; there are {count}"))
}

/// Refuses what cannot be written of an input, as far as its kind tells.
pub(crate) fn check_kind(format: Format, input: &Path, kind: Kind, dicom: bool) -> anyhow::Result<()> {
    match (format, kind) {
        (Format::Seg, _) if !dicom => {
            bail!("{}: --format seg is for DICOM, to whose images a segmentation refers", input.display())
        }
        (Format::Nifti | Format::Nrrd, Kind::Picture) => {
            bail!(
                "{}: --format {} is for volumes; png, npz, geojson and coco are for pictures",
                input.display(),
                format.name()
            )
        }
        _ => Ok(()),
    }
}

impl Outputs {
    /// Refuses what cannot be written of an image or volume, before the work is done.
    pub(crate) fn check(&self, input: &Path, depth: usize, scan: Option<&Scan>) -> anyhow::Result<()> {
        self.labels.iter().try_for_each(|(format, _)| format.check(input, depth, scan))
    }

    /// Writes the label map in all its formats.
    pub(crate) fn write(&self, found: &Found<'_>) -> anyhow::Result<()> {
        self.labels.iter().try_for_each(|(format, path)| format.write(path, found))
    }
}

/// The series of a scan, if it is from DICOM.
pub(crate) fn series(origin: Option<&Origin>) -> Option<&Series> {
    match origin {
        Some(Origin::Dicom(series)) => Some(series),
        _ => None,
    }
}
