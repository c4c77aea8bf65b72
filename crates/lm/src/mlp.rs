use burn::tensor::Tensor;
use burn::tensor::activation::silu;

use crate::linear::Linear;
use crate::parameter::Source;
use crate::{Config, fused, host};

/// SwiGLU (arXiv:2002.05202): `down(silu(gate(x)) ⊙ up(x))`.
#[derive(Clone, Debug)]
pub struct Mlp {
    pub gate_proj: Linear,
    pub up_proj: Linear,
    pub down_proj: Linear,
}

impl Mlp {
    pub(crate) fn build<E>(config: &Config, source: &mut Source<E>) -> Result<Mlp, E> {
        let (hidden, inner, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        Ok(Mlp {
            gate_proj: source.linear("gate_proj", [inner, hidden], bias)?,
            up_proj: source.linear("up_proj", [inner, hidden], bias)?,
            down_proj: source.linear("down_proj", [hidden, inner], bias)?,
        })
    }

    /// `x` `[rows, hidden]` to the same shape.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (gate, up) = (self.gate_proj.forward(x.clone()), self.up_proj.forward(x));
        self.down_proj.forward(match host::on_host(&gate) {
            true => fused::gated(gate, up),
            false => silu(gate) * up,
        })
    }

    pub(crate) fn projections_mut(&mut self) -> [(&'static str, &mut Linear); 3] {
        [
            ("mlp.gate_proj", &mut self.gate_proj),
            ("mlp.up_proj", &mut self.up_proj),
            ("mlp.down_proj", &mut self.down_proj),
        ]
    }
}
