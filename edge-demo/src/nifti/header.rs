//! The header: 348 bytes of NIfTI-1, 540 of NIfTI-2, in either byte order.

use umedsam::intensity::NumberType;

use crate::read::Problem;
use crate::scan::Stored;

/// How the numbers of a voxel lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voxel {
    Gray(NumberType),
    Rgb,
    Rgba,
}

impl Voxel {
    pub(super) const fn bytes(self) -> u64 {
        match self {
            Self::Gray(kind) => kind.size() as u64,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// What a file's orientation is made of, as the file has it but in mm: kept to write it again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Forms {
    /// Code of the quaternion's coordinate system, 0 for none.
    pub qform_code: i16,
    /// Code of the matrix's coordinate system, 0 for none.
    pub sform_code: i16,
    /// b, c and d of the unit quaternion.
    pub quaternion: [f64; 3],
    /// Place of the first voxel, for the quaternion.
    pub offset: [f64; 3],
    /// The matrix.
    pub matrix: [[f64; 4]; 3],
    /// qfac (-1 or 1), and the size of a voxel along x, y and z.
    pub pixdim: [f64; 4],
}

/// The fields that matter.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) big: bool,
    /// Its own length in bytes.
    pub(super) length: u64,
    /// The voxels are in another file.
    pub(super) pair: bool,
    /// Sizes along x, y, z and of the fourth dimension.
    pub(super) dims: [u64; 4],
    pub(super) voxel: Voxel,
    /// Where the voxels start.
    pub(super) offset: u64,
    pub(super) slope: f64,
    pub(super) intercept: f64,
    pub(super) forms: Forms,
    /// The unit of lengths where it is not mm.
    pub(super) unit: Option<&'static str>,
}

/// What the first four bytes say: length of the header and byte order.
pub(super) fn length(first: [u8; 4]) -> Option<(usize, bool)> {
    match (i32::from_le_bytes(first), i32::from_be_bytes(first)) {
        (348, _) => Some((348, false)),
        (_, 348) => Some((348, true)),
        (540, _) => Some((540, false)),
        (_, 540) => Some((540, true)),
        _ => None,
    }
}

/// Fields at offsets that differ between the two versions.
struct Fields<'a> {
    bytes: &'a [u8],
    big: bool,
    second: bool,
}

impl Fields<'_> {
    fn at<T: Stored>(&self, offset: usize) -> f64 {
        T::of(&self.bytes[offset..][..size_of::<T>()], self.big).to_f64()
    }

    /// A number that is a float of 4 bytes in NIfTI-1 and of 8 in NIfTI-2; of a row of them the `i`-th.
    fn float(&self, (first, second): (usize, usize), i: usize) -> f64 {
        if self.second { self.at::<f64>(second + 8 * i) } else { self.at::<f32>(first + 4 * i) }
    }

    fn code(&self, first: usize, second: usize) -> i16 {
        (if self.second { self.at::<i32>(second) } else { self.at::<i16>(first) }) as i16
    }
}

impl Header {
    /// Reads a header that is as long as [`length`] says.
    pub(super) fn read(bytes: &[u8], big: bool) -> Result<Self, Problem> {
        let second = bytes.len() == 540;
        let fields = Fields { bytes, big, second };
        let magic: &[u8] = if second { &bytes[4..12] } else { &bytes[344..348] };
        let pair = match magic {
            b"n+1\0" | b"n+2\0\r\n\x1a\n" => false,
            b"ni1\0" | b"ni2\0\r\n\x1a\n" => true,
            _ if second => return Err(Problem::field("magic", magic.escape_ascii(), "that of NIfTI-2")),
            _ => return Err(Problem::Kind("Analyze 7.5, which does not tell left from right".into())),
        };
        let dims = dims(&fields)?;
        let code = if second { fields.at::<i16>(12) } else { fields.at::<i16>(70) } as i16;
        let voxel = voxel(code)?;
        let unit = (if second { fields.at::<i32>(500) } else { fields.at::<u8>(123) }) as i32 & 7;
        let (unit, mm) = match unit {
            1 => (Some("metres"), 1000.0),
            3 => (Some("micrometres"), 0.001),
            _ => (None, 1.0),
        };
        let three = |place: (usize, usize)| [0, 1, 2].map(|i| fields.float(place, i));
        let row = |i: usize| [0, 1, 2, 3].map(|k| fields.float((280, 400), 4 * i + k) * mm);
        let lengths = [1, 2, 3].map(|i| fields.float((76, 104), i) * mm);
        let forms = Forms {
            qform_code: fields.code(252, 344),
            sform_code: fields.code(254, 348),
            quaternion: three((256, 352)),
            offset: three((268, 376)).map(|v| v * mm),
            matrix: [0, 1, 2].map(row),
            pixdim: [fields.float((76, 104), 0), lengths[0], lengths[1], lengths[2]],
        };
        let offset = if second { fields.at::<i64>(168) } else { fields.at::<f32>(108) };
        let least = if pair { 0.0 } else { bytes.len() as f64 + 4.0 };
        let offset = if offset == 0.0 { least } else { offset };
        if !(offset >= least && offset.fract() == 0.0 && offset < 9e15) {
            return Err(Problem::field("vox_offset", offset, "a whole number beyond the header"));
        }
        let (slope, intercept) = (fields.float((112, 176), 0), fields.float((116, 184), 0));
        let (offset, length) = (offset as u64, bytes.len() as u64);
        Ok(Self { big, length, pair, dims, voxel, offset, slope, intercept, forms, unit })
    }

    /// What values are multiplied with and shifted by, if they are: a slope of 0, NaN or infinity means that they are not.
    pub(super) fn scale(&self) -> Result<Option<(f64, f64)>, Problem> {
        if self.slope == 0.0 || !self.slope.is_finite() || !matches!(self.voxel, Voxel::Gray(_)) {
            return Ok(None);
        }
        if !self.intercept.is_finite() {
            return Err(Problem::field("scl_inter", self.intercept, "a finite number beside a slope"));
        }
        Ok(Some((self.slope, self.intercept)).filter(|&scale| scale != (1.0, 0.0)))
    }

    /// Number of voxels of one volume.
    pub(super) fn voxels(&self) -> Option<u64> {
        self.dims[0].checked_mul(self.dims[1])?.checked_mul(self.dims[2])
    }
}

fn dims(fields: &Fields<'_>) -> Result<[u64; 4], Problem> {
    let dim = |i: usize| if fields.second { fields.at::<i64>(16 + 8 * i) } else { fields.at::<i16>(40 + 2 * i) };
    let count = dim(0);
    if !(1.0..=7.0).contains(&count) {
        return Err(Problem::field("dim[0]", count, "1 to 7"));
    }
    let mut dims = [1; 4];
    for i in 1..=count as usize {
        let size = dim(i);
        if !(1.0..9e15).contains(&size) {
            return Err(Problem::field("dim", format!("{size} in place {i}"), "at least 1"));
        }
        match dims.get_mut(i - 1) {
            Some(place) => *place = size as u64,
            None if size == 1.0 => {}
            None => {
                let intent = if fields.second { fields.at::<i32>(504) } else { fields.at::<i16>(68) };
                let what = if (3000.0..3100.0).contains(&intent) { "CIFTI, " } else { "" };
                return Err(Problem::Unsupported(format!("{what}{count} dimensions; 2 to 4 are read")));
            }
        }
    }
    Ok(dims)
}

fn voxel(code: i16) -> Result<Voxel, Problem> {
    Ok(Voxel::Gray(match code {
        2 => NumberType::U8,
        4 => NumberType::I16,
        8 => NumberType::I32,
        16 => NumberType::F32,
        64 => NumberType::F64,
        256 => NumberType::I8,
        512 => NumberType::U16,
        768 => NumberType::U32,
        1024 => NumberType::I64,
        1280 => NumberType::U64,
        128 => return Ok(Voxel::Rgb),
        2304 => return Ok(Voxel::Rgba),
        _ => {
            let name = match code {
                1 => "bits",
                32 | 1792 | 2048 => "complex numbers",
                1536 => "floats of 128 bits",
                _ => return Err(Problem::field("datatype", code, "a code of the standard")),
            };
            return Err(Problem::Unsupported(format!("voxels are {name}, which are not read")));
        }
    }))
}
