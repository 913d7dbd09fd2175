//! Bringing intensities of more than 8 bits to the 0..=255 that the network was trained on.
//!
//! Follows the challenge's preparation: CT is clipped to a window in Hounsfield units; other modalities to the 0.5th
//! and 99.5th percentile of their non-zero values, and zeros stay zero.

use std::prelude::v1::*;

use crate::Error;

/// Which intensities become 0 and 255.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Window {
    /// From `level - width / 2` to `level + width / 2`, in the units of the values (Hounsfield units for CT).
    Level {
        /// Centre.
        level: f32,
        /// Width, above 0.
        width: f32,
    },
    /// From the 0.5th to the 99.5th percentile of the non-zero values.
    Percentile,
}

impl Window {
    /// Abdomen: width 400, level 40 HU.
    pub const ABDOMEN: Self = Self::Level { level: 40.0, width: 400.0 };
    /// Lung: width 1500, level -600 HU.
    pub const LUNG: Self = Self::Level { level: -600.0, width: 1500.0 };
    /// Brain: width 80, level 40 HU.
    pub const BRAIN: Self = Self::Level { level: 40.0, width: 80.0 };
    /// Mediastinum: width 350, level 50 HU.
    pub const MEDIASTINUM: Self = Self::Level { level: 50.0, width: 350.0 };
    /// Bone: width 1800, level 400 HU.
    pub const BONE: Self = Self::Level { level: 400.0, width: 1800.0 };
}

/// Brings finite values to 0..=255 by the window; a slice, an image or a whole volume at a time.
pub fn to_u8(values: &[f32], window: Window) -> Result<Vec<u8>, Error> {
    if let Some((index, &value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(Error::PixelNotFinite { index, value });
    }
    let (low, high) = match window {
        Window::Level { level, width } => (level - width / 2.0, level + width / 2.0),
        Window::Percentile => {
            let mut sorted: Vec<f32> = values.iter().copied().filter(|&v| v != 0.0).collect();
            if sorted.is_empty() {
                return Ok(vec![0; values.len()]);
            }
            sorted.sort_unstable_by(f32::total_cmp);
            (percentile(&sorted, 0.005), percentile(&sorted, 0.995))
        }
    };
    // Widened, so that the range of extreme finite values does not overflow.
    let (low, range) = (f64::from(low), (f64::from(high) - f64::from(low)).max(f64::MIN_POSITIVE));
    let keep_zero = window == Window::Percentile;
    let level = |v: f32| {
        if keep_zero && v == 0.0 { 0 } else { (((f64::from(v) - low) / range).clamp(0.0, 1.0) * 255.0) as u8 }
    };
    Ok(values.iter().map(|&v| level(v)).collect())
}

/// Linear interpolation between order statistics, as numpy's default.
fn percentile(sorted: &[f32], q: f64) -> f32 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let fraction = position - below as f64;
    (f64::from(sorted[below]) * (1.0 - fraction) + f64::from(sorted[above]) * fraction) as f32
}
