//! RMS norm (Zhang and Sennrich, 2019) over the last axis: `y = x / √(mean(x²) + ε) ∘ w`, a row at a time.
//!
//! As tensor operations it is five passes over memory forward and a dozen backward.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::tile::with_widest;

/// Rows that a thread takes at a time. The gradient of the weight is summed within such a part and then over the
/// parts, in order.
const PART: usize = 32;

/// What was normed: `x` `[n, width]`, by `w` `[width]`, with the `scales` `[n]` that [`rms_norm`] gave.
#[derive(Clone, Copy, Debug)]
pub struct Normed<'a> {
    pub x: &'a [f32],
    pub w: &'a [f32],
    pub scales: &'a [f32],
}

/// `y` `[n, width]` and what every row was multiplied by, `1 / √(mean(x²) + ε)` `[n]`, for `x` `[n, width]`.
///
/// # Panics
/// When `x` is no whole number of rows.
pub fn rms_norm(x: &[f32], w: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let rows = rows_of(x, w);
    let (mut y, mut scales) = (vec![0.0; x.len()], vec![0.0; rows]);
    let part = PART * w.len();
    let parts = (y.par_chunks_mut(part), x.par_chunks(part), scales.par_chunks_mut(PART));
    parts.into_par_iter().for_each(|(y, x, scales)| with_widest(Forward { x, w, epsilon, y, scales }));
    (y, scales)
}

/// The gradients of `x` and, where it is asked for, of `w`, from that of the result, `dy` `[n, width]`.
///
/// # Panics
/// When there are not as many scales and gradients as `x` has rows.
pub fn rms_norm_backward(normed: Normed<'_>, dy: &[f32], weight_too: bool) -> (Vec<f32>, Option<Vec<f32>>) {
    let Normed { x, w, scales } = normed;
    assert_eq!([scales.len(), dy.len()], [rows_of(x, w), x.len()], "a scale and a gradient for every row");
    let mut dx = vec![0.0; x.len()];
    let part = PART * w.len();
    let parts = (dx.par_chunks_mut(part), x.par_chunks(part), dy.par_chunks(part), scales.par_chunks(PART));
    let backward = |(dx, x, dy, scales)| {
        let mut dw = vec![0.0; if weight_too { w.len() } else { 0 }];
        with_widest(Backward { normed: Normed { x, w, scales }, dy, dx, dw: &mut dw });
        dw
    };
    let shares: Vec<Vec<f32>> = parts.into_par_iter().map(backward).collect();
    (dx, weight_too.then(|| sum(&shares, w.len())))
}

fn rows_of(x: &[f32], w: &[f32]) -> usize {
    assert!(!w.is_empty() && x.len().is_multiple_of(w.len()), "rows of {}", w.len());
    x.len() / w.len()
}

fn sum(shares: &[Vec<f32>], width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for share in shares {
        total.iter_mut().zip(share).for_each(|(total, share)| *total += share);
    }
    total
}

struct Forward<'a> {
    x: &'a [f32],
    w: &'a [f32],
    epsilon: f32,
    y: &'a mut [f32],
    scales: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.w.len();
        let rows = self.x.chunks_exact(width).zip(self.y.chunks_exact_mut(width));
        for ((x, y), scale) in rows.zip(self.scales) {
            *scale = 1.0 / (squares(simd, x) / width as f32 + self.epsilon).sqrt();
            scaled(simd, x, self.w, *scale, y);
        }
    }
}

/// `Σ x²`.
#[inline(always)]
fn squares<S: Simd>(simd: S, x: &[f32]) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(x);
    let mut sums = simd.splat_f32s(0.0);
    for x in vectors {
        sums = simd.mul_add_f32s(*x, *x, sums);
    }
    let mut sum = simd.reduce_sum_f32s(sums);
    for x in rest {
        sum += x * x;
    }
    sum
}

/// `y = x · scale ∘ w`.
#[inline(always)]
fn scaled<S: Simd>(simd: S, x: &[f32], w: &[f32], scale: f32, y: &mut [f32]) {
    let (xs, x_rest) = S::as_simd_f32s(x);
    let (ws, w_rest) = S::as_simd_f32s(w);
    let (ys, y_rest) = S::as_mut_simd_f32s(y);
    let factor = simd.splat_f32s(scale);
    for ((y, x), w) in ys.iter_mut().zip(xs).zip(ws) {
        *y = simd.mul_f32s(simd.mul_f32s(*x, factor), *w);
    }
    for ((y, x), w) in y_rest.iter_mut().zip(x_rest).zip(w_rest) {
        *y = x * scale * w;
    }
}

/// With `s` a row's scale: `dx = s·(w∘dy) − x·s³·mean(w∘dy∘x)`, `dw = Σ_rows dy∘x·s`.
struct Backward<'a> {
    normed: Normed<'a>,
    dy: &'a [f32],
    dx: &'a mut [f32],
    /// Empty where it is not asked for.
    dw: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Normed { x, w, scales } = self.normed;
        let width = w.len();
        let rows = x.chunks_exact(width).zip(self.dy.chunks_exact(width)).zip(self.dx.chunks_exact_mut(width));
        for (((x, dy), dx), scale) in rows.zip(scales) {
            let along = product(simd, x, w, dy);
            let pull = -scale * scale * scale * along / width as f32;
            towards(simd, [x, w, dy], [*scale, pull], dx);
            if !self.dw.is_empty() {
                gather(simd, x, dy, *scale, self.dw);
            }
        }
    }
}

/// `Σ a∘b∘c`.
#[inline(always)]
fn product<S: Simd>(simd: S, a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let (avs, a_rest) = S::as_simd_f32s(a);
    let (bvs, b_rest) = S::as_simd_f32s(b);
    let (cvs, c_rest) = S::as_simd_f32s(c);
    let mut sums = simd.splat_f32s(0.0);
    for ((a, b), c) in avs.iter().zip(bvs).zip(cvs) {
        sums = simd.mul_add_f32s(simd.mul_f32s(*b, *c), *a, sums);
    }
    let mut sum = simd.reduce_sum_f32s(sums);
    for ((a, b), c) in a_rest.iter().zip(b_rest).zip(c_rest) {
        sum += b * c * a;
    }
    sum
}

/// `dx = (w∘dy)·scale + x·pull`.
#[inline(always)]
fn towards<S: Simd>(simd: S, [x, w, dy]: [&[f32]; 3], [scale, pull]: [f32; 2], dx: &mut [f32]) {
    let (xs, x_rest) = S::as_simd_f32s(x);
    let (ws, w_rest) = S::as_simd_f32s(w);
    let (dys, dy_rest) = S::as_simd_f32s(dy);
    let (dxs, dx_rest) = S::as_mut_simd_f32s(dx);
    let (scales, pulls) = (simd.splat_f32s(scale), simd.splat_f32s(pull));
    for (((dx, x), w), dy) in dxs.iter_mut().zip(xs).zip(ws).zip(dys) {
        *dx = simd.mul_add_f32s(simd.mul_f32s(*w, *dy), scales, simd.mul_f32s(*x, pulls));
    }
    for (((dx, x), w), dy) in dx_rest.iter_mut().zip(x_rest).zip(w_rest).zip(dy_rest) {
        *dx = w * dy * scale + x * pull;
    }
}

/// `dw += dy∘x·scale`.
#[inline(always)]
fn gather<S: Simd>(simd: S, x: &[f32], dy: &[f32], scale: f32, dw: &mut [f32]) {
    let (xs, x_rest) = S::as_simd_f32s(x);
    let (dys, dy_rest) = S::as_simd_f32s(dy);
    let (dws, dw_rest) = S::as_mut_simd_f32s(dw);
    let factor = simd.splat_f32s(scale);
    for ((dw, x), dy) in dws.iter_mut().zip(xs).zip(dys) {
        *dw = simd.mul_add_f32s(simd.mul_f32s(*x, factor), *dy, *dw);
    }
    for ((dw, x), dy) in dw_rest.iter_mut().zip(x_rest).zip(dy_rest) {
        *dw += x * scale * dy;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, differences, numbers, wide, with_threads};

    const EPSILON: f64 = 1e-5;

    fn reference(x: &[f64], w: &[f64]) -> Vec<f64> {
        let row = |x: &[f64]| {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / w.len() as f64;
            x.iter().zip(w).map(|(x, w)| x / (mean + EPSILON).sqrt() * w).collect::<Vec<f64>>()
        };
        x.chunks_exact(w.len()).flat_map(row).collect()
    }

    fn inputs(rows: usize, width: usize) -> [Vec<f32>; 3] {
        [numbers(rows * width, 1), numbers(width, 2), numbers(rows * width, 3)]
    }

    #[test]
    fn rows_and_gradients_are_those_of_the_formula() {
        for (rows, width) in [(0, 4), (1, 3), (3, 6), (5, 16), (70, 40), (2, 131)] {
            let [x, w, dy] = inputs(rows, width);
            let (y, scales) = rms_norm(&x, &w, EPSILON as f32);
            assert_close(&y, &reference(&wide(&x), &wide(&w)), 1e-5);
            let (dx, dw) = rms_norm_backward(Normed { x: &x, w: &w, scales: &scales }, &dy, true);
            let of_x = differences(&x, &dy, |x| reference(x, &wide(&w)));
            assert_close(&dx, &of_x, 1e-4);
            let of_w = differences(&w, &dy, |w| reference(&wide(&x), w));
            assert_close(&dw.unwrap_or_default(), &of_w, 1e-4);
        }
    }

    #[test]
    fn threads_do_not_change_bits_and_a_weight_may_be_left_alone() {
        let [x, w, dy] = inputs(200, 50);
        let all = |threads| {
            with_threads(threads, || {
                let (y, scales) = rms_norm(&x, &w, EPSILON as f32);
                (y, rms_norm_backward(Normed { x: &x, w: &w, scales: &scales }, &dy, true))
            })
        };
        assert_eq!(all(1), all(4));
        let scales = rms_norm(&x, &w, EPSILON as f32).1;
        let (dx, dw) = rms_norm_backward(Normed { x: &x, w: &w, scales: &scales }, &dy, false);
        assert_eq!((dx, None), (all(1).1.0, dw));
    }
}
