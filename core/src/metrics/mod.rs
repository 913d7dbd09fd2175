//! How well a segmentation agrees with the truth: the Dice similarity coefficient (DSC) and the normalised surface Dice
//! (NSD).
//!
//! Surface measures equal those of DeepMind's surface-distance (`compute_surface_dice_at_tolerance`) to the last bits
//! of f64. There are two conventions of the NSD, because that of the challenge's published tables differs from the
//! definition: see [`Convention`].

mod bootstrap;
mod calibration;
mod case;
mod compare;
mod coverage;
mod distance;
mod parallel;
mod report;
mod surface;
mod surfels;

pub use calibration::Calibration;
pub use case::{Convention, LabelScore, TOLERANCE, label_dice, mean, score_case};
pub use compare::{Comparison, Difference, Interval, RESAMPLES, RowDifference, RowTrials, Trials};
pub use coverage::RiskCoverage;
pub use distance::squared_distances;
pub use parallel::on_all_cores;
pub use report::{CaseScore, Report, Row, group, patient, source};
pub use surface::{contour_dice, surface_dice};

/// Dice similarity coefficient `2 |A and B| / (|A| + |B|)` of two sets of these sizes; `None` if both are empty.
pub fn dice(intersection: usize, a: usize, b: usize) -> Option<f64> {
    (a + b > 0).then(|| 2.0 * intersection as f64 / (a + b) as f64)
}
