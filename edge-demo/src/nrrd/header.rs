//! The lines before the values.

use std::collections::BTreeMap;

use umedsam::intensity::NumberType;

use crate::read::{Problem, Source};
use crate::scan::Affine;

/// Bytes of the longest line, and lines, of a header: those of 3D Slicer have some 20 for each segment.
const LINE: usize = 1 << 16;
const LINES: usize = 1 << 16;
/// Axes of a file.
const AXES: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Raw,
    Gzip,
}

/// The fields that matter.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) kind: NumberType,
    pub(super) sizes: Vec<usize>,
    pub(super) encoding: Encoding,
    pub(super) big: bool,
    pub(super) line_skip: u64,
    pub(super) byte_skip: u64,
    pub(super) data_file: Option<String>,
    /// What a label is called.
    pub(super) names: BTreeMap<u16, String>,
    space: Option<Space>,
    /// The step along each axis, where it is one of space.
    directions: Option<Vec<Option<[f64; 3]>>>,
    origin: Option<[f64; 3]>,
    spacings: Vec<f64>,
    kinds: Vec<String>,
}

/// The sides that coordinates grow to: factors to RAS.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Space([f64; 3]);

/// What the axes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Values of each voxel that lie together.
    pub(super) first: usize,
    /// Whether there is an axis of such, the first.
    pub(super) first_axis: bool,
    /// They are colours.
    pub(super) colors: bool,
    /// Along x, y and z.
    pub(super) sides: [usize; 3],
}

impl Header {
    /// Reads the lines to the empty one, after which the values are where they are in the same file.
    pub(super) fn read(source: &mut Source) -> Result<Self, Problem> {
        let ended = || Problem::Ended { part: "the header", expected: 1, actual: 0 };
        let magic = source.line(LINE)?.ok_or_else(ended)?;
        if !magic.strip_prefix("NRRD000").is_some_and(|version| matches!(version, "1" | "2" | "3" | "4" | "5")) {
            return Err(Problem::Kind("no NRRD file of version 1 to 5".into()));
        }
        let (mut fields, mut pairs) = (BTreeMap::new(), BTreeMap::new());
        for n in 0.. {
            if n > LINES {
                return Err(Problem::Damaged(format!("a header of more than {LINES} lines")));
            }
            let Some(line) = source.line(LINE)? else {
                // A header whose values are elsewhere may end without an empty line.
                if fields.contains_key("data file") {
                    break;
                }
                return Err(ended());
            };
            if line.is_empty() {
                break;
            }
            if line.starts_with('#') {
                continue;
            }
            // A key has no ": " before its ":=".
            match (line.find(":="), line.find(": ")) {
                (Some(at), other) if other.is_none_or(|other| at < other) => {
                    pairs.insert(line[..at].to_string(), line[at + 2..].to_string());
                }
                (_, Some(at)) => {
                    let name = line[..at].to_ascii_lowercase();
                    let name = if name == "datafile" { "data file".into() } else { name };
                    if fields.insert(name, line[at + 2..].trim().to_string()).is_some() {
                        return Err(Problem::Damaged(format!("the field '{}' is there twice", &line[..at])));
                    }
                }
                _ => return Err(Problem::Damaged(format!("a line without a field: '{}'", shortened(&line)))),
            }
        }
        Self::of(&fields, &pairs)
    }

    fn of(fields: &BTreeMap<String, String>, pairs: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let text = |name: &str| fields.get(name).map(String::as_str);
        let require = |name: &'static str| text(name).ok_or_else(|| Problem::field(name, "missing", "a value"));
        let kind = number_type(require("type")?)?;
        let dimension: usize = require("dimension")?
            .parse()
            .ok()
            .filter(|n| (1..=16).contains(n))
            .ok_or_else(|| Problem::field("dimension", text("dimension").unwrap_or_default(), "1 to 16"))?;
        if !(2..=AXES).contains(&dimension) {
            return Err(Problem::Unsupported(format!("{dimension} dimensions; 2 to {AXES} are read")));
        }
        let sizes: Option<Vec<usize>> =
            require("sizes")?.split_whitespace().map(|n| n.parse().ok().filter(|n| *n > 0)).collect();
        let sizes = sizes.filter(|sizes| sizes.len() == dimension);
        let sizes = sizes.ok_or_else(|| {
            Problem::field("sizes", text("sizes").unwrap_or_default(), "a size above 0 for each axis")
        })?;
        let encoding = match require("encoding")?.to_ascii_lowercase().as_str() {
            "raw" => Encoding::Raw,
            "gzip" | "gz" => Encoding::Gzip,
            other => {
                return Err(Problem::Unsupported(format!(
                    "values in the encoding '{}'; raw and gzip are read",
                    shortened(other)
                )));
            }
        };
        let big = match text("endian").map(str::to_ascii_lowercase).as_deref() {
            Some("big") => true,
            Some("little") => false,
            None if kind.size() == 1 => false,
            other => return Err(Problem::field("endian", other.unwrap_or("missing"), "little or big")),
        };
        let whole = |first: &'static str, second: &str| match text(first).or(text(second)) {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| Problem::field(first, text, "a whole number from 0")),
        };
        let data_file = text("data file").map(str::to_string);
        if let Some(name) = &data_file {
            let several = name.starts_with("LIST") || name.contains('%');
            if several {
                return Err(Problem::Unsupported("values in several files, which are not read".into()));
            }
            let beside = std::path::Path::new(name).components().count() == 1 && !name.starts_with(['.', '/', '\\']);
            if !beside {
                return Err(Problem::field("data file", shortened(name), "a file beside the header"));
            }
        }
        let kinds =
            text("kinds").map_or_else(Vec::new, |text| text.split_whitespace().map(str::to_ascii_lowercase).collect());
        let spacings = text("spacings")
            .map_or_else(Vec::new, |text| text.split_whitespace().map(|v| v.parse().unwrap_or(f64::NAN)).collect());
        Ok(Self {
            kind,
            sizes,
            encoding,
            big,
            line_skip: whole("line skip", "lineskip")?,
            byte_skip: whole("byte skip", "byteskip")?,
            data_file,
            names: names(pairs),
            space: text("space").and_then(space),
            directions: text("space directions").map(directions).transpose()?,
            origin: text("space origin")
                .map(|text| {
                    vector(text).ok_or_else(|| Problem::field("space origin", shortened(text), "three numbers"))
                })
                .transpose()?,
            spacings,
            kinds,
        })
    }

    /// What the axes are: two or three of space, and before them one of colours or of volumes.
    pub(super) fn shape(&self) -> Result<Shape, Problem> {
        let told = |i: usize| self.directions.as_ref().and_then(|directions| directions.get(i));
        let kind = self.kinds.first().map_or("", String::as_str);
        // An axis without a direction beside others with one, or of a kind that is none of space.
        let apart = matches!(told(0), Some(None)) && matches!(told(1), Some(Some(_)));
        let named = !matches!(kind, "" | "domain" | "space" | "???" | "none");
        let first_axis = self.sizes.len() > 2 && (apart || named) || self.sizes.len() > 3;
        let sides = &self.sizes[usize::from(first_axis)..];
        if !(2..=3).contains(&sides.len()) {
            return Err(Problem::Unsupported(format!(
                "{} axes of kinds '{}' are not read",
                self.sizes.len(),
                self.kinds.join(" ")
            )));
        }
        if self.sizes.len() > 3 && !apart && !named && matches!(told(3), Some(None)) {
            return Err(Problem::Unsupported(
                "volumes one after the other are not read; values of a voxel together are".into(),
            ));
        }
        let first = if first_axis { self.sizes[0] } else { 1 };
        let color = matches!(kind, "rgb-color" | "3-color" | "vector" | "3-vector" | "rgba-color" | "4-color" | "");
        let colors = first == 3 && color && self.kind == NumberType::U8;
        Ok(Shape { first, first_axis, colors, sides: [sides[0], sides[1], sides.get(2).copied().unwrap_or(1)] })
    }

    /// Steps along x, y and z as the file has them.
    fn steps(&self, first_axis: bool) -> Result<Option<[[f64; 3]; 3]>, Problem> {
        let Some(directions) = &self.directions else { return Ok(None) };
        if directions.len() != self.sizes.len() {
            return Err(Problem::field("space directions", directions.len(), "a direction for each axis, or none"));
        }
        let steps: Option<Vec<[f64; 3]>> = directions[usize::from(first_axis)..].iter().copied().collect();
        Ok(match steps.as_deref() {
            Some(&[x, y, z]) => Some([x, y, z]),
            // A slice.
            Some(&[x, y]) => {
                let normal = crate::scan::cross(x, y);
                Some([x, y, normal.map(|v| v / crate::scan::length(normal))])
            }
            _ => None,
        })
    }

    /// The affine, where the file tells in which space it is.
    pub(super) fn affine(&self, first_axis: bool) -> Result<Option<Affine>, Problem> {
        let (Some(Space(signs)), Some([x, y, z])) = (self.space, self.steps(first_axis)?) else { return Ok(None) };
        let origin = self.origin.unwrap_or([0.0; 3]);
        let affine = Affine([0, 1, 2].map(|i| [x[i], y[i], z[i], origin[i]].map(|v| signs[i] * v)));
        match affine.is_regular() {
            true => Ok(Some(affine)),
            false => {
                Err(Problem::field("space directions", format!("{:?}", affine.0), "finite steps that span a volume"))
            }
        }
    }

    /// Size of a voxel where there is no affine.
    pub(super) fn spacing(&self, first_axis: bool) -> Result<Option<[f64; 3]>, Problem> {
        let steps = self.steps(first_axis)?.map(|steps| steps.map(crate::scan::length));
        let listed = self.spacings.get(usize::from(first_axis)..).map(|own| match own {
            [x, y, z] => [*x, *y, *z],
            [x, y] => [*x, *y, *y],
            _ => [f64::NAN; 3],
        });
        Ok(steps.or(listed).filter(|spacing| spacing.iter().all(|v| v.is_finite() && *v > 0.0)))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn number_type(text: &str) -> Result<NumberType, Problem> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "signed char" | "int8" | "int8_t" => NumberType::I8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => NumberType::U8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => NumberType::I16,
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => NumberType::U16,
        "int" | "signed int" | "int32" | "int32_t" => NumberType::I32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => NumberType::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => NumberType::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => NumberType::U64,
        "float" => NumberType::F32,
        "double" => NumberType::F64,
        "block" => return Err(Problem::Unsupported("voxels are blocks of bytes, which are not read".into())),
        _ => return Err(Problem::field("type", shortened(text), "a type of the format")),
    })
}

/// Spaces of the patient; of others nothing is known.
fn space(text: &str) -> Option<Space> {
    Some(Space(match text.to_ascii_lowercase().as_str() {
        "right-anterior-superior" | "ras" => [1.0, 1.0, 1.0],
        "left-anterior-superior" | "las" => [-1.0, 1.0, 1.0],
        "left-posterior-superior" | "lps" => [-1.0, -1.0, 1.0],
        _ => return None,
    }))
}

/// `(x,y,z)`, or `(x,y)` of a plane.
fn vector(text: &str) -> Option<[f64; 3]> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let numbers: Option<Vec<f64>> = inner.split(',').map(|v| v.trim().parse().ok()).collect();
    match numbers?[..] {
        [x, y] => Some([x, y, 0.0]),
        [x, y, z] => Some([x, y, z]),
        _ => None,
    }
}

fn directions(text: &str) -> Result<Vec<Option<[f64; 3]>>, Problem> {
    let wrong = || Problem::field("space directions", shortened(text), "vectors of three numbers, or none");
    let (mut found, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("none") {
            found.push(None);
            rest = after.trim_start();
        } else {
            let end = rest.find(')').ok_or_else(wrong)? + 1;
            found.push(Some(vector(&rest[..end]).ok_or_else(wrong)?));
            rest = rest[end..].trim_start();
        }
        if found.len() > AXES {
            return Err(wrong());
        }
    }
    // NaN stands for none, too.
    Ok(found.into_iter().map(|step| step.filter(|step| step.iter().any(|v| !v.is_nan()))).collect())
}

/// The names that 3D Slicer gives labels: of each segment a value and a name.
fn names(pairs: &BTreeMap<String, String>) -> BTreeMap<u16, String> {
    let value = |(key, value): (&String, &String)| {
        let segment = key.strip_suffix("_LabelValue").filter(|segment| segment.starts_with("Segment"))?;
        Some((value.trim().parse().ok()?, pairs.get(&format!("{segment}_Name"))?.clone()))
    };
    pairs.iter().filter_map(value).collect()
}
