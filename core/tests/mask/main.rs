//! Masks cleaned, outlined and measured: shapes with known answers, and random ones against the plainest way to do it.

mod clean;
mod contours;
mod diameters;
mod measure;
mod naive;
mod shapes;
