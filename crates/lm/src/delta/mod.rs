//! Gated DeltaNet (Yang et al., arXiv:2412.06464) as Qwen3.5 has it: instead of the keys and values of all positions a
//! head keeps one matrix, in which each position replaces what its key finds by its value.
//!
//! Before that queries, keys and values pass through a short causal convolution; behind it each head is normed and
//! gated. What layers carry across positions is in [`DeltaState`]; how it is carried is in [`rule`].

mod rule;

use burn::tensor::activation::{sigmoid, silu, softplus};
use burn::tensor::{Device, Tensor};

use crate::config::{Config, DeltaConfig};
use crate::frame::Frame;
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::parameter::{Slot, Source};
use rule::Tokens;

/// What a layer remembers of the columns so far.
#[derive(Clone, Debug)]
pub struct DeltaState {
    /// The convolution's last inputs, `[rows, kernel − 1, channels]`.
    pub window: Tensor<3>,
    /// The heads' matrices, `[rows, value_heads, key_dim, value_dim]`.
    pub memory: Tensor<4>,
}

impl DeltaState {
    /// The rows of all.
    pub(crate) fn joined(parts: Vec<DeltaState>) -> DeltaState {
        let (windows, memories) = parts.into_iter().map(|part| (part.window, part.memory)).unzip();
        DeltaState { window: Tensor::cat(windows, 0), memory: Tensor::cat(memories, 0) }
    }
}

#[derive(Clone, Debug)]
pub struct DeltaNet {
    pub in_proj_qkv: Linear,
    pub in_proj_z: Linear,
    pub in_proj_b: Linear,
    pub in_proj_a: Linear,
    pub out_proj: Linear,
    /// `conv1d.weight` `[channels, 1, kernel]`: each channel has its own.
    pub conv1d: Tensor<3>,
    /// `A_log` `[value_heads]`: logarithm of the speed of forgetting.
    pub a_log: Tensor<1>,
    /// `[value_heads]`.
    pub dt_bias: Tensor<1>,
    /// Over `value_dim`; the one norm that stores its weight itself in every model.
    pub norm: RmsNorm,
    pub shape: DeltaConfig,
}

impl DeltaNet {
    pub(crate) fn build<E>(config: &Config, shape: DeltaConfig, source: &mut Source<E>) -> Result<DeltaNet, E> {
        let (hidden, heads) = (config.hidden_size, shape.value_heads);
        let (channels, values) = (shape.channels(), heads * shape.value_dim);
        Ok(DeltaNet {
            in_proj_qkv: source.linear("in_proj_qkv", [channels, hidden], false)?,
            in_proj_z: source.linear("in_proj_z", [values, hidden], false)?,
            in_proj_b: source.linear("in_proj_b", [heads, hidden], false)?,
            in_proj_a: source.linear("in_proj_a", [heads, hidden], false)?,
            out_proj: source.linear("out_proj", [hidden, values], false)?,
            conv1d: source.take("conv1d.weight", [channels, 1, shape.kernel])?,
            a_log: source.take("A_log", [heads])?,
            dt_bias: source.take("dt_bias", [heads])?,
            norm: RmsNorm { zero_centred: false, ..source.norm("norm", shape.value_dim, config)? },
            shape,
        })
    }

    /// `x` `[rows × seq, hidden]` to the same shape. `cache` takes up the state behind the last column.
    ///
    /// Left padding comes in as zeros, of which the convolution and the rule make zeros: it leaves no trace.
    pub fn forward(&self, x: Tensor<2>, frame: &Frame, cache: Option<&mut Option<DeltaState>>) -> Tensor<2> {
        let x = frame.silence_padding(x);
        let (rows, seq) = (frame.rows, frame.seq);
        let DeltaConfig { value_heads, key_dim, value_dim, .. } = self.shape;
        let qkv = self.in_proj_qkv.forward(x.clone()).reshape([rows, seq, self.shape.channels()]);
        let before = cache.as_ref().and_then(|slot| (**slot).clone());
        let DeltaState { window, memory } = before.unwrap_or_else(|| self.blank(rows, &x.device()));
        let memory = memory.reshape([rows * value_heads, key_dim, value_dim]);
        let (qkv, window) = self.convolve(qkv, window);
        let (mixed, memory) = rule::run(self.tokens(&qkv, x.clone()), memory);
        if let Some(slot) = cache {
            *slot = Some(DeltaState { window, memory: memory.reshape([rows, value_heads, key_dim, value_dim]) });
        }
        let mixed = mixed.reshape([rows, value_heads, seq, value_dim]).swap_dims(1, 2);
        let mixed = self.norm.forward(mixed.reshape([rows * seq * value_heads, value_dim]));
        let gate = silu(self.in_proj_z.forward(x)).reshape([rows * seq * value_heads, value_dim]);
        self.out_proj.forward((mixed * gate).reshape([rows * seq, value_heads * value_dim]))
    }

    /// The state before the first column.
    fn blank(&self, rows: usize, device: &Device) -> DeltaState {
        let DeltaConfig { value_heads, key_dim, value_dim, kernel, .. } = self.shape;
        DeltaState {
            window: Tensor::zeros([rows, kernel - 1, self.shape.channels()], device),
            memory: Tensor::zeros([rows, value_heads, key_dim, value_dim], device),
        }
    }

    /// Each channel of `x` `[rows, seq, channels]` over the last `kernel` columns, `window` before the first; then
    /// SiLU. Gives the window for the columns to come too.
    fn convolve(&self, x: Tensor<3>, window: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let ([_, seq, channels], kernel) = (x.dims(), self.shape.kernel);
        let all = Tensor::cat(vec![window, x], 1);
        let tap = |at: usize| {
            let weight = self.conv1d.clone().narrow(2, at, 1).reshape([1, 1, channels]);
            all.clone().narrow(1, at, seq) * weight
        };
        let sum = (1..kernel).fold(tap(0), |sum, at| sum + tap(at));
        (silu(sum), all.narrow(1, seq, kernel - 1))
    }

    /// What the rule wants of every head, from `qkv` `[rows, seq, channels]` behind the convolution and the layer's
    /// input `x` `[rows × seq, hidden]`.
    fn tokens(&self, qkv: &Tensor<3>, x: Tensor<2>) -> Tokens {
        let ([rows, seq, _], shape) = (qkv.dims(), self.shape);
        let keys = shape.key_heads * shape.key_dim;
        let part = |start: usize, heads: usize, dim: usize| {
            qkv.clone().narrow(2, start, heads * dim).reshape([rows, seq, heads, dim])
        };
        let query = unit(part(0, shape.key_heads, shape.key_dim)).mul_scalar((shape.key_dim as f64).powf(-0.5));
        let key = unit(part(keys, shape.key_heads, shape.key_dim));
        let by_head = |x: Tensor<2>| {
            x.reshape([rows, seq, shape.value_heads]).swap_dims(1, 2).reshape([rows * shape.value_heads, seq])
        };
        let step = softplus(self.in_proj_a.forward(x.clone()) + self.dt_bias.clone().unsqueeze_dim::<2>(0), 1.0);
        let speed = self.a_log.clone().exp().unsqueeze_dim::<2>(0);
        Tokens {
            query: self.heads_first(query),
            key: self.heads_first(key),
            value: self.heads_first(part(2 * keys, shape.value_heads, shape.value_dim)),
            log_decay: by_head((step * speed).neg()),
            rate: by_head(sigmoid(self.in_proj_b.forward(x))),
        }
    }

    /// `[rows, seq, heads, dim]` to `[rows × value_heads, seq, dim]`; a key head serves neighbouring value heads.
    fn heads_first(&self, x: Tensor<4>) -> Tensor<3> {
        let [rows, seq, heads, dim] = x.dims();
        let served = self.shape.value_heads / heads;
        let x = x.permute([0, 2, 1, 3]);
        let x = match served {
            1 => x,
            _ => x.reshape([rows * heads, 1, seq, dim]).repeat_dim(1, served),
        };
        x.reshape([rows * heads * served, seq, dim])
    }

    pub(crate) fn projections_mut(&mut self) -> [(&'static str, &mut Linear); 5] {
        [
            ("linear_attn.in_proj_qkv", &mut self.in_proj_qkv),
            ("linear_attn.in_proj_z", &mut self.in_proj_z),
            ("linear_attn.in_proj_b", &mut self.in_proj_b),
            ("linear_attn.in_proj_a", &mut self.in_proj_a),
            ("linear_attn.out_proj", &mut self.out_proj),
        ]
    }

    /// The parameters that are no projections.
    pub(crate) fn others_mut(&mut self) -> Vec<(&'static str, Slot<'_>)> {
        vec![
            ("linear_attn.conv1d.weight", Slot::Three(&mut self.conv1d)),
            ("linear_attn.A_log", Slot::One(&mut self.a_log)),
            ("linear_attn.dt_bias", Slot::One(&mut self.dt_bias)),
            ("linear_attn.norm.weight", Slot::One(&mut self.norm.weight)),
        ]
    }
}

/// The last axis at length 1; zeros stay zeros.
fn unit(x: Tensor<4>) -> Tensor<4> {
    let square = x.clone().powi_scalar(2).sum_dim(3);
    x * square.add_scalar(1e-6).sqrt().recip()
}
