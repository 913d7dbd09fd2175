//! Outlines of objects for programs that draw: GeoJSON (QuPath among others) and COCO.

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use umedsam::Error;
use umedsam::files::write_atomically;
use umedsam::mask::{Connectivity, Contours, Corner};

use crate::objects::{Object, colour};

/// What the files written here begin with, by which they are known again.
const GENERATOR: &str = concat!("umedsam ", env!("CARGO_PKG_VERSION"));
const STARTS: [&str; 2] = ["{\"generator\":\"umedsam ", "{\"info\":{\"description\":\"umedsam "];

/// Writes the outlines of an image's objects as GeoJSON: a feature for each object that has a pixel, a polygon or several
/// with their holes, in pixels from the image's upper left corner, along the edges of the pixels, so that nothing is lost.
///
/// # Errors
/// The system's, and those of [`Contours::find`] as [`io::ErrorKind::InvalidInput`].
pub fn write_geojson(path: &Path, labels: &[u16], width: usize, height: usize, objects: &[Object]) -> io::Result<()> {
    let shapes = shapes(labels, width, height).map_err(invalid)?;
    let features: Vec<Value> = objects
        .iter()
        .filter_map(|object| {
            let own: Vec<&Shape> = shapes.iter().filter(|shape| shape.label == object.label).collect();
            let rings = |shape: &Shape| shape.rings.iter().map(|ring| closed(ring)).collect::<Vec<_>>();
            let geometry = match &own[..] {
                [] => return None,
                [one] => json!({ "type": "Polygon", "coordinates": rings(one) }),
                several => {
                    let all: Vec<_> = several.iter().map(|shape| rings(shape)).collect();
                    json!({ "type": "MultiPolygon", "coordinates": all })
                }
            };
            let size: i64 = own.iter().map(|shape| shape.pixels).sum();
            let code = object.code.as_ref();
            let code = code.map(|c| json!({ "scheme": c.scheme, "code": c.value, "meaning": c.meaning }));
            Some(json!({
                "type": "Feature",
                "geometry": geometry,
                "properties": {
                    "objectType": "annotation",
                    "classification": { "name": object.title(), "color": colour(object.label) },
                    "label": object.label,
                    "pixels": size,
                    "code": code,
                },
            }))
        })
        .collect();
    let features = serde_json::to_string(&features)?;
    write_atomically(path, |file| {
        write!(file, "{{\"generator\":\"{GENERATOR}\",\"type\":\"FeatureCollection\",\"features\":{features}}}")
    })
}

/// Writes the outlines of an image's objects for COCO: an annotation for each object that has a pixel. One with holes, which
/// polygons of COCO cannot have, is written in runs of pixels, down the columns, as COCO has them. `image` is the image's file
/// name.
///
/// # Errors
/// As for [`write_geojson`].
pub fn write_coco(
    path: &Path,
    labels: &[u16],
    (width, height): (usize, usize),
    objects: &[Object],
    image: &str,
) -> io::Result<()> {
    let shapes = shapes(labels, width, height).map_err(invalid)?;
    let mut annotations = Vec::new();
    for object in objects {
        let own: Vec<&Shape> = shapes.iter().filter(|shape| shape.label == object.label).collect();
        let corners = || own.iter().flat_map(|shape| &shape.rings[0]);
        let (Some(x0), Some(y0)) = (corners().map(|c| c.x).min(), corners().map(|c| c.y).min()) else { continue };
        let (x1, y1) = (corners().map(|c| c.x).max().unwrap_or(x0), corners().map(|c| c.y).max().unwrap_or(y0));
        let segmentation = if own.iter().any(|shape| shape.rings.len() > 1) {
            json!({ "counts": runs(labels, width, height, object.label), "size": [height, width] })
        } else {
            let flat = |shape: &&Shape| shape.rings[0].iter().flat_map(|c| [c.x, c.y]).collect::<Vec<_>>();
            json!(own.iter().map(flat).collect::<Vec<_>>())
        };
        annotations.push(json!({
            "id": annotations.len() + 1,
            "image_id": 1,
            "category_id": object.label,
            "segmentation": segmentation,
            "area": own.iter().map(|shape| shape.pixels).sum::<i64>(),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": 0,
        }));
    }
    let categories: Vec<Value> =
        objects.iter().map(|object| json!({ "id": object.label, "name": object.title() })).collect();
    let images = json!([{ "id": 1, "file_name": image, "width": width, "height": height }]);
    let (categories, annotations) = (json!(categories), json!(annotations));
    write_atomically(path, |file| {
        write!(
            file,
            "{{\"info\":{{\"description\":\"{GENERATOR}\"}},\"images\":{images},\"categories\":{categories},\
             \"annotations\":{annotations}}}"
        )
    })
}

/// Whether [`write_geojson`] or [`write_coco`] wrote this file.
pub fn is_segmentation(path: &Path) -> bool {
    let most = STARTS.iter().map(|start| start.len()).max().unwrap_or(0);
    let mut start = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, most as u64), &mut start));
    read.is_ok() && STARTS.iter().any(|known| start.starts_with(known.as_bytes()))
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// A polygon: its outer line and its holes, none of which touches itself.
struct Shape {
    label: u16,
    rings: Vec<Vec<Corner>>,
    pixels: i64,
}

/// The components of all objects. Pixels that touch by a corner alone are apart, and lines that pass a corner twice are
/// taken apart there, as polygons that touch themselves are not valid.
fn shapes(labels: &[u16], width: usize, height: usize) -> Result<Vec<Shape>, Error> {
    let mut contours = Contours::new();
    contours.find(labels, width, height, Connectivity::Faces)?;
    let shape = |polygon: umedsam::mask::Polygon<'_>| {
        let mut rings = simple(polygon.outer());
        polygon.holes().for_each(|hole| rings.extend(simple(hole)));
        // The one that runs the other way is around all.
        rings.sort_by_key(|ring| std::cmp::Reverse(twice_area(ring)));
        Shape { label: polygon.label(), rings, pixels: polygon.area() }
    };
    Ok(contours.polygons().map(shape).collect())
}

/// The loops that a line is made of, apart at the corners that it passes twice.
fn simple(line: &[Corner]) -> Vec<Vec<Corner>> {
    let mut places = std::collections::BTreeMap::new();
    let (mut loops, mut open): (Vec<Vec<Corner>>, Vec<Corner>) = (Vec::new(), Vec::new());
    for &corner in line {
        if let Some(&start) = places.get(&corner) {
            let closed: Vec<Corner> = open.drain(start..).collect();
            closed.iter().for_each(|corner| {
                places.remove(corner);
            });
            loops.push(closed);
        }
        places.insert(corner, open.len());
        open.push(corner);
    }
    loops.push(open);
    loops
}

/// Twice the area within a line by the shoelace formula.
fn twice_area(ring: &[Corner]) -> i64 {
    let next = ring.iter().cycle().skip(1);
    ring.iter().zip(next).map(|(a, b)| i64::from(a.x) * i64::from(b.y) - i64::from(b.x) * i64::from(a.y)).sum()
}

/// The corners with the first at the end again.
fn closed(ring: &[Corner]) -> Vec<[u32; 2]> {
    ring.iter().chain(ring.first()).map(|c| [c.x, c.y]).collect()
}

/// Lengths of runs without and with the label, by turns, down the columns.
fn runs(labels: &[u16], width: usize, height: usize, label: u16) -> Vec<usize> {
    let (mut runs, mut within, mut length) = (Vec::new(), false, 0);
    for x in 0..width {
        for y in 0..height {
            if (labels[y * width + x] == label) != within {
                runs.push(length);
                (within, length) = (!within, 0);
            }
            length += 1;
        }
    }
    runs.push(length);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_touch_themselves_are_taken_apart() {
        // A hole that pinches at a corner.
        let rows = ["1111.", "1.11.", "11.11", "1111.", ".1.1."];
        let labels: Vec<u16> = rows.iter().flat_map(|row| row.bytes().map(|b| u16::from(b == b'1'))).collect();
        let shapes = shapes(&labels, 5, 5).unwrap();
        assert_eq!(shapes.len(), 1);
        for ring in &shapes[0].rings {
            let mut corners: Vec<&Corner> = ring.iter().collect();
            corners.sort();
            corners.dedup();
            assert_eq!(corners.len(), ring.len());
        }
        let areas: Vec<i64> = shapes[0].rings.iter().map(|ring| twice_area(ring)).collect();
        assert_eq!((areas.iter().sum::<i64>(), areas.iter().filter(|a| **a > 0).count()), (2 * 17, 1), "{areas:?}");
        assert_eq!(areas.len(), 3);
        // A hole that is closed by a corner alone.
        let pinched = &super::shapes(&[0, 1, 1, 1, 0, 1, 1, 1, 1], 3, 3).unwrap()[0];
        assert_eq!(pinched.rings.iter().map(|ring| twice_area(ring)).collect::<Vec<_>>(), [16, -2]);
        // Whatever the mask: one line around, all others holes, and their areas the pixels.
        let mut state = 1u64;
        for _ in 0..300 {
            let random: Vec<u16> = (0..48)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 62) as u16 / 2 + u16::from(state >> 61 == 7)
                })
                .collect();
            for shape in super::shapes(&random, 8, 6).unwrap() {
                let areas: Vec<i64> = shape.rings.iter().map(|ring| twice_area(ring)).collect();
                assert!(areas[0] > 0 && areas[1..].iter().all(|area| *area < 0), "{random:?}");
                assert_eq!(areas.iter().sum::<i64>(), 2 * shape.pixels);
            }
        }
        assert_eq!(runs(&labels, 5, 5, 1).iter().sum::<usize>(), 25);
        assert_eq!(runs(&[1, 0, 1, 1], 2, 2, 1), [0, 2, 1, 1]);
    }
}
