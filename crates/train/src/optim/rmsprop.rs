//! RMSprop (Tieleman and Hinton, 2012), as PyTorch has it, with ε outside of the root:
//! `v ← α·v + (1−α)·g²`, `θ ← θ − lr·g / (√v + ε)`.

use burn::tensor::Tensor;

use super::Move;
use super::state::{Slots, averaged};

impl Move<'_> {
    pub(super) fn rmsprop(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let args = self.config.args;
        let second = averaged(slots, "second", gradient.clone().powi_scalar(2), args.alpha.unwrap_or(0.99));
        theta - gradient.mul_scalar(self.rate) / second.sqrt().add_scalar(args.eps.unwrap_or(1e-8))
    }
}
