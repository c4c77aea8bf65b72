//! Adadelta (arXiv:1212.5701), with the rate that PyTorch multiplies its step by (1 is the paper's):
//! `v ← ρ·v + (1−ρ)·g²`, `Δ = g·√(u+ε) / √(v+ε)`, `u ← ρ·u + (1−ρ)·Δ²`, `θ ← θ − lr·Δ`.

use burn::tensor::Tensor;

use super::Move;
use super::state::{Slots, averaged, take};

impl Move<'_> {
    pub(super) fn adadelta(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let args = self.config.args;
        let (rho, epsilon) = (args.rho.unwrap_or(0.9), args.eps.unwrap_or(1e-6));
        let second = averaged(slots, "second", gradient.clone().powi_scalar(2), rho);
        let before = take(slots, "delta", &gradient);
        let delta = gradient * before.clone().add_scalar(epsilon).sqrt() / second.add_scalar(epsilon).sqrt();
        slots.insert("delta", before.mul_scalar(rho) + delta.clone().powi_scalar(2).mul_scalar(1.0 - rho));
        theta - delta.mul_scalar(self.rate)
    }
}
