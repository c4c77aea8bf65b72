//! The gate of SwiGLU (Shazeer, 2020): `silu(gate) ∘ up`, in one pass forward and one backward.
//!
//! As tensor operations it is six passes over memory and libm's `expf`, one number at a time.

use pulp::{Scalar, Simd, WithSimd};
use rayon::prelude::*;

use crate::exp::exp;
use crate::tile::with_widest;

/// Numbers that a thread takes at a time.
const PART: usize = 8192;

/// `silu(gate) ∘ up`, with `silu(x) = x·σ(x)`.
///
/// # Panics
/// When `gate` and `up` differ in length.
pub fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len(), "a gate for every number");
    let mut out = vec![0.0; gate.len()];
    let parts = (out.par_chunks_mut(PART), gate.par_chunks(PART), up.par_chunks(PART));
    parts.into_par_iter().for_each(|(out, gate, up)| with_widest(Forward { gate, up, out }));
    out
}

/// The gradients of `gate` and `up` from `dy`, that of the result.
///
/// # Panics
/// When the three differ in length.
pub fn swiglu_backward(gate: &[f32], up: &[f32], dy: &[f32]) -> [Vec<f32>; 2] {
    assert_eq!([gate.len(), up.len()], [dy.len(); 2], "a gate and a gradient for every number");
    let mut d = [(); 2].map(|()| vec![0.0; gate.len()]);
    let [d_gate, d_up] = &mut d;
    let outputs = (d_gate.par_chunks_mut(PART), d_up.par_chunks_mut(PART));
    let parts = (outputs, gate.par_chunks(PART), up.par_chunks(PART), dy.par_chunks(PART));
    parts.into_par_iter().for_each(|((d_gate, d_up), gate, up, dy)| {
        with_widest(Backward { inputs: [gate, up, dy], d_gate, d_up });
    });
    d
}

struct Forward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (gates, gate_rest) = S::as_simd_f32s(self.gate);
        let (ups, up_rest) = S::as_simd_f32s(self.up);
        let (outs, out_rest) = S::as_mut_simd_f32s(self.out);
        for ((out, gate), up) in outs.iter_mut().zip(gates).zip(ups) {
            *out = forward(simd, *gate, *up);
        }
        for ((out, gate), up) in out_rest.iter_mut().zip(gate_rest).zip(up_rest) {
            *out = forward(Scalar, *gate, *up);
        }
    }
}

struct Backward<'a> {
    /// `gate`, `up`, `dy`.
    inputs: [&'a [f32]; 3],
    d_gate: &'a mut [f32],
    d_up: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [gate, up, dy] = self.inputs;
        let (gates, gate_rest) = S::as_simd_f32s(gate);
        let (ups, up_rest) = S::as_simd_f32s(up);
        let (dys, dy_rest) = S::as_simd_f32s(dy);
        let (d_gates, d_gate_rest) = S::as_mut_simd_f32s(self.d_gate);
        let (d_ups, d_up_rest) = S::as_mut_simd_f32s(self.d_up);
        for ((((d_gate, d_up), gate), up), dy) in d_gates.iter_mut().zip(d_ups).zip(gates).zip(ups).zip(dys) {
            [*d_gate, *d_up] = backward(simd, *gate, *up, *dy);
        }
        let rest = d_gate_rest.iter_mut().zip(d_up_rest).zip(gate_rest).zip(up_rest).zip(dy_rest);
        for ((((d_gate, d_up), gate), up), dy) in rest {
            [*d_gate, *d_up] = backward(Scalar, *gate, *up, *dy);
        }
    }
}

#[inline(always)]
fn forward<S: Simd>(simd: S, gate: S::f32s, up: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.mul_f32s(gate, sigmoid(simd, gate)), up)
}

/// `silu'(x) = σ(x)·(1 + x·(1 − σ(x)))`.
#[inline(always)]
fn backward<S: Simd>(simd: S, gate: S::f32s, up: S::f32s, dy: S::f32s) -> [S::f32s; 2] {
    let one = simd.splat_f32s(1.0);
    let share = sigmoid(simd, gate);
    let slope = simd.mul_f32s(share, simd.mul_add_f32s(gate, simd.sub_f32s(one, share), one));
    let d_gate = simd.mul_f32s(simd.mul_f32s(dy, up), slope);
    [d_gate, simd.mul_f32s(dy, simd.mul_f32s(gate, share))]
}

/// `σ(x) = 1 / (1 + e⁻ˣ)`, from `e^−|x|`, which cannot overflow.
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let power = exp(simd, simd.min_f32s(x, simd.sub_f32s(zero, x)));
    let above = simd.select_f32s(simd.greater_than_f32s(x, zero), one, power);
    simd.div_f32s(above, simd.add_f32s(one, power))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, numbers, with_threads};

    fn silu(x: f64) -> f64 {
        x / (1.0 + (-x).exp())
    }

    fn inputs(count: usize) -> [Vec<f32>; 3] {
        let mut inputs = [1, 2, 3].map(|seed| numbers(count, seed));
        inputs[0].iter_mut().for_each(|gate| *gate *= 12.0);
        inputs
    }

    #[test]
    fn gates_are_those_of_the_formula() {
        for count in [0, 1, 7, 16, 50, 20_000] {
            let [gate, up, _] = inputs(count);
            let wanted: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| silu(f64::from(*g)) * f64::from(*u)).collect();
            assert_close(&swiglu(&gate, &up), &wanted, 1e-6);
        }
        assert_eq!(swiglu(&[1000.0, -1000.0, 0.0], &[2.0, 3.0, 4.0])[0], 2000.0);
    }

    #[test]
    fn gradients_are_the_differences_of_the_gate() {
        let [gate, up, dy] = inputs(20_000);
        let [d_gate, d_up] = swiglu_backward(&gate, &up, &dy);
        let step = 1e-5;
        let of = |at: usize| [gate[at], up[at], dy[at]].map(f64::from);
        let slope = |x: f64| (silu(x + step) - silu(x - step)) / (2.0 * step);
        let wanted: Vec<f64> = (0..gate.len()).map(|at| of(at)[2] * of(at)[1] * slope(of(at)[0])).collect();
        assert_close(&d_gate, &wanted, 1e-6);
        let wanted: Vec<f64> = (0..gate.len()).map(|at| of(at)[2] * silu(of(at)[0])).collect();
        assert_close(&d_up, &wanted, 1e-6);
    }

    #[test]
    fn threads_do_not_change_bits() {
        let [gate, up, dy] = inputs(40_001);
        let all = |threads| with_threads(threads, || (swiglu(&gate, &up), swiglu_backward(&gate, &up, &dy)));
        assert_eq!(all(1), all(4));
    }
}
