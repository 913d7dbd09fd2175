//! From the places of slices to one volume.

use super::plane::Plane;
use crate::scan::{Affine, Applied, length, minus, times};

/// The order of slices, and where they lie (in LPS).
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub(super) order: Vec<usize>,
    pub(super) affine: Affine,
    pub(super) notes: Vec<Applied>,
}

/// Closest that two slices may be, in mm.
const SAME: f64 = 0.01;

/// Places along the normal in order, and which slice has each.
fn sorted(planes: &[&Plane]) -> Vec<(f64, usize)> {
    let normal = planes[0].normal();
    let mut places: Vec<(f64, usize)> = planes.iter().enumerate().map(|(i, p)| (p.along(normal), i)).collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    places
}

/// Whether two slices are at the same place.
pub(super) fn doubled(planes: &[&Plane]) -> Option<(usize, usize)> {
    let places = sorted(planes);
    places.windows(2).find(|w| w[1].0 - w[0].0 < SAME).map(|w| (w[0].1, w[1].1))
}

/// Puts slices that are parallel in order of their places along the normal. The distance is what the places say, whatever
/// the files say of it.
///
/// # Errors
/// Why they make no volume, with the slices' indices in `name`'s words.
pub(super) fn stack(
    planes: &[&Plane],
    thickness: f64,
    gaps: bool,
    name: impl Fn(usize) -> String,
) -> Result<Stack, String> {
    let first = planes[0];
    let places = sorted(planes);
    if let Some((a, b)) = doubled(planes) {
        let (at, a, b) = (planes[a].along(first.normal()), name(a), name(b));
        return Err(format!("two slices at {at:.3} mm along the normal, {a} and {b}, which nothing tells apart"));
    }
    let order: Vec<usize> = places.iter().map(|p| p.1).collect();
    let (bottom, top) = (planes[order[0]], planes[order[order.len() - 1]]);
    let mut notes = Vec::new();
    let mut step = times(first.normal(), thickness);
    if order.len() > 1 {
        let mut distances: Vec<f64> = places.windows(2).map(|w| w[1].0 - w[0].0).collect();
        let gap = places.windows(2).max_by(|a, b| (a[1].0 - a[0].0).total_cmp(&(b[1].0 - b[0].0)));
        distances.sort_by(f64::total_cmp);
        let median = distances[distances.len() / 2];
        let (least, greatest) = (distances[0], distances[distances.len() - 1]);
        step = times(minus(top.position, bottom.position), 1.0 / (order.len() - 1) as f64);
        if let Some(gap) = gap.filter(|_| greatest > 1.5 * median) {
            let (below, above) = (name(gap[0].1), name(gap[1].1));
            let words = format!("{greatest:.3} mm between {below} and {above} where {median:.3} mm is usual");
            if !gaps {
                return Err(format!("slices are missing: {words} (--gaps reads it all the same)"));
            }
            let way = minus(top.position, bottom.position);
            step = times(way, median / (places[places.len() - 1].0 - places[0].0));
            notes.push(Applied::Gap { distance: greatest, usual: median, between: [below, above] });
        }
        notes.push(Applied::Sorted { slices: order.len(), spacing: median, least, greatest });
        notes.extend(lateral(planes, &order, step));
    }
    let rows = [0, 1, 2].map(|i| {
        let (x, y) = (bottom.row[i] * bottom.pixel[0], bottom.column[i] * bottom.pixel[1]);
        [x, y, step[i], bottom.position[i]]
    });
    Ok(Stack { order, affine: Affine(rows), notes })
}

/// Notes of slices that are not one above the other.
fn lateral(planes: &[&Plane], order: &[usize], step: [f64; 3]) -> Vec<Applied> {
    let (first, mut notes) = (planes[order[0]], Vec::new());
    let normal = first.normal();
    let cosine = (crate::scan::dot(step, normal) / length(step)).clamp(-1.0, 1.0);
    let degrees = cosine.acos().to_degrees();
    if degrees > 0.1 {
        notes.push(Applied::Tilt { degrees });
    }
    let off = |(i, &slice): (usize, &usize)| {
        let expected = [0, 1, 2].map(|k| first.position[k] + i as f64 * step[k]);
        length(minus(planes[slice].position, expected))
    };
    let worst = order.iter().enumerate().map(off).fold(0.0, f64::max);
    if worst > SAME.max(0.01 * length(step)) {
        notes.push(Applied::Note(format!("slices are up to {worst:.3} mm from where even steps would put them")));
    }
    notes
}
