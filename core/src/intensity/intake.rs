//! What was done to values on their way in.

use std::fmt;
use std::prelude::v1::*;

use super::NumberType;

/// What was done to the values of a file until they were the 8 bits that the network is given, for people and machines.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Intake {
    /// How the file stores them.
    pub number_type: NumberType,
    /// What was done, in order; nothing where they were taken as they are.
    pub steps: Vec<Step>,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "step", rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Step {
    /// `low` became 0 and `high` 255, linearly; what lies beyond was cut off.
    Window {
        /// How the two were found.
        rule: Rule,
        /// The value that became 0.
        low: f64,
        /// The value that became 255.
        high: f64,
    },
    /// The image was mirrored or turned as its file says that it is to be shown.
    Orientation {
        /// The orientation by EXIF (and TIFF), 2 to 8.
        exif: u8,
    },
    /// Opacity was left out.
    AlphaDropped,
    /// Of a file of several images only the first was read.
    FirstImageOnly,
}

/// How a window was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Rule {
    /// It was given by its level and width.
    Level,
    /// The 0.5th and 99.5th percentile of the non-zero values; zeros stayed 0.
    Percentile,
    /// The same percentiles, but among negative values, where zero is a value like any other.
    SignedPercentile,
    /// The least and the largest value, because both percentiles were the same.
    Range,
}

impl Intake {
    /// Values of this type, taken as they are so far.
    pub const fn new(number_type: NumberType) -> Self {
        Self { number_type, steps: Vec::new() }
    }
}

impl fmt::Display for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number_type)?;
        if self.steps.is_empty() {
            return f.write_str(", as they are");
        }
        self.steps.iter().try_for_each(|step| write!(f, ", {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window { rule, low, high } => {
                let (low, high) = (crate::error::Plain(*low), crate::error::Plain(*high));
                write!(f, "window {low} to {high} ({rule})")
            }
            Self::Orientation { exif } => write!(f, "turned as shown (EXIF orientation {exif})"),
            Self::AlphaDropped => f.write_str("without opacity"),
            Self::FirstImageOnly => f.write_str("first of several images"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Level => "as given",
            Self::Percentile => "0.5th to 99.5th percentile of the non-zero values, 0 stays 0",
            Self::SignedPercentile => "0.5th to 99.5th percentile of the non-zero values",
            Self::Range => "least to largest value",
        })
    }
}
