//! Stochastic gradient descent with momentum, as PyTorch's `SGD` without dampening and Nesterov's look ahead:
//! `b ← μ·b + g`, `θ ← θ − lr·b`.

use burn::tensor::Tensor;

use super::Move;
use super::state::{Slots, take};

impl Move<'_> {
    pub(super) fn sgd(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let direction = match self.config.args.momentum.unwrap_or(0.0) {
            0.0 => gradient,
            momentum => {
                let buffer = take(slots, "first", &gradient).mul_scalar(momentum) + gradient;
                slots.insert("first", buffer.clone());
                buffer
            }
        };
        theta - direction.mul_scalar(self.rate)
    }
}
