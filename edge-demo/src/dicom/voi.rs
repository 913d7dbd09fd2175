//! How a file wants its values shown.

use dicom_dictionary_std::tags;

use super::attributes::{group, item, numbers, text, whole};
use super::elements::Elements;
use super::image::Format;
use super::modality::{Modality, Table, clean};
use crate::read::Problem;
use crate::scan::{Display, FileWindow};

/// The first window of a frame, else its table; whether low values are bright; and padding.
pub(super) fn display(
    elements: &Elements,
    format: &Format,
    frame: usize,
    modality: &Modality,
) -> Result<Display, Problem> {
    let groups = group(elements, frame, tags::FRAME_VOILUT_SEQUENCE);
    let center = numbers(groups, tags::WINDOW_CENTER)?;
    let width = numbers(groups, tags::WINDOW_WIDTH)?;
    let window = match (center, width, item(elements, tags::VOILUT_SEQUENCE)) {
        (Some(center), Some(width), _) => {
            let (center, width) = (center[0], width[0]);
            match text(groups, tags::VOILUT_FUNCTION).as_deref() {
                Some("SIGMOID") => Some(FileWindow::Sigmoid { center, width }),
                Some("LINEAR_EXACT") => Some(FileWindow::Linear(center - width / 2.0, center + width / 2.0)),
                // The standard's LINEAR: from c - 0.5 - (w - 1) / 2 on, to c - 0.5 + (w - 1) / 2.
                _ => Some(FileWindow::Linear(center - 0.5 - (width - 1.0) / 2.0, center - 0.5 + (width - 1.0) / 2.0)),
            }
        }
        (_, _, Some(table)) => {
            let Table { first, bits, entries } = Table::read(table, format.signed)?;
            Some(FileWindow::Table { first, shown: entries.iter().map(|&v| (v >> (bits - 8)) as u8).collect() })
        }
        _ => None,
    };
    // A window of width 1 or less is a threshold, and one without a width is none.
    let window = window.filter(|w| match w {
        FileWindow::Linear(low, high) => high > low,
        FileWindow::Sigmoid { width, .. } => *width > 0.0,
        FileWindow::Table { .. } => true,
    });
    let value = |tag| -> Result<Option<f64>, Problem> {
        let all = numbers(elements, tag)?.and_then(|v| v.first().copied());
        Ok(all.map(|v| modality.apply(clean(v as i64, format, Some(format.stored)))))
    };
    let gray = format.photometric.starts_with("MONOCHROME");
    let first = value(tags::PIXEL_PADDING_VALUE)?.filter(|_| gray);
    let last = value(tags::PIXEL_PADDING_RANGE_LIMIT)?;
    let padding = first.map(|first| {
        let last = last.unwrap_or(first);
        (first.min(last), first.max(last))
    });
    let inverted = format.photometric == "MONOCHROME1"
        || format.photometric == "MONOCHROME2"
            && text(elements, tags::PRESENTATION_LUT_SHAPE).as_deref() == Some("INVERSE");
    Ok(Display { window, inverted, padding })
}

/// Whether the pixels went through a lossy compression.
pub(super) fn lossy(elements: &Elements) -> Result<bool, Problem> {
    Ok(whole(elements, tags::LOSSY_IMAGE_COMPRESSION, (0, 1), "00 or 01")? == Some(1))
}
