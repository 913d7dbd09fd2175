//! The report as a page that needs nothing but itself.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::pictures::COLOURS;
use super::plot::{agreements, differences, escape, scatter};
use super::{Contender, Report};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2730; --dim: #66737e; --paper: #fbfcfd; --line: #d7dee4; --good: #12795a;
  --bad: #c0391b; --bar: #4a86b8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ec; --dim: #95a3ae; --paper: #14191d; --line: #333e47;
  --good: #4fc39a; --bad: #f0795c; --bar: #6ea8d8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.verdict { border-left: 6px solid var(--good); padding: .5rem 1rem; margin: 1rem 0; }
.verdict.no { border-color: var(--bad); } .verdict strong { font-size: 1.25rem; color: var(--good); }
.verdict.no strong { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--dim); font-weight: 500; }
tbody tr.mean { font-weight: 600; } td.bad { color: var(--bad); }
.scroll { overflow-x: auto; } .plots { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
@media (max-width: 45rem) { .plots { grid-template-columns: 1fr; } }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--dim); }
svg .axis { stroke: var(--dim); } svg .bound { stroke: var(--bad); stroke-dasharray: 4 3; } svg .far { opacity: .5; }
svg line.good { stroke: var(--good); stroke-width: 2; } svg circle.good { fill: var(--good); }
svg line.bad { stroke: var(--bad); stroke-width: 2; } svg circle.bad { fill: var(--bad); }
svg .frame { fill: none; stroke: var(--line); } svg .bar { fill: var(--bar); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; border-radius: 4px; } figcaption { color: var(--dim); font-size: .85rem;
  overflow-wrap: anywhere; } .key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; }
";

/// The page of a report: verdict, rows, plots and the worst cases.
pub fn page(report: &Report) -> String {
    let v = &report.validation;
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{0}: accuracy gate</title><style>{STYLE}</style><h1>{0}</h1>",
        escape(&report.contenders[1].name)
    );
    let [reference, model] = &report.contenders;
    push(&mut html, format_args!("<div>{} against {}</div>", contender(model), contender(reference)));
    verdict(&mut html, report);
    html.push_str("<h2>Against the truth, in percent</h2>");
    rows(&mut html, report);
    push(&mut html, format_args!("<h2>Difference of DSC, with 95 % intervals over other cases</h2>{}", differences(v)));
    push(
        &mut html,
        format_args!(
            "<div class=\"plots\"><div><h2>Every object</h2>{}</div><div><h2>Masks against the reference's</h2>{}</div></div>",
            scatter(&report.cases, &v.rows),
            agreements(&report.cases)
        ),
    );
    losses(&mut html, report);
    html.push_str("</html>\n");
    html
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = html.write_fmt(text);
}

fn contender(c: &Contender) -> String {
    let megabytes = c.bytes as f64 / 1e6;
    format!("{} ({} weights, computed in {}, {megabytes:.2} MB)", escape(&c.name), c.precision, c.arithmetic)
}

fn verdict(html: &mut String, report: &Report) {
    let (v, speed) = (&report.validation, &report.speed);
    let (class, word) = if v.passed { ("", "Passed") } else { (" no", "Refused") };
    push(html, format_args!("<div class=\"verdict{class}\"><strong>{word}</strong>"));
    if !v.reasons.is_empty() {
        html.push_str("<ul>");
        for reason in &v.reasons {
            push(html, format_args!("<li>{}</li>", escape(reason)));
        }
        html.push_str("</ul>");
    }
    push(
        html,
        format_args!(
            "<div>{} cases, {} objects, {} collapsed (DSC lower by more than 20 points). Allowed: {:.2} points of mean DSC, \
             {:.2} of a row, {} % of the objects. Masks agree at DSC {:.4}. Time beside the reference, least and median of \
             the cases: encoder {:.2}, {:.2}; all {:.2}, {:.2}.</div></div>",
            v.cases,
            v.objects,
            v.collapsed,
            100.0 * v.tolerance,
            200.0 * v.tolerance,
            100.0 * v.collapse_rate,
            v.agreement,
            speed.encode_ratio[0],
            speed.encode_ratio[1],
            speed.ratio[0],
            speed.ratio[1]
        ),
    );
}

fn rows(html: &mut String, report: &Report) {
    let v = &report.validation;
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th><th>cases<th>DSC reference<th>model<th>difference [95 %]<th>NSD \
         reference<th>model<th>difference [95 %]<th>agreement</thead><tbody>",
    );
    for (i, r) in v.rows.iter().enumerate() {
        let mean = i + 1 == v.rows.len();
        let bound = if mean { v.tolerance } else { 2.0 * v.tolerance };
        let points = |d: [f64; 3]| {
            let [mean, low, high] = d.map(|d| 100.0 * d);
            format!("{mean:+.2} [{low:+.2}, {high:+.2}]")
        };
        push(
            html,
            format_args!(
                "<tr{}><td>{}<td>{}<td>{:.2}<td>{:.2}<td{}>{}<td>{:.2}<td>{:.2}<td>{}<td>{:.4}",
                if mean { " class=\"mean\"" } else { "" },
                escape(&r.row),
                r.cases,
                100.0 * r.dsc[0],
                100.0 * r.dsc[1],
                if r.dsc_difference[0] < -bound { " class=\"bad\"" } else { "" },
                points(r.dsc_difference),
                100.0 * r.nsd[0],
                100.0 * r.nsd[1],
                points(r.nsd_difference),
                r.agreement
            ),
        );
    }
    html.push_str("</tbody></table></div>");
}

fn losses(html: &mut String, report: &Report) {
    if report.losses.is_empty() {
        return;
    }
    html.push_str("<h2>Objects that lost most</h2><p>Outlines: ");
    for (name, [r, g, b]) in ["truth", "reference", "model"].into_iter().zip(COLOURS) {
        push(html, format_args!("<span class=\"key\" style=\"background:rgb({r} {g} {b})\"></span> {name} "));
    }
    html.push_str("</p><div class=\"pictures\">");
    for p in &report.pictures {
        let slice = p.slice.map_or(String::new(), |z| format!(", slice {z}"));
        push(
            html,
            format_args!(
                "<figure><img alt=\"\" src=\"data:image/png;base64,{}\"><figcaption>{}, object {}{slice}: DSC {:.1} to \
                 {:.1}</figcaption></figure>",
                STANDARD.encode(&p.png),
                escape(&p.loss.case),
                p.loss.label,
                100.0 * p.loss.dsc[0],
                100.0 * p.loss.dsc[1]
            ),
        );
    }
    html.push_str(
        "</div><div class=\"scroll\"><table><thead><tr><th>case<th>object<th>DSC reference<th>model</thead><tbody>",
    );
    for l in &report.losses {
        let [a, b] = l.dsc.map(|d| 100.0 * d);
        push(html, format_args!("<tr><td>{}<td>{}<td>{a:.2}<td>{b:.2}", escape(&l.case), l.label));
    }
    html.push_str("</tbody></table></div>");
}
