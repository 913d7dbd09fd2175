//! Scores of many cases, and their means by modality.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::prelude::v1::*;

use super::{Convention, LabelScore, mean, score_case};

/// Scores of one case, 0 to 1: means over its labels; `None` if no label has a score.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CaseScore {
    /// The case's file name.
    pub case: String,
    /// Number of labels, which is the largest value of the truth.
    pub labels: usize,
    /// Dice similarity coefficient.
    pub dsc: Option<f64>,
    /// NSD in the challenge's convention ([`Convention::Upstream`]).
    pub nsd_upstream: Option<f64>,
    /// NSD of the boundary, within 2 pixels in 2D and 2 mm in 3D ([`Convention::Boundary`]).
    pub nsd: Option<f64>,
}

impl CaseScore {
    /// Scores the label map `pred` against `gt`, in both conventions.
    ///
    /// # Panics
    /// As [`score_case`], which explains the arguments.
    pub fn new(case: impl Into<String>, gt: &[u16], pred: &[u16], shape: &[usize], spacing: Option<[f64; 3]>) -> Self {
        let scores = |convention| score_case(gt, pred, shape, spacing, convention);
        let (upstream, boundary) = (scores(Convention::Upstream), scores(Convention::Boundary));
        let nsd = |scores: &[LabelScore]| mean(scores.iter().map(|s| s.nsd));
        Self {
            case: case.into(),
            labels: boundary.len(),
            dsc: mean(boundary.iter().map(|s| s.dsc)),
            nsd_upstream: nsd(&upstream),
            nsd: nsd(&boundary),
        }
    }
}

/// Means of the scores over the cases of a modality.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Row {
    /// The modality, as the file names have it; "mean" in the last row.
    pub modality: String,
    /// `2D` or `3D`; `-` where the name does not say; empty in the last row.
    pub dimensions: String,
    /// Number of cases.
    pub cases: usize,
    /// Mean DSC, 0 to 1.
    pub dsc: Option<f64>,
    /// Mean of [`CaseScore::nsd_upstream`].
    pub nsd_upstream: Option<f64>,
    /// Mean of [`CaseScore::nsd`].
    pub nsd: Option<f64>,
}

/// Scores by modality and by case. `Display` makes the table of the modalities, in percent.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Report {
    /// One row for each modality and dimension, by the names of the cases ([`group`]); the last is the mean of the
    /// rows, all of equal weight.
    pub rows: Vec<Row>,
    /// The cases, in the order given.
    pub cases: Vec<CaseScore>,
}

impl Report {
    /// The report of these cases.
    pub fn new(cases: Vec<CaseScore>) -> Self {
        let mut groups: BTreeMap<(&str, &str), Vec<&CaseScore>> = BTreeMap::new();
        for case in &cases {
            groups.entry(group(&case.case)).or_default().push(case);
        }
        let mut rows: Vec<Row> = groups
            .into_iter()
            .map(|((modality, dimensions), cases)| Row {
                modality: modality.into(),
                dimensions: dimensions.into(),
                cases: cases.len(),
                dsc: mean(cases.iter().map(|c| c.dsc)),
                nsd_upstream: mean(cases.iter().map(|c| c.nsd_upstream)),
                nsd: mean(cases.iter().map(|c| c.nsd)),
            })
            .collect();
        rows.push(Row {
            modality: "mean".into(),
            dimensions: String::new(),
            cases: cases.len(),
            dsc: mean(rows.iter().map(|r| r.dsc)),
            nsd_upstream: mean(rows.iter().map(|r| r.nsd_upstream)),
            nsd: mean(rows.iter().map(|r| r.nsd)),
        });
        Self { rows, cases }
    }

    /// Mean DSC of the last row, 0 to 1: one number to choose a model by. `None` if no case has a DSC.
    pub fn mean_dsc(&self) -> Option<f64> {
        self.rows.last().and_then(|row| row.dsc)
    }

    /// The cases as CSV with a header; a missing score is an empty field.
    pub fn csv(&self) -> String {
        let number = |v: Option<f64>| v.map_or(String::new(), |v| v.to_string());
        let mut text = String::from("case,labels,dsc,nsd_upstream,nsd\n");
        for c in &self.cases {
            let (dsc, upstream, nsd) = (number(c.dsc), number(c.nsd_upstream), number(c.nsd));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{},{},{dsc},{upstream},{nsd}", field(&c.case), c.labels);
        }
        text
    }
}

/// A field of a CSV file, quoted where a comma, a quote or the end of a line in it would end it.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.2}", 100.0 * v));
        writeln!(f, "{:<13} {:<2} {:>5} {:>8} {:>13} {:>8}", "modality", "", "cases", "DSC", "NSD upstream", "NSD")?;
        for r in &self.rows {
            let (dsc, upstream, nsd) = (percent(r.dsc), percent(r.nsd_upstream), percent(r.nsd));
            writeln!(f, "{:<13} {:<2} {:>5} {dsc:>8} {upstream:>13} {nsd:>8}", r.modality, r.dimensions, r.cases)?;
        }
        write!(
            f,
            "NSD upstream: the challenge's convention (in 2D nearly an area measure); NSD: true boundaries, 2 px or 2 mm"
        )
    }
}

/// Modality and dimension of a case by its file name: `2DBox_CT_0001.npz` is a 2D case of modality CT. Names of another
/// form have the modality "other" and the dimension `-`.
pub fn group(case: &str) -> (&str, &str) {
    let mut parts = case.split('_');
    match (parts.next(), parts.next()) {
        (Some(kind), Some(modality)) if kind.ends_with("DBox") => (modality, kind.trim_end_matches("Box")),
        _ => ("other", "-"),
    }
}

/// The modality and the source of a case by its file name, and `2D` or `3D`: `2DBox_CT_KiTS19_10036-103.npz` belongs to
/// `CT_KiTS19`. A name of fewer than four parts tells no source: its modality alone.
pub fn source(case: &str) -> (&str, &str) {
    let (modality, dimensions) = group(case);
    let rest = case.split_once('_').map_or("", |(_, rest)| rest);
    match rest.match_indices('_').nth(1) {
        Some((end, _)) if dimensions != "-" => (&rest[..end], dimensions),
        _ => (modality, dimensions),
    }
}

/// The patient of a case, as far as its file name tells; otherwise the whole name, so that each case has its own
/// patient.
///
/// `2DBox_CT_KiTS19_10036-103.npz` is slice 103 of patient 10036, and `2DBox_Fundus_SMDG_10009-cup.npz` the cup of eye
/// 10009: what follows the last dash is dropped if a digit stands before it in the last part of the name.
/// `2DBox_Dermoscopy_ISIC2017_ISIC-0000521.npz` has no such part and is a patient as a whole.
pub fn patient(case: &str) -> &str {
    let own = case.rfind('_').map_or(0, |at| at + 1);
    match case[own..].rfind('-') {
        Some(dash) if case[own..own + dash].contains(|c: char| c.is_ascii_digit()) => &case[..own + dash],
        _ => case,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_grouped_by_their_names() {
        assert_eq!(group("2DBox_X-Ray_0053.npz"), ("X-Ray", "2D"));
        assert_eq!(group("3DBox_CT_0566.npz"), ("CT", "3D"));
        assert_eq!(group("scan.npz"), ("other", "-"));
    }

    #[test]
    fn slices_of_a_patient_are_told_by_their_names() {
        for (case, of) in [
            ("2DBox_CT_KiTS19_10036-103.npz", "2DBox_CT_KiTS19_10036"),
            ("2DBox_Fundus_SMDG_10009-cup.npz", "2DBox_Fundus_SMDG_10009"),
            ("2DBox_US_BUSBRA_malignant-0261-l.npz", "2DBox_US_BUSBRA_malignant-0261"),
            ("2DBox_Dermoscopy_ISIC2017_ISIC-0000521.npz", "2DBox_Dermoscopy_ISIC2017_ISIC-0000521.npz"),
            ("3DBox_PET_STS_STS-018.npz", "3DBox_PET_STS_STS-018.npz"),
            ("2DBox_X-Ray_0053.npz", "2DBox_X-Ray_0053.npz"),
            ("scan.npz", "scan.npz"),
        ] {
            assert_eq!(patient(case), of);
        }
    }

    /// A label found, one missed, one in neither map.
    #[test]
    fn a_case_is_the_mean_of_the_labels_that_are_there() {
        let (gt, pred) = ([1, 1, 0, 3], [1, 0, 0, 0]);
        let score = CaseScore::new("a", &gt, &pred, &[2, 2], None);
        // DSC 2/3 and 0; every contour of a 2x2 image lies within 2 px.
        assert_eq!((score.labels, score.dsc, score.nsd), (3, Some(1.0 / 3.0), Some(0.5)));
        assert_eq!(CaseScore::new("b", &[0; 4], &gt, &[2, 2], None).dsc, None);
    }

    #[test]
    fn names_are_quoted_in_csv() {
        let score = |case: &str| CaseScore { case: case.into(), labels: 1, dsc: None, nsd_upstream: None, nsd: None };
        let csv = Report::new(vec![score("a, \"b\".npz"), score("c.npz")]).csv();
        assert_eq!(csv.lines().skip(1).collect::<Vec<_>>(), ["\"a, \"\"b\"\".npz\",1,,,", "c.npz,1,,,"]);
    }

    #[test]
    fn every_row_counts_the_same() {
        let score = |case: &str, dsc| CaseScore { case: case.into(), labels: 1, dsc, nsd_upstream: dsc, nsd: None };
        let report = Report::new(vec![
            score("2DBox_US_1.npz", Some(0.5)),
            score("2DBox_CT_1.npz", Some(1.0)),
            score("3DBox_CT_1.npz", None),
            score("2DBox_US_2.npz", Some(0.25)),
        ]);
        let rows: Vec<_> =
            report.rows.iter().map(|r| (r.modality.as_str(), r.dimensions.as_str(), r.cases, r.dsc)).collect();
        let expected = [
            ("CT", "2D", 1, Some(1.0)),
            ("CT", "3D", 1, None),
            ("US", "2D", 2, Some(0.375)),
            ("mean", "", 4, Some(0.6875)),
        ];
        assert_eq!(rows, expected);
        assert_eq!(report.mean_dsc(), Some(0.6875));
        assert_eq!(report.csv().lines().nth(3), Some("3DBox_CT_1.npz,1,,,"));
        let table = report.to_string();
        assert_eq!(table.lines().nth(3), Some("US            2D     2    37.50         37.50        -"));
        assert_eq!(table.lines().count(), 6);
    }
}
