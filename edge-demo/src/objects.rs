//! What is told of the objects of a label map.

use std::str::FromStr;

/// Colours that stay apart for most kinds of colour vision (Okabe and Ito), one an object, over and over.
const COLOURS: [[u8; 3]; 7] =
    [[86, 180, 233], [230, 159, 0], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167], [0, 114, 178]];

/// The colour of a label, RGB.
pub fn colour(label: u16) -> [u8; 3] {
    COLOURS[(usize::from(label) + COLOURS.len() - 1) % COLOURS.len()]
}

/// A coded concept, such as SCT, 10200004, Liver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Code {
    /// The coding scheme: `SCT` for SNOMED CT.
    pub scheme: String,
    /// The code in it.
    pub value: String,
    /// What it means, in words.
    pub meaning: String,
}

/// Characters of a scheme and of a code, and of a meaning or name, at most, as DICOM has it.
const SHORT: usize = 16;
const LONG: usize = 64;

impl FromStr for Code {
    type Err = String;

    /// `SCHEME:CODE:MEANING`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':').map(str::trim);
        let (Some(scheme), Some(value), Some(meaning)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(format!("'{text}': SCHEME:CODE:MEANING expected, such as SCT:10200004:Liver"));
        };
        for (what, part, most) in [("scheme", scheme, SHORT), ("code", value, SHORT), ("meaning", meaning, LONG)] {
            check(what, part, most)?;
        }
        Ok(Self { scheme: scheme.into(), value: value.into(), meaning: meaning.into() })
    }
}

/// Checks a name for an object: DICOM takes 1 to 64 characters, of which none is a backslash or a line break. They are of
/// ASCII here, as segmentations have the character set of their images.
///
/// # Errors
/// What is wrong, in words.
pub fn check_name(text: &str) -> Result<(), String> {
    check("name", text, LONG)
}

fn check(what: &str, text: &str, most: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > most {
        return Err(format!("a {what} of {} characters, '{text}'; 1 to {most} expected", text.chars().count()));
    }
    match text.chars().find(|c| !matches!(c, ' '..='~') || *c == '\\') {
        Some(c) => Err(format!("the {what} '{text}' has the character {c:?}; those of ASCII but \\ are expected")),
        None => Ok(()),
    }
}

/// An object of a label map.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Its value in the label map.
    pub label: u16,
    /// Its name.
    pub name: Option<String>,
    /// What it is.
    pub code: Option<Code>,
}

impl Object {
    /// An object of which nothing else is told.
    pub const fn new(label: u16) -> Self {
        Self { label, name: None, code: None }
    }

    /// Sets its name, which [`check_name`] takes.
    #[must_use]
    pub fn with_name(self, name: impl Into<Option<String>>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Sets what it is.
    #[must_use]
    pub fn with_code(self, code: impl Into<Option<Code>>) -> Self {
        Self { code: code.into(), ..self }
    }

    /// Its name, else what it is, else its number.
    pub fn title(&self) -> String {
        let meaning = self.code.as_ref().map(|code| &code.meaning);
        self.name.as_ref().or(meaning).cloned().unwrap_or_else(|| format!("object {}", self.label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_are_what_dicom_takes() {
        let liver: Code = "SCT:10200004: Liver: whole".parse().unwrap();
        assert_eq!((&liver.scheme[..], &liver.value[..], &liver.meaning[..]), ("SCT", "10200004", "Liver: whole"));
        for wrong in
            ["SCT:1", ":1:Liver", "SCT::Liver", "SCT:1:", "SCT:12345678901234567:x", "SCT:1:a\\b", "SCT:1:Müller"]
        {
            assert!(wrong.parse::<Code>().is_err(), "{wrong}");
        }
        assert!(
            check_name(&"n".repeat(64)).is_ok() && check_name(&"n".repeat(65)).is_err() && check_name("a\n").is_err()
        );
        let object = Object::new(3);
        assert_eq!(object.title(), "object 3");
        assert_eq!(object.clone().with_code(liver.clone()).title(), "Liver: whole");
        assert_eq!(object.with_code(liver).with_name("left lobe".to_string()).title(), "left lobe");
    }
}
