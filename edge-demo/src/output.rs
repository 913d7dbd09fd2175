//! Where results go, and how they are known again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use umedsam::files::write_atomically;
use umedsam::{memory, npz};
use umedsam_demo::{dicom, nifti, nrrd, polygons, read};

use crate::formats::Format;
use crate::input::Kind;
use crate::pairing::stem;

/// Text chunk of the PNG files that are written here, and what it begins with.
const KEYWORD: &str = "Software";
const SOFTWARE: &str = "umedsam ";

/// Where the results of one input go.
#[derive(Debug)]
pub(crate) struct Outputs {
    /// The label map in each format that is written.
    pub(crate) labels: Vec<(Format, PathBuf)>,
    pub(crate) overlay: Option<PathBuf>,
    pub(crate) uncertainty: Option<Maps>,
}

/// Where the maps of `--uncertainty` go.
#[derive(Debug)]
pub(crate) struct Maps {
    pub(crate) probabilities: PathBuf,
    pub(crate) entropy: PathBuf,
}

/// What is written of an input beside its label map, and whether other files may be replaced.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) overlay: bool,
    pub(crate) uncertainty: bool,
    pub(crate) force: bool,
    /// The formats of label maps; if empty the input's own.
    pub(crate) formats: &'a [Format],
}

impl Outputs {
    fn new(input: &Path, kind: Kind, folder: &Path, wanted: Wanted<'_>) -> anyhow::Result<Self> {
        let scan = (kind == Kind::Scan).then(|| read::format_of(input).ok()).flatten();
        let dicom = matches!(scan, Some(read::Format::Dicom | read::Format::Zip));
        let own = match kind {
            Kind::Npz => Format::Npz,
            Kind::Picture => Format::Png,
            Kind::Scan if dicom => Format::Seg,
            Kind::Scan if scan == Some(read::Format::Nrrd) => Format::Nrrd,
            Kind::Scan => Format::Nifti,
        };
        let formats = if wanted.formats.is_empty() { &[own] } else { wanted.formats };
        formats.iter().try_for_each(|format| format.check_kind(input, kind, dicom))?;
        let named = |ending: &str| folder.join(stem(input) + ending);
        let plain = input.extension().is_some_and(|e| e.eq_ignore_ascii_case("nii"));
        let path = |format: &Format| match format {
            Format::Npz if kind == Kind::Npz => folder.join(input.file_name().unwrap_or_default()),
            Format::Nifti if plain => named(".nii"),
            format => named(format.ending()),
        };
        let labels = formats.iter().map(|format| (*format, path(format))).collect();
        let maps = || Maps { probabilities: named(".probability.png"), entropy: named(".entropy.png") };
        let overlay = wanted.overlay.then(|| named(".overlay.png"));
        Ok(Self { labels, overlay, uncertainty: wanted.uncertainty.then(maps) })
    }

    /// All of them.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let labels = self.labels.iter().map(|(_, path)| path);
        let maps = self.uncertainty.iter().flat_map(|maps| [&maps.probabilities, &maps.entropy]);
        labels.chain(&self.overlay).chain(maps)
    }
}

/// Works out the results of all inputs, makes their folder, and refuses what would lose somebody's file: two results
/// of one name, and unless that is wanted, one in the place of an input or of a file that is no earlier result.
pub(crate) fn plan(inputs: &[(PathBuf, Kind)], folder: &Path, wanted: Wanted<'_>) -> anyhow::Result<Vec<Outputs>> {
    let outputs = inputs.iter().map(|(input, kind)| Outputs::new(input, *kind, folder, wanted));
    let outputs: Vec<Outputs> = outputs.collect::<anyhow::Result<_>>()?;
    let read: Vec<PathBuf> = inputs.iter().filter_map(|(input, _)| input.canonicalize().ok()).collect();
    let mut sources: BTreeMap<&Path, &Path> = BTreeMap::new();
    for (outputs, (input, _)) in outputs.iter().zip(inputs) {
        for path in outputs.paths() {
            if let Some(other) = sources.insert(path, input) {
                bail!("{} and {} would write the same result, {}", other.display(), input.display(), path.display());
            }
            let there = path.canonicalize();
            if path.is_dir() {
                bail!("{}: a folder is where the result of {} would be", path.display(), input.display());
            } else if wanted.force {
                continue;
            } else if there.is_ok_and(|path| read.contains(&path)) {
                bail!("{}: an input, which a result would replace; choose another --out, or --force", path.display());
            } else if path.symlink_metadata().is_ok() && !is_result(path) {
                bail!("{}: is there, and is no result of umedsam; --force replaces it", path.display());
            }
        }
    }
    fs::create_dir_all(folder).with_context(|| format!("{}: make folder", folder.display()))?;
    let names = outputs.iter().flat_map(Outputs::paths).filter_map(|path| path.file_name());
    if let Some(longest) = names.max_by_key(|name| name.len()) {
        probe(folder, longest).with_context(|| format!("{}: write", folder.join(longest).display()))?;
    }
    Ok(outputs)
}

/// Finds out whether a file of this name can be written, with room for what a temporary file's name has more.
fn probe(folder: &Path, name: &OsStr) -> io::Result<()> {
    let mut name = name.to_owned();
    name.push(format!(".{:024}.tmp", std::process::id()));
    let path = folder.join(name);
    File::create(&path)?;
    fs::remove_file(path)
}

/// Whether a file was written by this command: by its content, whatever its name.
pub(crate) fn is_result(path: &Path) -> bool {
    let segmentations: [fn(&Path) -> bool; 5] = [
        npz::is_segmentation,
        nifti::is_segmentation,
        dicom::is_segmentation,
        nrrd::is_segmentation,
        polygons::is_segmentation,
    ];
    path.is_file() && (is_png(path) || segmentations.iter().any(|is| is(path)))
}

fn is_png(path: &Path) -> bool {
    let reader = File::open(path).ok().and_then(|file| png::Decoder::new(BufReader::new(file)).read_info().ok());
    reader.is_some_and(|reader| {
        let mut texts = reader.info().uncompressed_latin1_text.iter();
        texts.any(|chunk| chunk.keyword == KEYWORD && chunk.text.starts_with(SOFTWARE))
    })
}

/// Writes a label map as a gray PNG whose values are the labels: 8 bits, or 16 for labels beyond 255.
pub(crate) fn write_labels(path: &Path, labels: &[u16], width: usize, height: usize) -> anyhow::Result<()> {
    if labels.iter().all(|&l| l <= 255) {
        let mut bytes = memory::with_room(labels.len())?;
        bytes.extend(labels.iter().map(|&l| l as u8));
        write_gray(path, &bytes, width, height)
    } else {
        let mut bytes = memory::with_room(2 * labels.len())?;
        bytes.extend(labels.iter().flat_map(|l| l.to_be_bytes()));
        write_png(path, &bytes, width, height, png::ColorType::Grayscale, png::BitDepth::Sixteen)
    }
}

/// Writes gray pixels of 8 bits as PNG.
pub(crate) fn write_gray(path: &Path, gray: &[u8], width: usize, height: usize) -> anyhow::Result<()> {
    write_png(path, gray, width, height, png::ColorType::Grayscale, png::BitDepth::Eight)
}

/// Writes RGB pixels of 8 bits as PNG.
pub(crate) fn write_rgb(path: &Path, rgb: &[u8], width: usize, height: usize) -> anyhow::Result<()> {
    write_png(path, rgb, width, height, png::ColorType::Rgb, png::BitDepth::Eight)
}

fn write_png(
    path: &Path,
    bytes: &[u8],
    width: usize,
    height: usize,
    color: png::ColorType,
    depth: png::BitDepth,
) -> anyhow::Result<()> {
    write_atomically(path, |file| Ok(encode(file, bytes, width, height, color, depth)?))
        .with_context(|| path.display().to_string())
}

/// RGB pixels of 8 bits as PNG.
pub(crate) fn rgb_png(rgb: &[u8], width: usize, height: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode(&mut bytes, rgb, width, height, png::ColorType::Rgb, png::BitDepth::Eight)?;
    Ok(bytes)
}

fn encode(
    file: impl io::Write,
    bytes: &[u8],
    width: usize,
    height: usize,
    color: png::ColorType,
    depth: png::BitDepth,
) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(file, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Adaptive);
    encoder.add_text_chunk(KEYWORD.into(), format!("{SOFTWARE}{}", env!("CARGO_PKG_VERSION")))?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()
}
