//! What a linear layer with an adapter does between its products: `y = (z + s·u)∘r`, where `z` is what the frozen weight
//! gives, `u` what the adapter adds, and `r` a ratio of each output (DoRA's `m/n`, arXiv:2402.09353).
//!
//! As tensor operations it is three passes over memory forward and six backward.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::tile::with_widest;

/// Rows that a thread takes at a time. Sums over rows are taken within such a part and then over the parts, in order.
const PART: usize = 32;

/// Makes `z` `[n, outputs]` `(z + scale·u)∘ratios`.
///
/// # Panics
/// When `z` is no whole number of rows, or `u` of another length.
pub fn adapt(z: &mut [f32], u: &[f32], (scale, ratios): (f32, &[f32])) {
    assert!(z.len() == u.len() && z.len().is_multiple_of(ratios.len().max(1)), "rows of {}", ratios.len());
    let part = (PART * ratios.len()).max(1);
    z.par_chunks_mut(part).zip(u.par_chunks(part)).for_each(|(z, u)| with_widest(Forward { z, u, scale, ratios }));
}

/// The gradient of `z + s·u` from `dy`, that of `y`; and `Σ dy∘y` of each output.
///
/// # Panics
/// As [`adapt`].
pub fn adapt_backward(dy: &[f32], y: &[f32], ratios: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert!(dy.len() == y.len() && y.len().is_multiple_of(ratios.len().max(1)), "rows of {}", ratios.len());
    let (part, mut dz) = ((PART * ratios.len()).max(1), vec![0.0; dy.len()]);
    let parts = (dz.par_chunks_mut(part), dy.par_chunks(part), y.par_chunks(part));
    let backward = |(dz, dy, y)| {
        let mut sums = vec![0.0; ratios.len()];
        with_widest(Backward { dz, dy, y, ratios, sums: &mut sums });
        sums
    };
    let sums: Vec<Vec<f32>> = parts.into_par_iter().map(backward).collect();
    let mut all = vec![0.0; ratios.len()];
    for sums in sums {
        all.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
    }
    (dz, all)
}

struct Forward<'a> {
    z: &'a mut [f32],
    u: &'a [f32],
    scale: f32,
    ratios: &'a [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ratios, last_ratios) = S::as_simd_f32s(self.ratios);
        let width = self.ratios.len();
        for (z, u) in self.z.chunks_exact_mut(width).zip(self.u.chunks_exact(width)) {
            let ((z, last_z), (u, last_u)) = (S::as_mut_simd_f32s(z), S::as_simd_f32s(u));
            for ((z, u), ratio) in z.iter_mut().zip(u).zip(ratios) {
                *z = simd.mul_f32s(simd.mul_add_f32s(simd.splat_f32s(self.scale), *u, *z), *ratio);
            }
            for ((z, u), ratio) in last_z.iter_mut().zip(last_u).zip(last_ratios) {
                *z = self.scale.mul_add(*u, *z) * ratio;
            }
        }
    }
}

struct Backward<'a> {
    dz: &'a mut [f32],
    dy: &'a [f32],
    y: &'a [f32],
    ratios: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ratios, last_ratios) = S::as_simd_f32s(self.ratios);
        let (sums, last_sums) = S::as_mut_simd_f32s(self.sums);
        let width = self.ratios.len();
        let rows = self.dz.chunks_exact_mut(width).zip(self.dy.chunks_exact(width)).zip(self.y.chunks_exact(width));
        for ((dz, dy), y) in rows {
            let ((dz, last_dz), (dy, last_dy)) = (S::as_mut_simd_f32s(dz), S::as_simd_f32s(dy));
            let (y, last_y) = S::as_simd_f32s(y);
            for ((((dz, dy), y), ratio), sum) in dz.iter_mut().zip(dy).zip(y).zip(ratios).zip(sums.iter_mut()) {
                *dz = simd.mul_f32s(*dy, *ratio);
                *sum = simd.mul_add_f32s(*dy, *y, *sum);
            }
            let last = last_dz.iter_mut().zip(last_dy).zip(last_y).zip(last_ratios).zip(last_sums.iter_mut());
            for ((((dz, dy), y), ratio), sum) in last {
                *dz = dy * ratio;
                *sum = dy.mul_add(*y, *sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_scaled_and_summed_forward_and_backward() {
        for (rows, width) in [(1, 1), (3, 7), (40, 16), (70, 37)] {
            let number = |at: usize, by: usize| ((at * by) % 89) as f32 / 40.0 - 1.0;
            let numbers = |count: usize, by: usize| (0..count).map(|at| number(at, by)).collect::<Vec<f32>>();
            let (z, u, ratios) = (numbers(rows * width, 31), numbers(rows * width, 17), numbers(width, 7));
            let mut y = z.clone();
            adapt(&mut y, &u, (0.5, &ratios));
            let dy = numbers(rows * width, 13);
            let (dz, sums) = adapt_backward(&dy, &y, &ratios);
            let mut wanted = vec![0.0_f64; width];
            for at in 0..rows * width {
                let ratio = ratios[at % width];
                assert!((y[at] - (z[at] + 0.5 * u[at]) * ratio).abs() < 1e-5);
                assert!((dz[at] - dy[at] * ratio).abs() < 1e-6);
                wanted[at % width] += f64::from(dy[at]) * f64::from(y[at]);
            }
            assert!(sums.iter().zip(wanted).all(|(sum, wanted)| (f64::from(*sum) - wanted).abs() < 1e-4));
        }
    }
}
