//! The longest diameter of an object in a slice, and the longest one at a right angle to it.

use std::prelude::v1::*;

use super::contours::Corner;
use super::spacing::Spacing;
use crate::{Error, memory};

/// Lengths that differ by less than this share of themselves are equal: f64 cannot tell more once a square root is taken
/// and a direction divided by its length.
const EQUAL: f64 = 1e-9;

/// A straight line from one point of an object to another.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Diameter {
    /// Its start, x and y as those of a [`Corner`].
    pub from: [f64; 2],
    /// Its end.
    pub to: [f64; 2],
    /// Its length in the unit of the spacing (mm).
    pub length: f64,
}

/// The two diameters by which a lesion is measured.
///
/// The object is taken as the area of its pixels, each a rectangle of the spacing's size, borders included.
///
/// - `longest` is the longest of all lines between two points of the object; its ends are corners of pixels. A single
///   pixel has its diagonal, a row of 10 pixels of 1 mm has 10.05 mm.
/// - `perpendicular` is the longest of all lines between two points of the object at a right angle to `longest`. It need
///   not cross it.
///
/// Both may leave the object in between, as a caliper's do. Of several longest lines (a rectangle has two) the one with the
/// longer perpendicular is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Diameters {
    /// The longest diameter.
    pub longest: Diameter,
    /// The longest one at a right angle to it.
    pub perpendicular: Diameter,
}

impl Diameters {
    /// Whether these are to be preferred: a longer diameter, or an equal one with a longer perpendicular.
    pub(super) fn exceeds(&self, other: &Self) -> bool {
        let (a, b) = (self.longest.length, other.longest.length);
        a > b * (1.0 + EQUAL)
            || a >= b * (1.0 - EQUAL) && self.perpendicular.length > other.perpendicular.length * (1.0 + EQUAL)
    }
}

/// Measures diameters; keeps its buffers.
///
/// Its memory is about 70 bytes for each point of the outline.
#[derive(Clone, Debug, Default)]
pub struct Calipers {
    sorted: Vec<Corner>,
    hull: Vec<Corner>,
    edges: Vec<Edge>,
    stations: Vec<f64>,
    crossing: Vec<usize>,
}

/// An edge of an outline seen along a diameter: both ends' place along it and height above it, the lower place first.
#[derive(Clone, Copy, Debug)]
struct Edge {
    start: [f64; 2],
    end: [f64; 2],
}

impl Edge {
    /// The heights at which the edge is at this place, or nearest to it.
    fn heights(&self, place: f64, slack: f64) -> [f64; 2] {
        let ([a, low], [b, high]) = (self.start, self.end);
        if b - a <= 2.0 * slack {
            return [low, high];
        }
        let share = ((place - a) / (b - a)).clamp(0.0, 1.0);
        [low + (high - low) * share; 2]
    }
}

impl Calipers {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self { sorted: Vec::new(), hull: Vec::new(), edges: Vec::new(), stations: Vec::new(), crossing: Vec::new() }
    }

    /// Bytes held by the buffers.
    pub fn capacity_bytes(&self) -> usize {
        (self.sorted.capacity() + self.hull.capacity()) * size_of::<Corner>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.stations.capacity() * 8
            + self.crossing.capacity() * size_of::<usize>()
    }

    /// The diameters of the object within a closed line, such as a polygon's [`outer`](super::Polygon::outer) one;
    /// nothing if there are no points.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn measure(&mut self, outline: &[Corner], spacing: &Spacing) -> Result<Option<Diameters>, Error> {
        self.measure_from(0.0, outline, spacing)
    }

    /// As [`measure`](Self::measure), but nothing if the longest diameter is shorter than `least`.
    pub(super) fn measure_from(
        &mut self,
        least: f64,
        outline: &[Corner],
        spacing: &Spacing,
    ) -> Result<Option<Diameters>, Error> {
        if outline.is_empty() {
            return Ok(None);
        }
        self.find_hull(outline)?;
        let squared = |a: &Corner, b: &Corner| {
            let x = (f64::from(a.x) - f64::from(b.x)) * spacing.x();
            let y = (f64::from(a.y) - f64::from(b.y)) * spacing.y();
            x * x + y * y
        };
        let mut longest = 0.0f64;
        for (i, a) in self.hull.iter().enumerate() {
            longest = self.hull[i + 1..].iter().map(|b| squared(a, b)).fold(longest, f64::max);
        }
        if longest < least * least * (1.0 - 2.0 * EQUAL) {
            return Ok(None);
        }
        let equal = longest * (1.0 - 2.0 * EQUAL);
        let mut best: Option<Diameters> = None;
        for i in 0..self.hull.len() {
            for j in i + 1..self.hull.len() {
                let (a, b) = (self.hull[i], self.hull[j]);
                if squared(&a, &b) >= equal {
                    let found = self.across(outline, a, b, spacing)?;
                    if best.is_none_or(|best| found.exceeds(&best)) {
                        best = Some(found);
                    }
                }
            }
        }
        Ok(best)
    }

    /// The corners of the convex hull, by Andrew's monotone chain.
    fn find_hull(&mut self, outline: &[Corner]) -> Result<(), Error> {
        self.sorted.clear();
        memory::reserve(&mut self.sorted, outline.len())?;
        self.sorted.extend_from_slice(outline);
        self.sorted.sort_unstable();
        self.sorted.dedup();
        self.hull.clear();
        memory::reserve(&mut self.hull, 2 * self.sorted.len())?;
        let turns_right = |a: Corner, b: Corner, c: Corner| {
            let [ax, ay, bx, by, cx, cy] = [a.x, a.y, b.x, b.y, c.x, c.y].map(i64::from);
            (bx - ax) * (cy - ay) > (by - ay) * (cx - ax)
        };
        let hull = &mut self.hull;
        let mut add = |point: Corner, floor: usize| {
            while hull.len() >= floor + 2 && !turns_right(hull[hull.len() - 2], hull[hull.len() - 1], point) {
                hull.pop();
            }
            hull.push(point);
            hull.len()
        };
        let mut len = 0;
        for &point in &self.sorted {
            len = add(point, 0);
        }
        for &point in self.sorted.iter().rev().skip(1) {
            add(point, len - 1);
        }
        // The way back ends where it began.
        if self.hull.len() > 1 {
            self.hull.pop();
        }
        Ok(())
    }

    /// The diameter from `a` to `b` and the longest line across it.
    ///
    /// The greatest distance of two points on a line across lies at the place of a corner of the outline, since between
    /// corners it changes linearly. The lines through all corners are visited in order, with the edges that they cross.
    fn across(&mut self, outline: &[Corner], a: Corner, b: Corner, spacing: &Spacing) -> Result<Diameters, Error> {
        let from = [f64::from(a.x), f64::from(a.y)];
        let to = [f64::from(b.x), f64::from(b.y)];
        let (dx, dy) = ((to[0] - from[0]) * spacing.x(), (to[1] - from[1]) * spacing.y());
        let length = libm::sqrt(dx * dx + dy * dy);
        let longest = Diameter { from, to, length };
        if length == 0.0 {
            return Ok(Diameters { longest, perpendicular: longest });
        }
        let (ux, uy) = (dx / length, dy / length);
        let seen = |c: &Corner| {
            let (x, y) = ((f64::from(c.x) - from[0]) * spacing.x(), (f64::from(c.y) - from[1]) * spacing.y());
            [x * ux + y * uy, y * ux - x * uy]
        };
        self.edges.clear();
        self.stations.clear();
        memory::reserve(&mut self.edges, outline.len())?;
        memory::reserve(&mut self.stations, outline.len())?;
        for (p, q) in outline.iter().zip(outline.iter().cycle().skip(1)) {
            let (p, q) = (seen(p), seen(q));
            self.stations.push(p[0]);
            self.edges.push(if p[0] <= q[0] { Edge { start: p, end: q } } else { Edge { start: q, end: p } });
        }
        self.stations.sort_unstable_by(f64::total_cmp);
        self.edges.sort_unstable_by(|a, b| a.start[0].total_cmp(&b.start[0]));
        self.crossing.clear();
        memory::reserve(&mut self.crossing, outline.len())?;
        let slack = length * EQUAL;
        let (mut next, mut best) = (0, [0.0, 0.0, 0.0]);
        for &place in &self.stations {
            while next < self.edges.len() && self.edges[next].start[0] <= place + slack {
                self.crossing.push(next);
                next += 1;
            }
            self.crossing.retain(|&edge| self.edges[edge].end[0] >= place - slack);
            let heights = self.crossing.iter().flat_map(|&edge| self.edges[edge].heights(place, slack));
            let (low, high) = heights.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
            if high - low > best[2] - best[1] {
                best = [place, low, high];
            }
        }
        let [place, low, high] = best;
        let point = |height: f64| {
            [from[0] + (place * ux - height * uy) / spacing.x(), from[1] + (place * uy + height * ux) / spacing.y()]
        };
        let perpendicular = Diameter { from: point(low), to: point(high), length: high - low };
        Ok(Diameters { longest, perpendicular })
    }
}
