//! Outlines of objects as polygons with holes.

use std::prelude::v1::*;

use super::components::{Components, Connectivity};
use super::label::Label;
use crate::{Error, VolumeSize, memory};

/// A corner of pixels: `x` columns from the left edge of the image and `y` rows from its upper edge. The pixel in column
/// `x` and row `y` reaches from corner (`x`, `y`) to (`x + 1`, `y + 1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Corner {
    /// Columns to its left.
    pub x: u32,
    /// Rows above it.
    pub y: u32,
}

/// A closed line of corners, which are neighbours in [`Contours`]' list.
#[derive(Clone, Copy, Debug)]
struct Ring {
    component: u32,
    start: usize,
    end: usize,
}

/// Outlines of the objects of an image; keeps its buffers.
///
/// A contour runs along the edges between an object's pixels and others, so that nothing is lost or rounded: the area of
/// a polygon less that of its holes is the number of its pixels. Each component is one polygon.
///
/// - Points are the corners at which the line turns; it goes from the last to the first. Consecutive points differ in one
///   coordinate, in `x` and `y` by turns.
/// - With `y` downwards, as in images, outer lines run clockwise and holes counterclockwise: the object is on the right.
///   By the shoelace formula outer lines have a positive area and holes a negative one.
/// - Where two pixels of an object touch by a corner alone, the line passes that corner twice. With
///   [`Connectivity::All`] they are one polygon, with [`Connectivity::Faces`] two, unless they hang together elsewhere.
///
/// Its memory is that of [`Components`], a bit a pixel, and 8 bytes for each point.
#[derive(Clone, Debug, Default)]
pub struct Contours {
    components: Components,
    /// Pixels along whose upper edge a contour runs that was traced: a bit each, row by row.
    traced: Vec<u32>,
    corners: Vec<Corner>,
    rings: Vec<Ring>,
}

/// The outline of a component.
#[derive(Clone, Copy, Debug)]
pub struct Polygon<'a> {
    label: u16,
    rings: &'a [Ring],
    corners: &'a [Corner],
}

impl<'a> Polygon<'a> {
    /// The object's label.
    pub const fn label(&self) -> u16 {
        self.label
    }

    /// The line around it, clockwise as seen in the image.
    pub fn outer(&self) -> &'a [Corner] {
        self.points(&self.rings[0])
    }

    /// The lines around its holes, counterclockwise, in the order of their first points.
    pub fn holes(&self) -> impl ExactSizeIterator<Item = &'a [Corner]> {
        let polygon = *self;
        self.rings[1..].iter().map(move |ring| polygon.points(ring))
    }

    /// The area within the outer line and without the holes, in pixels: the number of the component's pixels.
    pub fn area(&self) -> i64 {
        self.rings.iter().map(|ring| area(self.points(ring))).sum()
    }

    fn points(&self, ring: &Ring) -> &'a [Corner] {
        &self.corners[ring.start..ring.end]
    }
}

/// Area within a closed line by the shoelace formula: positive if it runs clockwise as seen in an image.
fn area(points: &[Corner]) -> i64 {
    let next = points.iter().cycle().skip(1);
    let twice: i64 =
        points.iter().zip(next).map(|(a, b)| i64::from(a.x) * i64::from(b.y) - i64::from(b.x) * i64::from(a.y)).sum();
    twice / 2
}

impl Contours {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self { components: Components::new(), traced: Vec::new(), corners: Vec::new(), rings: Vec::new() }
    }

    /// Bytes held by the buffers.
    pub fn capacity_bytes(&self) -> usize {
        self.components.capacity_bytes()
            + self.traced.capacity() * 4
            + self.corners.capacity() * size_of::<Corner>()
            + self.rings.capacity() * size_of::<Ring>()
    }

    /// Finds the outlines of all labels but 0 in an image or one slice of a volume.
    ///
    /// # Errors
    /// Those of [`Components::find`].
    pub fn find<T: Label>(
        &mut self,
        labels: &[T],
        width: usize,
        height: usize,
        connectivity: Connectivity,
    ) -> Result<(), Error> {
        self.rings.clear();
        self.corners.clear();
        self.components.find(labels, VolumeSize { depth: 1, height, width }, connectivity)?;
        self.traced.clear();
        let words = labels.len().div_ceil(32);
        memory::reserve(&mut self.traced, words)?;
        self.traced.resize(words, 0);
        let mut image = Tracing {
            labels,
            width,
            height,
            corners_join: connectivity == Connectivity::All,
            traced: &mut self.traced,
            points: &mut self.corners,
        };
        for y in 0..height {
            for (run, component) in self.components.in_row(y) {
                for x in run.first()..=run.last() {
                    if image.has_upper_edge(x, y) && !image.is_traced(x, y) {
                        let start = image.points.len();
                        image.trace(x, y)?;
                        memory::reserve(&mut self.rings, 1)?;
                        let end = image.points.len();
                        self.rings.push(Ring { component: component as u32, start, end });
                    }
                }
            }
        }
        // The first pixel of a component is on its outer line, so that this one comes first.
        self.rings.sort_unstable_by_key(|ring| (ring.component, ring.start));
        Ok(())
    }

    /// The outlines that were found last, one for each component, in the order of their first pixels.
    pub fn polygons(&self) -> impl Iterator<Item = Polygon<'_>> {
        self.rings.chunk_by(|a, b| a.component == b.component).map(|rings| Polygon {
            label: self.components.found()[rings[0].component as usize].label,
            rings,
            corners: &self.corners,
        })
    }
}

/// An image whose contours are followed.
struct Tracing<'a, T> {
    labels: &'a [T],
    width: usize,
    height: usize,
    /// Whether pixels that touch by a corner alone are connected.
    corners_join: bool,
    traced: &'a mut [u32],
    points: &'a mut Vec<Corner>,
}

/// The way along an edge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heading {
    East,
    South,
    West,
    North,
}

impl Heading {
    const fn to_the_right(self) -> Self {
        match self {
            Self::East => Self::South,
            Self::South => Self::West,
            Self::West => Self::North,
            Self::North => Self::East,
        }
    }

    const fn to_the_left(self) -> Self {
        match self {
            Self::East => Self::North,
            Self::South => Self::East,
            Self::West => Self::South,
            Self::North => Self::West,
        }
    }
}

impl<T: Label> Tracing<'_, T> {
    /// Whether the pixel above differs from this one.
    fn has_upper_edge(&self, x: usize, y: usize) -> bool {
        y == 0 || self.labels[(y - 1) * self.width + x] != self.labels[y * self.width + x]
    }

    fn is_traced(&self, x: usize, y: usize) -> bool {
        let pixel = y * self.width + x;
        self.traced[pixel / 32] >> (pixel % 32) & 1 == 1
    }

    /// Follows the contour that runs along the upper edge of a pixel, from its left corner.
    fn trace(&mut self, x: usize, y: usize) -> Result<(), Error> {
        let label = self.labels[y * self.width + x];
        let start = (x, y);
        let (mut x, mut y, mut heading) = (x, y, Heading::East);
        // It starts with a turn: were there an edge straight before it, this contour would have been met there.
        loop {
            memory::reserve(self.points, 1)?;
            self.points.push(Corner { x: x as u32, y: y as u32 });
            heading = self.follow(&mut x, &mut y, heading, label);
            if (x, y) == start && heading == Heading::East {
                return Ok(());
            }
        }
    }

    /// Goes straight on to the next turn, and returns the heading after it.
    fn follow(&mut self, x: &mut usize, y: &mut usize, heading: Heading, label: T) -> Heading {
        loop {
            if heading == Heading::East {
                let pixel = *y * self.width + *x;
                self.traced[pixel / 32] |= 1 << (pixel % 32);
            }
            match heading {
                Heading::East => *x += 1,
                Heading::South => *y += 1,
                Heading::West => *x -= 1,
                Heading::North => *y -= 1,
            }
            // The pixels ahead, on both sides of the way; left of column 0 lies column -1.
            let (west, north) = (x.wrapping_sub(1), y.wrapping_sub(1));
            let [left, right] = match heading {
                Heading::East => [(*x, north), (*x, *y)],
                Heading::South => [(*x, *y), (west, *y)],
                Heading::West => [(west, *y), (west, north)],
                Heading::North => [(west, north), (*x, north)],
            };
            let is_object =
                |(x, y): (usize, usize)| x < self.width && y < self.height && self.labels[y * self.width + x] == label;
            match (is_object(left), is_object(right)) {
                (false, true) => {}
                (true, true) => return heading.to_the_left(),
                (true, false) if self.corners_join => return heading.to_the_left(),
                (_, false) => return heading.to_the_right(),
            }
        }
    }
}
