//! Rotary position embedding (Su et al., 2021) in the form of two halves, as Hugging Face's models have it:
//! `y = x∘cos + rotate_half(x)∘sin` with `rotate_half([x₁, x₂]) = [−x₂, x₁]`.
//!
//! As tensor operations it is seven passes over memory, two of which only lay halves side by side.

use pulp::{Scalar, Simd, WithSimd};
use rayon::prelude::*;

use crate::tile::with_widest;

/// Positions that a thread takes at a time.
const PART: usize = 32;

/// Of `x` `[rows, seq, heads, dim]`, whose first `turning` of the `dim` dimensions turn; the others are copied.
#[derive(Clone, Copy, Debug)]
pub struct RotaryShape {
    pub rows: usize,
    pub seq: usize,
    pub heads: usize,
    pub dim: usize,
    /// Even, and at most `dim`.
    pub turning: usize,
}

/// `x` turned, by cosines and sines `[origins, seq, turning]`, where `origins` is 1 or `rows`.
///
/// # Panics
/// When a length is not that of the shape.
pub fn rotary(shape: RotaryShape, x: &[f32], angles: [&[f32]; 2]) -> Vec<f32> {
    turned(shape, x, angles, Direction::Forward)
}

/// The gradient of `x` from `dy`, that of the result: the transpose, whatever the two halves of the angles are.
///
/// # Panics
/// When a length is not that of the shape.
pub fn rotary_backward(shape: RotaryShape, dy: &[f32], angles: [&[f32]; 2]) -> Vec<f32> {
    turned(shape, dy, angles, Direction::Backward)
}

#[derive(Clone, Copy)]
enum Direction {
    Forward,
    Backward,
}

fn turned(shape: RotaryShape, x: &[f32], angles: [&[f32]; 2], direction: Direction) -> Vec<f32> {
    let RotaryShape { rows, seq, heads, dim, turning } = shape;
    assert!(turning <= dim && turning.is_multiple_of(2), "{turning} of {dim} dimensions turn");
    assert_eq!(x.len(), rows * seq * heads * dim, "what turns is {shape:?}");
    for angles in angles {
        assert!([1, rows].map(|origins| origins * seq * turning).contains(&angles.len()), "angles of {shape:?}");
    }
    let mut y = vec![0.0; x.len()];
    let part = (PART * heads * dim).max(1);
    let turn = |(index, (y, x))| with_widest(Part { shape, first: index * PART, angles, direction, x, y });
    (y.par_chunks_mut(part), x.par_chunks(part)).into_par_iter().enumerate().for_each(turn);
    y
}

/// Some positions of all rows, counted through.
struct Part<'a> {
    shape: RotaryShape,
    first: usize,
    angles: [&'a [f32]; 2],
    direction: Direction,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let RotaryShape { heads, dim, turning, .. } = self.shape;
        let positions = self.x.chunks_exact(heads * dim).zip(self.y.chunks_exact_mut(heads * dim));
        for (at, (x, y)) in positions.enumerate() {
            let [cos, sin] = self.angles;
            let cos = angle(cos, self.first + at, turning);
            let sin = angle(sin, self.first + at, turning);
            for (x, y) in x.chunks_exact(dim).zip(y.chunks_exact_mut(dim)) {
                match self.direction {
                    Direction::Forward => forward(simd, x, cos, sin, y),
                    Direction::Backward => backward(simd, x, cos, sin, y),
                }
                y[turning..].copy_from_slice(&x[turning..]);
            }
        }
    }
}

/// Angles of one origin serve all rows.
#[inline(always)]
fn angle(angles: &[f32], position: usize, turning: usize) -> &[f32] {
    if turning == 0 { &[] } else { &angles[position * turning % angles.len()..][..turning] }
}

/// `y₁ = x₁∘cos₁ − x₂∘sin₁`, `y₂ = x₂∘cos₂ + x₁∘sin₂`.
#[inline(always)]
fn forward<S: Simd>(simd: S, x: &[f32], cos: &[f32], sin: &[f32], y: &mut [f32]) {
    let half = cos.len() / 2;
    let (x1, x2) = x[..2 * half].split_at(half);
    let (cos1, cos2) = cos.split_at(half);
    let (sin1, sin2) = sin.split_at(half);
    let (y1, y2) = y[..2 * half].split_at_mut(half);
    mixed(simd, [x1, cos1, x2, sin1], -1.0, y1);
    mixed(simd, [x2, cos2, x1, sin2], 1.0, y2);
}

/// `dx₁ = dy₁∘cos₁ + dy₂∘sin₂`, `dx₂ = dy₂∘cos₂ − dy₁∘sin₁`.
#[inline(always)]
fn backward<S: Simd>(simd: S, dy: &[f32], cos: &[f32], sin: &[f32], dx: &mut [f32]) {
    let half = cos.len() / 2;
    let (dy1, dy2) = dy[..2 * half].split_at(half);
    let (cos1, cos2) = cos.split_at(half);
    let (sin1, sin2) = sin.split_at(half);
    let (dx1, dx2) = dx[..2 * half].split_at_mut(half);
    mixed(simd, [dy1, cos1, dy2, sin2], 1.0, dx1);
    mixed(simd, [dy2, cos2, dy1, sin1], -1.0, dx2);
}

/// `out = a∘b + sign·c∘d`.
#[inline(always)]
fn mixed<S: Simd>(simd: S, [a, b, c, d]: [&[f32]; 4], sign: f32, out: &mut [f32]) {
    let (avs, a_rest) = S::as_simd_f32s(a);
    let (bvs, b_rest) = S::as_simd_f32s(b);
    let (cvs, c_rest) = S::as_simd_f32s(c);
    let (dvs, d_rest) = S::as_simd_f32s(d);
    let (outs, out_rest) = S::as_mut_simd_f32s(out);
    for ((((out, a), b), c), d) in outs.iter_mut().zip(avs).zip(bvs).zip(cvs).zip(dvs) {
        *out = mix(simd, [*a, *b, *c, *d], sign);
    }
    for ((((out, a), b), c), d) in out_rest.iter_mut().zip(a_rest).zip(b_rest).zip(c_rest).zip(d_rest) {
        *out = mix(Scalar, [*a, *b, *c, *d], sign);
    }
}

#[inline(always)]
fn mix<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; 4], sign: f32) -> S::f32s {
    simd.mul_add_f32s(a, b, simd.mul_f32s(simd.splat_f32s(sign), simd.mul_f32s(c, d)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, differences, numbers, wide, with_threads};

    fn reference(shape: RotaryShape, x: &[f64], [cos, sin]: [&[f32]; 2]) -> Vec<f64> {
        let RotaryShape { heads, dim, turning, .. } = shape;
        let element = |at: usize| {
            let (head, d) = (at - at % dim, at % dim);
            if d >= turning {
                return x[at];
            }
            let angle = |angles: &[f32]| f64::from(angles[(at / (heads * dim) * turning + d) % angles.len()]);
            let half = turning / 2;
            let other = if d < half { -x[head + d + half] } else { x[head + d - half] };
            x[at] * angle(cos) + other * angle(sin)
        };
        (0..x.len()).map(element).collect()
    }

    #[test]
    fn turns_and_gradients_are_those_of_the_formula() {
        for (rows, seq, heads, dim, turning) in [
            (1, 1, 1, 6, 6),
            (3, 5, 2, 8, 4),
            (2, 17, 1, 16, 0),
            (3, 35, 1, 10, 10),
            (1, 3, 2, 80, 72),
            (0, 3, 2, 8, 8),
        ] {
            let shape = RotaryShape { rows, seq, heads, dim, turning };
            for origins in [1, rows] {
                let [x, dy] = [1, 2].map(|seed| numbers(rows * seq * heads * dim, seed));
                let angles = [3, 4].map(|seed| numbers(origins * seq * turning, seed));
                let angles = [&angles[0][..], &angles[1][..]];
                assert_close(&rotary(shape, &x, angles), &reference(shape, &wide(&x), angles), 1e-6);
                let wanted = differences(&x, &dy, |x| reference(shape, x, angles));
                assert_close(&rotary_backward(shape, &dy, angles), &wanted, 1e-5);
            }
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let shape = RotaryShape { rows: 3, seq: 70, heads: 2, dim: 12, turning: 10 };
        let x = numbers(3 * 70 * 2 * 12, 1);
        let angles = [2, 3].map(|seed| numbers(70 * 10, seed));
        let all = |threads| with_threads(threads, || rotary(shape, &x, [&angles[0], &angles[1]]));
        assert_eq!(all(1), all(4));
    }
}
