//! Muon (K. Jordan et al., 2024): the momentum of a matrix, orthogonalised.
//!
//! Five Newton–Schulz iterations bring the singular values of Nesterov's momentum near 1. The step is scaled by
//! `0.2·√max(rows, columns)` (arXiv:2502.16982), the root mean square of AdamW's, so that one rate serves the matrices
//! and the rest. The rest, which is AdamW's: vectors, embeddings and the head.

use burn::tensor::Tensor;
use gazal_lm::product;

use super::Move;
use super::config::is_vocabulary;
use super::state::{Slots, take};

/// Of the quintic `a·x + b·x³ + c·x⁵`: the steepest at 0 that keeps singular values between 0.7 and 1.2.
const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];

impl Move<'_> {
    pub(super) fn muon(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let name = self.parameter.name;
        let [rows, columns] = *self.parameter.shape else { return self.adam(slots, theta, gradient) };
        if is_vocabulary(name) {
            return self.adam(slots, theta, gradient);
        }
        let momentum = self.config.args.momentum.unwrap_or(0.95);
        let mean = take(slots, "first", &gradient).mul_scalar(momentum) + gradient.clone().mul_scalar(1.0 - momentum);
        slots.insert("first", mean.clone());
        let ahead = gradient.mul_scalar(1.0 - momentum) + mean.mul_scalar(momentum);
        let step = orthogonal(ahead.reshape([rows, columns]), self.config.args.ns_steps.unwrap_or(5));
        let scale = 0.2 * (rows.max(columns) as f64).sqrt();
        self.decayed(theta) - step.reshape([rows * columns]).mul_scalar(self.rate * scale)
    }
}

/// The nearest orthogonal matrix, about.
fn orthogonal(matrix: Tensor<2>, steps: usize) -> Tensor<2> {
    let [rows, columns] = matrix.dims();
    if rows > columns {
        return orthogonal(matrix.transpose(), steps).transpose();
    }
    let norm = matrix.clone().powi_scalar(2).sum().sqrt().add_scalar(1e-7).reshape([1, 1]);
    let [a, b, c] = QUINTIC;
    (0..steps).fold(matrix / norm, |x, _| {
        let gram = product([x.clone(), x.clone()], [false, true]);
        let factor = gram.clone().mul_scalar(b) + product([gram.clone(), gram], [false, false]).mul_scalar(c);
        product([factor, x.clone()], [false, false]) + x.mul_scalar(a)
    })
}
