//! Softmax of rows in place, one pass after another over a row that is still in the cache, with an exponential that
//! takes a vector at a time, and what the passes learn of a row on the way.

use pulp::{Scalar, Simd};
use rayon::prelude::*;

use crate::exp::exp;
use crate::tile::with_widest;

/// What a row of logits `x` was.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `log Σ eˣ`.
    pub log_sum: f32,
    /// Of its softmax, in nats: `log Σ eˣ − Σ p·x`.
    pub entropy: f32,
    /// The largest logit.
    pub largest: f32,
}

/// Makes every row of `rows` `[n, width]` its softmax, and tells what each was.
///
/// # Panics
/// When `rows` is no whole number of rows.
pub fn softmax(rows: &mut [f32], width: usize) -> Vec<Row> {
    assert!(width > 0 && rows.len().is_multiple_of(width), "rows of {width}");
    rows.par_chunks_mut(width).map(|row| with_widest(Softmax(row))).collect()
}

/// Of one row.
pub(crate) struct Softmax<'a>(pub &'a mut [f32]);

impl pulp::WithSimd for Softmax<'_> {
    type Output = Row;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Row {
        let (vectors, rest) = S::as_mut_simd_f32s(self.0);
        let mut most = simd.splat_f32s(f32::MIN);
        for x in &*vectors {
            most = simd.max_f32s(most, *x);
        }
        let largest = rest.iter().copied().fold(simd.reduce_max_f32s(most), f32::max);
        let (mut sums, mut weighted) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
        for x in &mut *vectors {
            let below = simd.sub_f32s(*x, simd.splat_f32s(largest));
            *x = exp(simd, below);
            sums = simd.add_f32s(sums, *x);
            weighted = simd.mul_add_f32s(*x, below, weighted);
        }
        let (mut sum, mut weighted) = (simd.reduce_sum_f32s(sums), simd.reduce_sum_f32s(weighted));
        for x in &mut *rest {
            let below = *x - largest;
            *x = exp(Scalar, below);
            sum += *x;
            weighted += *x * below;
        }
        let share = sum.recip();
        for x in vectors {
            *x = simd.mul_f32s(*x, simd.splat_f32s(share));
        }
        rest.iter_mut().for_each(|x| *x *= share);
        Row { log_sum: largest + sum.ln(), entropy: sum.ln() - weighted * share, largest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_their_softmax() {
        for width in [1, 3, 16, 50, 131] {
            let logits: Vec<f32> = (0..4 * width).map(|at| (at * 37 % 101) as f32 / 7.0 - 5.0).collect();
            let mut rows = logits.clone();
            let told = softmax(&mut rows, width);
            for ((row, logits), told) in rows.chunks(width).zip(logits.chunks(width)).zip(told) {
                let total: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
                let wanted: Vec<f64> = logits.iter().map(|&x| f64::from(x).exp() / total).collect();
                let entropy: f64 = wanted.iter().map(|p| -p * p.ln()).sum();
                assert!((f64::from(told.log_sum) - total.ln()).abs() < 1e-5);
                assert!((f64::from(told.entropy) - entropy).abs() < 1e-5, "{} is not {entropy}", told.entropy);
                assert_eq!(told.largest, logits.iter().copied().fold(f32::MIN, f32::max));
                assert!(row.iter().zip(wanted).all(|(p, wanted)| (f64::from(*p) - wanted).abs() < 1e-6));
            }
        }
    }
}
