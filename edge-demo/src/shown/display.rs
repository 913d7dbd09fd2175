//! Values in 16 bits, for a browser.

use umedsam::VolumeSize;
use umedsam::intensity::{Number, Values};

use super::Plane;

/// How the values are shown: whole numbers of 16 bits, which a factor and a shift make values of.
pub enum Display {
    /// 8 bits, gray or interleaved RGB: the network's own.
    Bytes,
    /// `value = stored * slope + intercept`.
    Scaled {
        /// The factor.
        slope: f64,
        /// The shift.
        intercept: f64,
    },
}

impl Display {
    /// Exact for integers up to 16 bits; of other values the range is divided into 65535 steps.
    pub fn of(values: &Values) -> Self {
        macro_rules! range {
            ($v:expr) => {{
                let finite = $v.iter().map(|&v| Number::to_f64(v)).filter(|v| v.is_finite());
                finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
            }};
        }
        let (low, high) = match values {
            Values::U8(_) | Values::I8(_) | Values::I16(_) => return Self::Scaled { slope: 1.0, intercept: 0.0 },
            Values::U16(_) => return Self::Scaled { slope: 1.0, intercept: 32_768.0 },
            Values::U32(v) => range!(v),
            Values::I32(v) => range!(v),
            Values::U64(v) => range!(v),
            Values::I64(v) => range!(v),
            Values::F32(v) => range!(v),
            Values::F64(v) => range!(v),
        };
        if low.fract() == 0.0 && high.fract() == 0.0 && low >= -32_768.0 && high <= 32_767.0 && !is_float(values) {
            return Self::Scaled { slope: 1.0, intercept: 0.0 };
        }
        match low < high {
            true => {
                let slope = high / 65_535.0 - low / 65_535.0;
                Self::Scaled { slope, intercept: low + 32_768.0 * slope }
            }
            false => Self::Scaled { slope: 1.0, intercept: if low.is_finite() { low } else { 0.0 } },
        }
    }
}

const fn is_float(values: &Values) -> bool {
    matches!(values, Values::F32(_) | Values::F64(_))
}

/// The stored numbers of a slice, little endian.
pub(super) fn stored(values: &Values, plane: Plane, size: VolumeSize, slope: f64, intercept: f64) -> Vec<u8> {
    macro_rules! bytes {
        ($v:expr) => {{
            let values = plane.values($v, size, 1).into_iter();
            // NaN becomes 0, the others saturate.
            values.flat_map(|v| (((Number::to_f64(v) - intercept) / slope).round() as i16).to_le_bytes()).collect()
        }};
    }
    match values {
        Values::U8(v) => bytes!(v),
        Values::I8(v) => bytes!(v),
        Values::U16(v) => bytes!(v),
        Values::I16(v) => bytes!(v),
        Values::U32(v) => bytes!(v),
        Values::I32(v) => bytes!(v),
        Values::U64(v) => bytes!(v),
        Values::I64(v) => bytes!(v),
        Values::F32(v) => bytes!(v),
        Values::F64(v) => bytes!(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umedsam::VolumeSize;

    #[test]
    fn values_are_shown_in_16_bits() {
        let size = VolumeSize { depth: 1, height: 1, width: 3 };
        let plane = Plane::new(0, 0, size).unwrap();
        let shown = |values: Values| {
            let Display::Scaled { slope, intercept } = Display::of(&values) else { unreachable!() };
            let bytes = stored(&values, plane, size, slope, intercept);
            let value = |b: &[u8]| f64::from(i16::from_le_bytes([b[0], b[1]])) * slope + intercept;
            bytes.chunks_exact(2).map(value).collect::<Vec<f64>>()
        };
        assert_eq!(shown(Values::I16(vec![-1024, 0, 32_767])), [-1024.0, 0.0, 32_767.0]);
        assert_eq!(shown(Values::U16(vec![0, 40_000, 65_535])), [0.0, 40_000.0, 65_535.0]);
        assert_eq!(shown(Values::I32(vec![-5, 0, 9])), [-5.0, 0.0, 9.0]);
        let floats = shown(Values::F32(vec![-0.5, 0.25, 1.5]));
        assert!(floats.iter().zip([-0.5, 0.25, 1.5]).all(|(a, b)| (a - b).abs() < 2.0 / 65_535.0), "{floats:?}");
        assert_eq!(shown(Values::F64(vec![7.0; 3])), [7.0; 3]);
        assert!(
            shown(Values::F32(vec![f32::NAN, 1.0, 2.0]))[1..].iter().zip([1.0, 2.0]).all(|(a, b)| (a - b).abs() < 1e-4)
        );
    }
}
