use burn::tensor::Tensor;

use crate::{fused, host};

/// Root-mean-square norm over the last axis: `x / √(mean(x²) + ε) · w`.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    pub weight: Tensor<1>,
    pub epsilon: f64,
    /// `weight` is stored as its distance from 1.
    pub zero_centred: bool,
}

impl RmsNorm {
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.clone();
        let weight = if self.zero_centred { weight.add_scalar(1.0) } else { weight };
        if host::on_host(&x) {
            return fused::normed(x, weight, self.epsilon);
        }
        let mean_square = x.clone().powi_scalar(2).mean_dim(D - 1);
        let scale = mean_square.add_scalar(self.epsilon).sqrt().recip();
        x * scale * weight.unsqueeze::<D>()
    }
}
