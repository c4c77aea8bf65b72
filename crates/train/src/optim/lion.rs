//! Lion (arXiv:2302.06675): `θ ← θ − lr·sign(β1·m + (1−β1)·g)`, then `m ← β2·m + (1−β2)·g`.

use burn::tensor::Tensor;

use super::Move;
use super::state::{Slots, take};

impl Move<'_> {
    pub(super) fn lion(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let (beta1, beta2) = (self.config.beta1, self.config.beta2);
        let momentum = take(slots, "first", &gradient);
        let direction = momentum.clone().mul_scalar(beta1) + gradient.clone().mul_scalar(1.0 - beta1);
        slots.insert("first", momentum.mul_scalar(beta2) + gradient.mul_scalar(1.0 - beta2));
        self.decayed(theta) - direction.sign().mul_scalar(self.rate)
    }
}
