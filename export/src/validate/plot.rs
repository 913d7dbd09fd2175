//! The plots of the page, as SVG. Colours are the page's: a class for each row.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use umedsam::html::escape;
use umedsam::metrics::{Difference, group};

use super::record::Record;
use super::report::Report;
use super::verdict::{COLLAPSE, FOUND, name};

/// Colours of rows in the style sheet; beyond them, the same again with squares for dots.
pub(super) const HUES: usize = 8;

/// Width of a plot in its own units; the page scales it.
const WIDTH: f64 = 1000.0;

/// Classes of the colour and of the mark of row `index`.
pub(super) fn row_class(index: usize) -> String {
    format!("c{}{}", index % HUES, if index / HUES % 2 == 1 { " square" } else { "" })
}

/// Writing to a string cannot fail.
macro_rules! put {
    ($svg:expr, $($text:tt)*) => { let _ = write!($svg, $($text)*); };
}

/// DSC differences of the rows with their intervals, in points, and the lines that they must not cross.
pub(super) fn differences(report: &Report) -> String {
    let validation = &report.validation;
    let [of_mean, of_row] = validation.bounds.loss_points(false);
    let rows: Vec<_> = validation.rows.iter().filter_map(|row| Some((row, row.dsc.difference?))).collect();
    let ends = |d: &Difference| d.interval.map_or([d.mean; 2], |i| [i.low, i.high]);
    let reach = rows.iter().flat_map(|(_, d)| ends(d)).map(|v| (100.0 * v).abs());
    let reach = reach.fold(1.2 * of_row, f64::max).max(0.1) * 1.08;
    let (left, right, line) = (150.0, WIDTH - 90.0, 26.0);
    let height = 34.0 + line * rows.len() as f64 + 34.0;
    let x = |points: f64| left + (points + reach) / (2.0 * reach) * (right - left);
    let bottom = height - 30.0;
    let mut svg = open(height, "DSC difference of each row, in points, with 95 % intervals");
    let step = step(reach);
    let places = (-step.log10().floor()).max(0.0) as usize;
    for i in -(reach / step) as i64..=(reach / step) as i64 {
        let (at, class) = (x(i as f64 * step), if i == 0 { "axis" } else { "grid" });
        put!(svg, r#"<path class="{class}" d="M{at:.1} 24V{bottom:.1}"/>"#);
        let (value, y) = (i as f64 * step, bottom + 18.0);
        put!(svg, r#"<text class="tick" x="{at:.1}" y="{y:.1}" text-anchor="middle">{value:+.places$}</text>"#);
    }
    for (loss, name, anchor) in [(of_mean, "mean", "start"), (of_row, "row", "end")] {
        put!(svg, r#"<path class="limit" d="M{0:.1} 24V{bottom:.1}"/>"#, x(-loss));
        put!(svg, r#"<text class="limit-name" x="{:.1}" y="16" text-anchor="{anchor}">{name}</text>"#, x(-loss));
    }
    for (i, (row, d)) in rows.iter().enumerate() {
        let y = 38.0 + line * i as f64;
        let [low, high] = ends(d).map(|v| x(100.0 * v));
        let mean = x(100.0 * d.mean);
        let last = i + 1 == rows.len();
        let class = if last { "all".into() } else { row_class(i) } + if row.judged { "" } else { " unjudged" };
        let name = escape(&if last { "mean of rows".into() } else { name(row) });
        put!(svg, r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="end">{name}</text>"#, left - 14.0, y + 4.0);
        put!(svg, r#"<g class="{class}"><path class="interval" d="M{low:.1} {y:.1}H{high:.1}"/>"#);
        put!(svg, r#"<circle class="dot" cx="{mean:.1}" cy="{y:.1}" r="5"/></g>"#);
        let value = 100.0 * d.mean;
        put!(svg, r#"<text class="tick" x="{:.1}" y="{:.1}">{value:+.2}</text>"#, right + 14.0, y + 4.0);
    }
    svg + "</svg>"
}

/// DSC of every object, reference against model. Dots that would cover each other are drawn once.
pub(super) fn scatter(report: &Report) -> String {
    let (left, top, side) = (52.0, 14.0, 440.0);
    let mut svg = open_sized(left + side + 14.0, top + side + 46.0, "DSC of each object: reference, and model");
    let at = |dsc: f64| (left + dsc * side, top + (1.0 - dsc) * side);
    for tick in 0..=5 {
        let dsc = f64::from(tick) / 5.0;
        let (x, y) = at(dsc);
        put!(svg, r#"<path class="grid" d="M{x:.1} {top}V{0:.1}M{left} {y:.1}H{1:.1}"/>"#, top + side, left + side);
        put!(svg, r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{dsc:.1}</text>"#, top + side + 18.0);
        put!(svg, r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{dsc:.1}</text>"#, left - 8.0, y + 4.0);
    }
    put!(svg, r#"<path class="axis" d="M{left} {0:.1}L{1:.1} {top}"/>"#, top + side, left + side);
    // Below it an object has collapsed: half of what it was, or 20 points less.
    let (fx, _) = at(FOUND);
    let (bend, _) = at(2.0 * COLLAPSE);
    let (half, end) = (at(FOUND / 2.0).1, at(1.0 - COLLAPSE).1);
    let low = at(COLLAPSE).1;
    put!(
        svg,
        r#"<path class="limit" d="M{fx:.1} {0:.1}V{half:.1}L{bend:.1} {low:.1}L{1:.1} {end:.1}"/>"#,
        top + side,
        left + side
    );
    for (i, row) in report.validation.rows.iter().enumerate() {
        let of_row = report.cases.iter().filter(|r| group(&r.case) == (row.modality.as_str(), row.dimensions.as_str()));
        let dots: BTreeSet<(i64, i64)> = of_row.flat_map(dots).map(|(r, m)| (cell(r), cell(m))).collect();
        if dots.is_empty() {
            continue;
        }
        put!(svg, r#"<g class="{}"><title>{}</title><path class="dots" d=""#, row_class(i), escape(&name(row)));
        for (reference, model) in dots {
            let (x, y) = (at(reference as f64 / CELLS).0, at(model as f64 / CELLS).1);
            put!(svg, "M{x:.1} {y:.1}h0");
        }
        svg += r#""/></g>"#;
    }
    put!(
        svg,
        r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="middle">reference DSC</text>"#,
        left + side / 2.0,
        top + side + 38.0
    );
    let middle = top + side / 2.0;
    put!(
        svg,
        r#"<text class="name" transform="translate(14 {middle:.1}) rotate(-90)" text-anchor="middle">model DSC</text>"#
    );
    svg + "</svg>"
}

/// Cells of an axis of the scatter.
const CELLS: f64 = 440.0;

fn cell(dsc: f64) -> i64 {
    (dsc * CELLS).round() as i64
}

fn dots(record: &Record) -> impl Iterator<Item = (f64, f64)> + '_ {
    record.objects.iter().filter_map(|o| Some((o.reference.dsc?, o.model.dsc?)))
}

/// Least agreement of a bin of the histogram: fine where most objects are, and all else in the first.
const BINS: [f64; 12] = [0.0, 0.5, 0.8, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995];

/// How many objects have which agreement.
pub(super) fn agreement(report: &Report) -> String {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for agreement in report.cases.iter().flat_map(|r| &r.objects).filter_map(|o| o.agreement) {
        *counts.entry(BINS.partition_point(|&low| low <= agreement).saturating_sub(1)).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(1) as f64;
    let (left, top, height, bar) = (20.0, 24.0, 400.0, 38.0);
    let mut svg = open_sized(left + bar * BINS.len() as f64 + 30.0, top + height + 76.0, "Agreement of the two masks");
    put!(svg, r#"<path class="axis" d="M{left} {0:.1}h{1:.1}"/>"#, top + height, bar * BINS.len() as f64);
    for (i, low) in BINS.iter().enumerate() {
        let count = counts.get(&i).copied().unwrap_or(0);
        let (x, tall) = (left + bar * i as f64, count as f64 / most * height);
        let y = top + height - tall;
        if count > 0 {
            put!(
                svg,
                r#"<rect class="bar" x="{:.1}" y="{y:.1}" width="{:.1}" height="{tall:.1}" rx="3"/>"#,
                x + 2.0,
                bar - 4.0
            );
            put!(
                svg,
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="middle">{count}</text>"#,
                x + bar / 2.0,
                y - 6.0
            );
        }
        put!(svg, r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{low}</text>"#, top + height + 20.0);
    }
    let end = left + bar * BINS.len() as f64;
    put!(svg, r#"<text class="tick" x="{end:.1}" y="{:.1}" text-anchor="middle">1</text>"#, top + height + 20.0);
    put!(
        svg,
        r#"<text class="name" x="{:.1}" y="{:.1}" text-anchor="middle">DSC of the two masks (bins of unequal width)</text>"#,
        (left + end) / 2.0,
        top + height + 52.0
    );
    svg + "</svg>"
}

fn open(height: f64, label: &str) -> String {
    open_sized(WIDTH, height, label)
}

fn open_sized(width: f64, height: f64, label: &str) -> String {
    format!(r#"<svg viewBox="0 0 {width:.0} {height:.0}" role="img" aria-label="{}">"#, escape(label))
}

/// A round distance of grid lines that gives no more than about eight.
fn step(reach: f64) -> f64 {
    let rough = reach / 4.0;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|m| m * power).find(|&s| s >= rough).unwrap_or(10.0 * power)
}
