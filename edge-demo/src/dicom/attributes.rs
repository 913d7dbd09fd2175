//! Values of elements, and where an enhanced multi-frame object keeps them.

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::elements::{Elements, Value};
use crate::read::Problem;

pub(super) fn name(tag: Tag) -> &'static str {
    StandardDataDictionary.by_tag(tag).map_or("an element", |entry| entry.alias())
}

/// The text of an element, or its numbers as text, if it is there and not empty.
pub(super) fn text(elements: &Elements, tag: Tag) -> Option<String> {
    match elements.get(tag)? {
        Value::Text(text) => (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned()),
        Value::Numbers(numbers) => {
            let texts: Vec<String> = numbers.iter().map(f64::to_string).collect();
            (!texts.is_empty()).then(|| texts.join("\\"))
        }
        Value::Items(_) => None,
    }
}

/// The numbers of an element, if it is there and not empty.
pub(super) fn numbers(elements: &Elements, tag: Tag) -> Result<Option<Vec<f64>>, Problem> {
    let wrong = |found: String| Problem::Field { field: name(tag), found, expected: "finite numbers" };
    let found = match elements.get(tag) {
        None => return Ok(None),
        Some(Value::Numbers(numbers)) => numbers.clone(),
        Some(Value::Text(text)) if text.iter().all(|b| matches!(b, b'\\' | b' ')) => return Ok(None),
        Some(Value::Text(text)) => {
            let text = String::from_utf8_lossy(text);
            let parsed: Result<_, _> = text.split('\\').map(|part| part.trim_matches(['\0', ' ']).parse()).collect();
            parsed.map_err(|_| wrong(format!("'{text}'")))?
        }
        Some(Value::Items(_)) => return Err(wrong("a sequence".into())),
    };
    if found.iter().any(|v| !v.is_finite()) {
        return Err(wrong(format!("{found:?}")));
    }
    Ok((!found.is_empty()).then_some(found))
}

pub(super) fn number(elements: &Elements, tag: Tag) -> Result<Option<f64>, Problem> {
    Ok(numbers(elements, tag)?.map(|v| v[0]))
}

/// So many numbers.
pub(super) fn array<const N: usize>(elements: &Elements, tag: Tag) -> Result<Option<[f64; N]>, Problem> {
    let Some(found) = numbers(elements, tag)? else { return Ok(None) };
    let expected = if N == 2 { "two numbers" } else { "three or six numbers" };
    match found.as_slice().try_into() {
        Ok(found) => Ok(Some(found)),
        Err(_) => Err(Problem::field(name(tag), format!("{found:?}"), expected)),
    }
}

/// A whole number from `low` to `high`.
pub(super) fn whole(
    elements: &Elements,
    tag: Tag,
    (low, high): (u32, u32),
    expected: &'static str,
) -> Result<Option<u32>, Problem> {
    let Some(found) = number(elements, tag)? else { return Ok(None) };
    if found.fract() == 0.0 && (f64::from(low)..=f64::from(high)).contains(&found) {
        Ok(Some(found as u32))
    } else {
        Err(Problem::field(name(tag), found, expected))
    }
}

/// The first item of a sequence.
pub(super) fn item(elements: &Elements, tag: Tag) -> Option<&Elements> {
    elements.items(tag).first()
}

/// Where an attribute of a frame is: in the item of that sequence among the frame's functional groups, else among the
/// shared ones, else at the top.
pub(super) fn group(elements: &Elements, frame: usize, sequence: Tag) -> &Elements {
    let own = elements.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(frame);
    let shared = item(elements, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    [own, shared].into_iter().flatten().find_map(|groups| item(groups, sequence)).unwrap_or(elements)
}
