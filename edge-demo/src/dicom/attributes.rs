//! Values of elements, and where an enhanced multi-frame object keeps them.

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;

use crate::read::Problem;

pub(super) fn name(tag: Tag) -> &'static str {
    StandardDataDictionary.by_tag(tag).map_or("an element", |entry| entry.alias())
}

/// The text of an element without padding, if it is there and not empty.
pub(super) fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let text = object.get(tag)?.to_str().ok()?;
    let text = text.trim_matches(['\0', ' ']);
    (!text.is_empty()).then(|| text.to_string())
}

/// The numbers of an element, if it is there and not empty.
pub(super) fn numbers(object: &InMemDicomObject, tag: Tag) -> Result<Option<Vec<f64>>, Problem> {
    let Some(element) = object.get(tag) else { return Ok(None) };
    let wrong = |found: String| Problem::Field { field: name(tag), found, expected: "numbers" };
    let empty = |text: &str| text.trim_matches(['\0', ' ', '\\']).is_empty();
    if element.to_str().is_ok_and(|text| empty(&text)) {
        return Ok(None);
    }
    let found = element.to_multi_float64().map_err(|_| wrong(element.to_str().unwrap_or_default().into_owned()))?;
    if found.iter().any(|v| !v.is_finite()) {
        return Err(wrong(format!("{found:?}")));
    }
    Ok((!found.is_empty()).then_some(found))
}

pub(super) fn number(object: &InMemDicomObject, tag: Tag) -> Result<Option<f64>, Problem> {
    Ok(numbers(object, tag)?.map(|v| v[0]))
}

/// So many numbers.
pub(super) fn array<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Result<Option<[f64; N]>, Problem> {
    let Some(found) = numbers(object, tag)? else { return Ok(None) };
    match found.as_slice().try_into() {
        Ok(found) => Ok(Some(found)),
        Err(_) => Err(Problem::field(name(tag), format!("{found:?}"), if N == 2 { "two numbers" } else { "three or six numbers" })),
    }
}

/// A whole number from `low` to `high`.
pub(super) fn whole(
    object: &InMemDicomObject,
    tag: Tag,
    (low, high): (u32, u32),
    expected: &'static str,
) -> Result<Option<u32>, Problem> {
    let Some(found) = number(object, tag)? else { return Ok(None) };
    if found.fract() == 0.0 && (f64::from(low)..=f64::from(high)).contains(&found) {
        Ok(Some(found as u32))
    } else {
        Err(Problem::field(name(tag), found, expected))
    }
}

/// The first item of a sequence.
pub(super) fn item(object: &InMemDicomObject, tag: Tag) -> Option<&InMemDicomObject> {
    object.get(tag)?.items()?.first()
}

/// Where an attribute of a frame is: in the item of that sequence among the frame's functional groups, else among the
/// shared ones, else at the top.
pub(super) fn group(object: &InMemDicomObject, frame: usize, sequence: Tag) -> &InMemDicomObject {
    let own = object.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).and_then(|e| e.items()?.get(frame));
    let shared = item(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    [own, shared].into_iter().flatten().find_map(|groups| item(groups, sequence)).unwrap_or(object)
}
