//! `report.html`: one page that needs nothing else, neither network nor scripts.

use std::fmt::Write as _;

use umedsam::html::{base64, escape};
use umedsam::validation::{Agreement, Measure, ValidatedModel, ValidationRow};
use umedsam::{Validation, Verdict};

use super::pictures::{COLOURS, Picture};
use super::plot::{agreement, differences, row_class, scatter};
use super::report::{Report, Times, basis, power};
use super::verdict::name;

const STYLE: &str = include_str!("page.css");

/// Failed cases that are listed by name.
const FAILURES: usize = 20;

/// Writing to a string cannot fail.
macro_rules! put {
    ($html:expr, $($text:tt)*) => { let _ = write!($html, $($text)*); };
}

/// The page.
pub fn page(report: &Report, pictures: &[Picture]) -> String {
    let v = &report.validation;
    let name = escape(&v.model.name);
    let mut html = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html += r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#;
    html += r#"<meta name="color-scheme" content="light dark">"#;
    put!(html, "<title>{name}: accuracy {}</title><style>{STYLE}</style></head><body><main>\n", v.verdict);
    head(&mut html, v, &name);
    facts(&mut html, report);
    html += "<section><h2>By modality</h2>";
    table(&mut html, v);
    html += "</section>\n<section><h2>What the model loses</h2><p class=\"note\">DSC of the model minus the reference's, in \
             points of 100, with 95 % intervals over other patients of these modalities (paired bootstrap). The dashed \
             lines are what the mean and what a row may lose: the lower end of every interval must lie above. Rows of few \
             patients, pale, are not judged.</p>";
    html += &differences(report);
    html += "</section>\n<div class=\"pair\"><section><h2>Object by object</h2><p class=\"note\">On the line nothing changed; \
             below the dashed line an object has collapsed.</p>";
    html += &scatter(report);
    legend(&mut html, &v.rows);
    html += "</section>\n<section><h2>Agreement of the masks</h2><p class=\"note\">How many objects' masks agree how well \
             with the reference's, whatever the truth.</p>";
    html += &agreement(report);
    html += "</section></div>\n";
    worst(&mut html, report, pictures);
    failures(&mut html, report);
    foot(&mut html, report);
    html + "</main></body></html>\n"
}

fn head(html: &mut String, v: &Validation, name: &str) {
    let (class, mark) = match v.verdict {
        Verdict::Passed => ("passed", "✓"),
        Verdict::Refused => ("refused", "✗"),
    };
    put!(
        html,
        r#"<header class="{class}"><p class="kind">Accuracy gate</p><h1>{name} <small>{}</small></h1>"#,
        v.model.storage
    );
    put!(html, r#"<p class="verdict"><span aria-hidden="true">{mark}</span> {}</p>"#, v.verdict);
    if v.reasons.is_empty() {
        let ([mean, row], [mean_nsd, row_nsd]) = (v.bounds.loss_points(false), v.bounds.loss_points(true));
        put!(
            html,
            "<p>By the lower ends of 95 % intervals the mean of the rows loses no more than {mean} points of DSC and \
             {mean_nsd} of NSD, no row more than {row} and {row_nsd}; no more than {} % of the objects collapsed; masks and \
             predicted IoU are those of the reference within {} and {}.</p>",
            100.0 * v.bounds.collapse_rate,
            v.bounds.agreement,
            v.bounds.iou_bias
        );
    } else {
        html.push_str("<ul>");
        for reason in &v.reasons {
            put!(html, "<li>{}</li>", escape(reason));
        }
        html.push_str("</ul>");
    }
    put!(html, "<p class=\"note\">{}.</p>", escape(&basis(v)));
    if let Some(power) = power(v) {
        put!(html, "<p class=\"note\">{}.</p>", escape(&power));
    }
    html.push_str("</header>\n");
}

fn facts(html: &mut String, report: &Report) {
    let v = &report.validation;
    let mean = v.mean();
    let points = mean.and_then(|row| row.dsc.difference);
    let points = points.map_or("–".into(), |d| {
        let ends = d.interval.map(|i| format!(" <small>[{:+.2}, {:+.2}]</small>", 100.0 * i.low, 100.0 * i.high));
        format!("{:+.2}{}", 100.0 * d.mean, ends.unwrap_or_default())
    });
    let agreement = mean.and_then(|row| row.agreement).map_or("–".into(), |a| format!("{:.4}", a.mean));
    let collapsed = mean.map_or("–".into(), |row| format!("{} <small>of {}</small>", row.collapsed, row.objects));
    let size = v.model.size_bytes as f64 / v.reference.size_bytes.max(1) as f64;
    let ratio =
        |times: Option<Times>| times.map_or("–".into(), |t| format!("{:.2} <small>×</small>", t.median_ratio));
    let cases = format!("{} <small>{} failed</small>", v.cases, v.failed);
    html.push_str(r#"<div class="facts">"#);
    for (what, value) in [
        ("DSC, points", points),
        ("mask agreement", agreement),
        ("collapsed objects", collapsed),
        ("cases", cases),
        ("size", format!("{size:.2} <small>×</small>")),
        ("time to encode", ratio(report.encode)),
        ("time in all", ratio(report.total)),
    ] {
        put!(html, "<div><b>{value}</b><span>{what}</span></div>");
    }
    html.push_str("</div>\n");
}

fn table(html: &mut String, v: &Validation) {
    html.push_str(
        "<div class=\"scroll\"><table><thead><tr><th rowspan=\"2\">row</th><th rowspan=\"2\">cases</th>\
         <th rowspan=\"2\">patients</th><th rowspan=\"2\">objects</th><th rowspan=\"2\">collapsed</th>\
         <th colspan=\"3\">DSC</th><th colspan=\"3\">NSD</th><th colspan=\"2\">agreement</th>\
         <th colspan=\"2\">IoU bias</th><th rowspan=\"2\">refused, %</th></tr>\
         <tr><th>reference</th><th>model</th><th>difference</th><th>reference</th>\
         <th>model</th><th>difference</th><th>mean</th><th>worst</th><th>reference</th><th>model</th></tr></thead><tbody>",
    );
    for (i, row) in v.rows.iter().enumerate() {
        let last = i + 1 == v.rows.len();
        let class = if last {
            " class=\"mean\""
        } else if row.judged {
            ""
        } else {
            " class=\"unjudged\""
        };
        let name = if last { "mean of judged rows".into() } else { escape(&name(row)) };
        put!(html, "<tr{class}><th>{name}</th><td>{}</td><td>{}</td><td>{}</td>", row.cases, row.patients, row.objects);
        let class = if row.collapsed > 0 { " class=\"bad\"" } else { "" };
        put!(html, "<td{class}>{}</td>", row.collapsed);
        for (m, nsd) in [(&row.dsc, false), (&row.nsd, true)] {
            let bound = v.bounds.loss_points(nsd)[usize::from(!last)];
            let low = m.difference.and_then(|d| d.interval).map(|i| i.low);
            measure(html, m, row.judged && low.is_some_and(|low| -100.0 * low > bound + 1e-9));
        }
        let figures = |a: Agreement| format!("<td>{:.4}</td><td>{:.4}</td>", a.mean, a.worst);
        html.push_str(&row.agreement.map_or("<td>–</td><td>–</td>".into(), figures));
        for bias in [row.iou_bias.reference, row.iou_bias.model] {
            put!(html, "<td>{}</td>", bias.map_or("–".into(), |b| format!("{b:+.3}")));
        }
        let shares = row.refused.map(|shares| shares.map(|s| format!("{:.0}", 100.0 * s)).join(" · "));
        put!(html, "<td>{}</td></tr>", shares.unwrap_or("–".into()));
    }
    html.push_str(
        "</tbody></table></div><p class=\"note\">Refused: in how many of a hundred trials with other patients of the same \
         spread the row would refuse a model that loses nothing, half and all of what a row may lose; in the last row, the \
         gate a model that loses nothing, half and all of what the mean may lose, in every row.</p>",
    );
}

fn measure(html: &mut String, measure: &Measure, bad: bool) {
    let percent = |v: Option<f64>| v.map_or("–".into(), |v| format!("{:.2}", 100.0 * v));
    put!(html, "<td>{}</td><td>{}</td>", percent(measure.reference), percent(measure.model));
    let class = if bad { " class=\"bad\"" } else { "" };
    let Some(difference) = measure.difference else { return html.push_str("<td>–</td>") };
    put!(html, "<td{class}><b>{:+.2}</b> <small>", 100.0 * difference.mean);
    match difference.interval {
        Some(i) => {
            put!(html, "[{:+.2}, {:+.2}]", 100.0 * i.low, 100.0 * i.high);
        }
        None => html.push_str("no interval"),
    }
    html.push_str("</small></td>");
}

fn legend(html: &mut String, rows: &[ValidationRow]) {
    html.push_str(r#"<ul class="legend">"#);
    for (i, row) in rows.iter().enumerate().take(rows.len().saturating_sub(1)) {
        put!(html, r#"<li class="{}"><i></i>{}</li>"#, row_class(i), escape(&name(row)));
    }
    html.push_str("</ul>");
}

fn worst(html: &mut String, report: &Report, pictures: &[Picture]) {
    if report.worst.is_empty() {
        return;
    }
    html.push_str("<section><h2>The cases that lose most</h2><ul class=\"legend\">");
    for (name, [r, g, b]) in ["truth", "reference", "model (dashed)"].into_iter().zip(COLOURS) {
        put!(html, r#"<li style="--c:rgb({r},{g},{b})"><i></i>{name}</li>"#);
    }
    html.push_str("</ul><div class=\"pictures\">");
    for p in pictures {
        let (case, label) = (escape(&p.case), p.label);
        let place = p.slice.map_or(String::new(), |z| format!(", slice {z}"));
        let (width, height, data) = (p.width, p.height, base64(&p.png));
        put!(
            html,
            r#"<figure><img alt="{case}, object {label}" width="{width}" height="{height}" src="data:image/png;base64,"#
        );
        put!(html, "{data}\"><figcaption>{case}<br><small>object {label}{place}</small></figcaption></figure>");
    }
    html.push_str(
        "</div><div class=\"scroll\"><table><thead><tr><th>case</th><th>reference DSC</th><th>model DSC</th>\
         <th>difference</th><th>object that loses most</th><th>its difference</th></tr></thead><tbody>",
    );
    for w in &report.worst {
        let change = 100.0 * (w.model_dsc - w.reference_dsc);
        let (reference, model) = (100.0 * w.reference_dsc, 100.0 * w.model_dsc);
        put!(html, "<tr><th>{}</th><td>{reference:.2}</td><td>{model:.2}</td><td>{change:+.2}</td>", escape(&w.case));
        put!(html, "<td>{}</td><td>{:+.2}</td></tr>", w.label, 100.0 * w.label_change);
    }
    html.push_str("</tbody></table></div></section>\n");
}

fn failures(html: &mut String, report: &Report) {
    let failed = report.cases.iter().filter_map(|r| Some((&r.case, r.failure.as_ref()?)));
    if report.validation.failed == 0 {
        return;
    }
    html.push_str("<section><h2>Cases that failed</h2><ul>");
    for (case, why) in failed.take(FAILURES) {
        put!(html, "<li><b>{}</b>: {}</li>", escape(case), escape(why));
    }
    html.push_str("</ul>");
    let more = report.validation.failed.saturating_sub(FAILURES);
    if more > 0 {
        put!(html, "<p>and {more} more: report.json</p>");
    }
    html.push_str("</section>\n");
}

fn foot(html: &mut String, report: &Report) {
    let v = &report.validation;
    html.push_str("<section><h2>What was compared</h2><div class=\"scroll\"><table class=\"models\"><tbody>");
    for (what, m) in [("model", &v.model), ("reference", &v.reference)] {
        let ValidatedModel { name, storage, precision, size_bytes, encoder_sha256, decoder_sha256 } = m;
        put!(html, "<tr><th>{what}</th><td>{}, weights in {storage}, computed in {precision}, ", escape(name));
        put!(html, "{size_bytes} bytes<br><code>encoder {encoder_sha256}<br>decoder {decoder_sha256}</code></td></tr>");
    }
    html.push_str("</tbody></table></div>");
    for (what, times) in [("Encoding an image", report.encode), ("A case", report.total)] {
        let Some(t) = times else { continue };
        put!(
            html,
            "<p>{what}: model {:.0} ms at least, {:.1} s in all; reference {:.0} ms, {:.1} s; median ratio {:.3}.</p>",
            t.model_min_ms,
            t.model_sum_ms / 1e3,
            t.reference_min_ms,
            t.reference_sum_ms / 1e3,
            t.median_ratio
        );
    }
    put!(
        html,
        "<p class=\"note\">Both models take turns in every case, the first one changing from case to case, with {} threads \
         and nothing else of the program running. DSC and NSD decide; NSD is of the true boundary, 2 px or 2 mm. An \
         object has collapsed when its DSC falls by more than 20 points or by half. In the mean every row counts the \
         same.</p></section>",
        report.threads
    );
}
