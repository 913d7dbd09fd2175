//! The record of what was done to intensities.

use std::fmt;
use std::prelude::v1::*;

use super::NumberType;

/// What was done to the values of a file to make the 8 bits that the network is given. `Display` puts it in words.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Intake {
    /// The number type that the file stores them in.
    pub number_type: NumberType,
    /// What was done, in order; empty if the values were taken as they are.
    pub steps: Vec<Step>,
}

/// One step of an [`Intake`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "step", rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Step {
    /// Values were mapped linearly from `low..=high` to 0..=255, and those beyond were clipped.
    Window {
        /// How the two bounds were found.
        rule: Rule,
        /// The value that became 0.
        low: f64,
        /// The value that became 255.
        high: f64,
    },
    /// The image was mirrored or rotated as the orientation in its file asks.
    Orientation {
        /// The orientation in the numbers of EXIF and TIFF, 2 to 8.
        exif: u8,
    },
    /// The opacity (alpha) channel was dropped.
    AlphaDropped,
    /// Only the first of several images in the file was read.
    FirstImageOnly,
}

/// How the bounds of a window were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Rule {
    /// The window was given by its level and width.
    Level,
    /// They are the 0.5th and 99.5th percentile of the non-zero values; zeros stayed 0.
    Percentile,
    /// They are the same percentiles of the non-zero values, some of which are negative, so that zero was mapped like
    /// any other value.
    SignedPercentile,
    /// They are the least and the greatest value, because the two percentiles are equal.
    Range,
}

impl Intake {
    /// The record of values of this type to which nothing was done yet.
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
