//! Rounding weights to 8 bits so that what comes out of a layer, not the weights, stays what it was.

use ndarray::{Array1, Array2, ArrayView1, ArrayViewMut1, Axis};

/// How the scale of an output channel's weights is found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Observer {
    /// The largest magnitude becomes 127.
    MinMax,
    /// This share of the weights is within the range, 0 to 1; the others are cut off at its end.
    Percentile(f64),
    /// The range with the least squared error, each weight's counted by how large its input is.
    Mse,
}

impl std::fmt::Display for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::Percentile(share) => write!(f, "percentile:{share}"),
            Self::Mse => f.write_str("mse"),
        }
    }
}

impl std::str::FromStr for Observer {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let share = |s: &str| s.parse().ok().filter(|share| (0.5..=1.0).contains(share));
        match (s, s.strip_prefix("percentile:")) {
            ("min-max", _) => Ok(Self::MinMax),
            ("mse", _) => Ok(Self::Mse),
            (_, Some(number)) => {
                share(number).map(Self::Percentile).ok_or_else(|| format!("'{number}' is not 0.5 to 1"))
            }
            _ => Err(format!("observer '{s}' is none of min-max, percentile:SHARE, mse")),
        }
    }
}

/// Shares of the largest magnitude that are tried as the range.
const RANGES: usize = 21;
const LEAST_RANGE: f32 = 0.6;

impl Observer {
    /// The scale of one output channel's weights: what 1 of 127 stands for. `importance` is the mean square of each
    /// weight's input.
    fn scale(self, weights: ArrayView1<'_, f32>, importance: ArrayView1<'_, f64>) -> f32 {
        let largest = weights.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let range = match self {
            Self::MinMax => largest,
            Self::Percentile(share) => {
                let mut sorted: Vec<f32> = weights.iter().map(|v| v.abs()).collect();
                sorted.sort_by(f32::total_cmp);
                sorted[((sorted.len() - 1) as f64 * share).round() as usize]
            }
            Self::Mse => {
                let tried = (0..RANGES).map(|i| 1.0 - (1.0 - LEAST_RANGE) * i as f32 / (RANGES - 1) as f32);
                let error = |range: f32| -> f64 {
                    let scale = range / 127.0;
                    let squared = |(&w, &i): (&f32, &f64)| i * f64::from(w - nearest(w, scale)).powi(2);
                    weights.iter().zip(importance).map(squared).sum()
                };
                let errors = tried.map(|share| (error(share * largest), share * largest));
                errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(largest, |(_, range)| range)
            }
        };
        if range > 0.0 { range / 127.0 } else { 1.0 }
    }
}

/// The nearest of -127 to 127 steps.
fn nearest(value: f32, scale: f32) -> f32 {
    (value / scale).round_ties_even().clamp(-127.0, 127.0) * scale
}

/// Weights (n, k) rounded, each to its nearest step.
pub(super) fn round_nearest(weights: &Array2<f32>, importance: &Array1<f64>, observer: Observer) -> Array2<f32> {
    let mut rounded = weights.clone();
    for mut row in rounded.rows_mut() {
        let scale = observer.scale(row.view(), importance.view());
        row.mapv_inplace(|v| nearest(v, scale));
        keep_scale(row, scale);
    }
    rounded
}

/// Weights (n, k) rounded one input after another, what each rounding does wrong being made good by the inputs still to
/// come, as far as they go together with it (Frantar et al. 2022, GPTQ). `correlations` is the mean of x x^T.
pub(super) fn round_in_turn(weights: &Array2<f32>, correlations: &Array2<f64>, observer: Observer) -> Array2<f32> {
    let importance = correlations.diag().to_owned();
    let Some(factor) = inverse_factor(correlations, &importance) else {
        return round_nearest(weights, &importance, observer);
    };
    let k = weights.ncols();
    let mut rounded = weights.clone();
    let mut left = vec![0.0f64; k];
    for mut row in rounded.rows_mut() {
        let scale = observer.scale(row.view(), importance.view());
        left.iter_mut().zip(&row).for_each(|(l, &w)| *l = f64::from(w));
        for i in 0..k {
            let step = nearest(left[i] as f32, scale);
            row[i] = step;
            let own = factor.row(i);
            let wrong = (left[i] - f64::from(step)) / own[i];
            if wrong != 0.0 {
                left[i + 1..].iter_mut().zip(own.iter().skip(i + 1)).for_each(|(l, u)| *l -= wrong * u);
            }
        }
        keep_scale(row, scale);
    }
    rounded
}

/// Makes sure that the largest weight is 127 steps, by which an exporter that looks at the weights alone finds the steps
/// again. Where none is, the one nearest to it is moved there.
fn keep_scale(mut row: ArrayViewMut1<'_, f32>, scale: f32) {
    let largest = row.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).map(|(i, &v)| (i, v));
    if let Some((i, v)) = largest.filter(|(_, v)| *v != 0.0) {
        row[i] = (127.0 * scale).copysign(v);
    }
}

/// The upper triangular U with U^T U the inverse of the correlations, a hundredth of their mean added to the diagonal
/// so that inputs which were never seen do no harm; nothing if there is none.
fn inverse_factor(correlations: &Array2<f64>, diagonal: &Array1<f64>) -> Option<Array2<f64>> {
    let k = diagonal.len();
    let damping = 0.01 * diagonal.mean()?;
    // With rows and columns in reverse order, H = L L^T gives U = L^-1 in reverse order.
    let mut lower = Array2::<f64>::zeros((k, k));
    for i in 0..k {
        for j in 0..=i {
            let (done_i, done_j) = (lower.row(i), lower.row(j));
            let sum = dot(done_i.as_slice()?, done_j.as_slice()?, j);
            let value = correlations[[k - 1 - i, k - 1 - j]] + if i == j { damping } else { 0.0 } - sum;
            lower[[i, j]] = if i == j { Some(value.sqrt()).filter(|v| *v > 0.0)? } else { value / lower[[j, j]] };
        }
    }
    // Row j of the transposed inverse holds column j of L^-1.
    let mut inverse = Array2::<f64>::zeros((k, k));
    for j in 0..k {
        let mut column = inverse.row_mut(j);
        let column = column.as_slice_mut()?;
        column[j] = 1.0 / lower[[j, j]];
        for i in j + 1..k {
            let row = lower.row(i);
            let sum = dot(&row.as_slice()?[j..], &column[j..], i - j);
            column[i] = -sum / row[i];
        }
    }
    let mut factor = Array2::zeros((k, k));
    for ((i, j), value) in inverse.indexed_iter() {
        // inverse[i][j] is L^-1[j][i]; reversed both ways it is U[k-1-j][k-1-i].
        factor[[k - 1 - j, k - 1 - i]] = *value;
    }
    Some(factor)
}

fn dot(a: &[f64], b: &[f64], len: usize) -> f64 {
    a[..len].iter().zip(&b[..len]).map(|(a, b)| a * b).sum()
}

/// The mean of x x^T over the rows of `x`.
pub(super) fn correlations(x: &Array2<f32>) -> Array2<f64> {
    let x = x.mapv(f64::from);
    x.t().dot(&x) / x.len_of(Axis(0)).max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use umedsam::runtime::quantize_weights;

    use super::*;

    fn matrix(rows: usize, columns: usize, seed: u64) -> Array2<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Array2::from_shape_fn((rows, columns), |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
    }

    #[test]
    fn the_factor_is_that_of_the_inverse() {
        let h = correlations(&matrix(40, 12, 5));
        let u = inverse_factor(&h, &h.diag().to_owned()).unwrap();
        let damped = &h + &(Array2::<f64>::eye(12) * (0.01 * h.diag().mean().unwrap()));
        let identity = u.t().dot(&u).dot(&damped);
        for ((i, j), v) in identity.indexed_iter() {
            assert!((v - f64::from(u8::from(i == j))).abs() < 1e-9, "{i} {j} {v}");
            assert!(i <= j || u[[i, j]] == 0.0);
        }
    }

    #[test]
    fn rounding_in_turn_does_less_wrong_than_rounding_each() {
        // Inputs that go together, as activations do.
        let x = matrix(300, 6, 2).dot(&matrix(6, 24, 3)) + matrix(300, 24, 4) * 0.1;
        let w = matrix(10, 24, 1);
        let h = correlations(&x);
        let error = |rounded: &Array2<f32>| x.dot(&(&w - rounded).t()).mapv(|v| v * v).sum();
        let nearest = error(&round_nearest(&w, &h.diag().to_owned(), Observer::MinMax));
        let in_turn = error(&round_in_turn(&w, &h, Observer::MinMax));
        assert!(in_turn < 0.5 * nearest, "{in_turn} {nearest}");
    }

    proptest! {
        /// What the exporter makes of rounded weights are the very steps that they were rounded to.
        #[test]
        fn an_exporter_finds_the_steps_again(seed in any::<u64>(), in_turn in any::<bool>(), observer in 0..3_usize) {
            let observer = [Observer::MinMax, Observer::Percentile(0.9), Observer::Mse][observer];
            let (w, h) = (matrix(4, 16, seed), correlations(&matrix(64, 16, !seed)));
            let rounded = match in_turn {
                true => round_in_turn(&w, &h, observer),
                false => round_nearest(&w, &h.diag().to_owned(), observer),
            };
            let (integers, scales) = quantize_weights(rounded.as_slice().unwrap(), 4, |i| i / 16);
            for ((v, &q), i) in rounded.iter().zip(&integers).zip(0..) {
                let again: f32 = f32::from(q) * scales[i / 16];
                prop_assert!((again - v).abs() <= 2e-7 * 127.0 * scales[i / 16], "{again} {v}");
            }
        }
    }
}
