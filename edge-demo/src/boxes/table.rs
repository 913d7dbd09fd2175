//! Boxes in a table: CSV with a line of names.

use super::{BoxProblem, FileBoxes, Row, of_rows};

const NAMES: [&str; 6] = ["x0", "y0", "z0", "x1", "y1", "z1"];

pub(super) fn parse(text: &str) -> Result<FileBoxes, BoxProblem> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let head = lines.next().ok_or(BoxProblem::Empty)?;
    let names: Vec<&str> = head.split(',').map(str::trim).collect();
    let column = |name: &str| names.iter().position(|n| *n == name);
    let columns = NAMES.map(column);
    let found = columns.iter().flatten().count();
    let is_known = matches!(columns, [Some(_), Some(_), z0, Some(_), Some(_), z1] if z0.is_some() == z1.is_some());
    // As many as are known: none twice, and none that is not understood.
    if !is_known || names.len() != found {
        return Err(BoxProblem::Columns { found: head.chars().take(80).collect() });
    }
    of_rows(lines.enumerate().map(|(index, line)| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        if fields.len() != names.len() {
            return Err(BoxProblem::Fields { index, found: fields.len(), expected: names.len() });
        }
        let number = |i: usize| {
            let Some(column) = columns[i] else { return Ok(None) };
            let text = fields[column];
            let bad = || BoxProblem::Number { index, field: NAMES[i], found: text.chars().take(40).collect() };
            text.parse().map(Some).map_err(|_| bad())
        };
        let [x0, y0, z0, x1, y1, z1] = [number(0)?, number(1)?, number(2)?, number(3)?, number(4)?, number(5)?];
        let pair = |a: Option<f64>, b: Option<f64>| a.zip(b).map(<[f64; 2]>::from);
        let (Some(x), Some(y)) = (pair(x0, x1), pair(y0, y1)) else { return Err(BoxProblem::Empty) };
        Ok(Row { x, y, z: pair(z0, z1) })
    }))
}
