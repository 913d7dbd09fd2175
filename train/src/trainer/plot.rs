//! `curves.svg`: losses, uncertainties and validation DSC, epoch by epoch.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use plotters::prelude::*;
use umedsam::files::write_atomically;

use super::history::Epoch;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Problem<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

/// Width of the names beside a chart, in pixels.
const LEGEND: i32 = 110;

/// Points of one line, by epoch.
type Curves = BTreeMap<String, Vec<(f64, f64)>>;

/// Draws the curves of a run into its folder.
pub(super) fn write(folder: &Path, epochs: &[Epoch]) -> io::Result<()> {
    let mut svg = String::new();
    draw(&mut svg, epochs).map_err(|e| io::Error::other(e.to_string()))?;
    write_atomically(&folder.join("curves.svg"), |file| file.write_all(svg.as_bytes()))
}

fn draw<'a>(svg: &'a mut String, epochs: &[Epoch]) -> Result<(), Problem<'a>> {
    let area = SVGBackend::with_string(svg, (1400, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let panels = area.split_evenly((1, 3));
    let mut losses = collect(epochs, |e| e.losses.iter().map(|(n, &v)| (n.clone(), v)).collect());
    losses.extend(collect(epochs, |e| e.loss.map(|v| ("total".into(), v)).into_iter().collect()));
    let sigmas = collect(epochs, |e| e.sigmas.iter().map(|(n, &v)| (n.clone(), v)).collect());
    let dsc = collect(epochs, |e| {
        let percent = |v: &crate::trainer::Validation| {
            let groups = v.groups.iter().map(|(name, &dsc)| (name.clone(), 100.0 * dsc));
            groups.chain([("mean".into(), 100.0 * v.dsc)]).collect()
        };
        e.validation.as_ref().map(percent).unwrap_or_default()
    });
    for (panel, (title, curves)) in panels.iter().zip([("loss", losses), ("uncertainty", sigmas), ("DSC %", dsc)]) {
        chart(panel, title, &curves)?;
    }
    area.present()
}

fn collect(epochs: &[Epoch], of: impl Fn(&Epoch) -> Vec<(String, f64)>) -> Curves {
    let mut curves = Curves::new();
    for epoch in epochs {
        for (name, value) in of(epoch) {
            curves.entry(name).or_default().push((epoch.epoch as f64, value));
        }
    }
    curves
}

fn chart<'a>(panel: &Area<'a>, title: &str, curves: &Curves) -> Result<(), Problem<'a>> {
    let points = || curves.values().flatten();
    let last = points().map(|p| p.0).fold(1.0, f64::max);
    let (low, high) = points().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| (l.min(p.1), h.max(p.1)));
    if low > high {
        return Ok(());
    }
    let margin = ((high - low) * 0.05).max(1e-6);
    let (plot, legend) = panel.split_horizontally(panel.dim_in_pixel().0 as i32 - LEGEND);
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..last, low - margin..high + margin)?;
    let epochs = (last as usize + 1).min(8);
    chart.configure_mesh().disable_mesh().x_labels(epochs).x_label_formatter(&|x| format!("{x:.0}")).draw()?;
    for (i, (name, points)) in curves.iter().enumerate() {
        // The whole is thicker than its parts.
        let width = if name == "total" || name == "mean" { 3 } else { 1 };
        let style = Palette99::pick(i).stroke_width(width);
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        let y = 40 + 16 * i as i32;
        legend.draw(&PathElement::new([(0, y), (12, y)], style))?;
        legend.draw(&Text::new(name.as_str(), (16, y - 6), ("sans-serif", 12)))?;
    }
    Ok(())
}
