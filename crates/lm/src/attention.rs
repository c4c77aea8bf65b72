//! Grouped-query attention with rotary positions and per-head norms of queries and keys, as Qwen3 has it.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use crate::batch::TokenBatch;
use crate::linear::Linear;
use crate::{Config, norm::RmsNorm};

/// What all layers of one forward pass share: rotary angles and the mask.
pub struct Frame {
    rows: usize,
    seq: usize,
    /// `[1 or rows, seq, 1, head_dim]`.
    cos: Tensor<4>,
    sin: Tensor<4>,
    /// `[1 or rows, 1, groups × seq, keys]`, 0 where a query may look and very negative where not; `None` when
    /// every query sees every key.
    bias: Option<Tensor<4>>,
}

/// Far below any score, and finite so that a row of padding does not become NaN.
const MASKED: f32 = -1e30;

impl Frame {
    /// A frame for `batch`, whose first column stands at position `start` of a sequence with `start` cached keys.
    pub fn new(config: &Config, batch: &TokenBatch, start: usize, device: &Device) -> Frame {
        let padded = batch.left_pad.iter().any(|&pad| pad > 0);
        let pads: &[usize] = if padded { &batch.left_pad } else { &[0] };
        let (cos, sin) = angles(config, pads, start, batch.width, device);
        let groups = config.num_attention_heads / config.num_key_value_heads;
        let needs_bias = padded || batch.width > 1;
        let bias = needs_bias.then(|| bias(pads, start, batch.width, groups, device));
        Frame { rows: batch.rows, seq: batch.width, cos, sin, bias }
    }

    /// Rotates `x` `[rows, seq, heads, head_dim]` (half-split, as Hugging Face stores the weights).
    fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, _, dim] = x.dims();
        let first = x.clone().narrow(3, 0, dim / 2);
        let second = x.clone().narrow(3, dim / 2, dim / 2);
        let turned = Tensor::cat(vec![second.neg(), first], 3);
        x * self.cos.clone() + turned * self.sin.clone()
    }
}

/// cos and sin of position × base^(−2j/d), `[pads, width, 1, head_dim]`; position 0 is a row's first real token.
fn angles(config: &Config, pads: &[usize], start: usize, width: usize, device: &Device) -> (Tensor<4>, Tensor<4>) {
    let dim = config.head_dim;
    let frequencies: Vec<f64> = (0..dim / 2).map(|j| config.rope_theta.powf(-2.0 * j as f64 / dim as f64)).collect();
    let mut cos = Vec::with_capacity(pads.len() * width * dim);
    let mut sin = Vec::with_capacity(cos.capacity());
    for pad in pads {
        for column in start..start + width {
            let position = column.saturating_sub(*pad) as f64;
            for j in 0..dim {
                let angle = position * frequencies[j % (dim / 2)];
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
    }
    let shape = [pads.len(), width, 1, dim];
    (Tensor::from_data(TensorData::new(cos, shape), device), Tensor::from_data(TensorData::new(sin, shape), device))
}

/// The additive mask: key ≤ query, and no key in a row's left padding.
fn bias(pads: &[usize], start: usize, width: usize, groups: usize, device: &Device) -> Tensor<4> {
    let keys = start + width;
    let mut values = Vec::with_capacity(pads.len() * groups * width * keys);
    for &pad in pads {
        for _ in 0..groups {
            for query in start..keys {
                values.extend((0..keys).map(|key| if key <= query && key >= pad { 0.0 } else { MASKED }));
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [pads.len(), 1, groups * width, keys]), device)
}

/// Keys and values of one layer, `[rows, kv_heads, keys, head_dim]` each.
#[derive(Clone, Debug)]
pub struct KeyValues {
    pub keys: Tensor<4>,
    pub values: Tensor<4>,
}

#[derive(Clone, Debug)]
pub struct Attention {
    pub q_proj: Linear,
    pub k_proj: Linear,
    pub v_proj: Linear,
    pub o_proj: Linear,
    pub q_norm: RmsNorm,
    pub k_norm: RmsNorm,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

impl Attention {
    /// `x` `[rows × seq, hidden]` to the same shape. `cache` is extended by this call's keys and values.
    pub fn forward(&self, x: Tensor<2>, frame: &Frame, cache: Option<&mut Option<KeyValues>>) -> Tensor<2> {
        let (rows, seq, dim) = (frame.rows, frame.seq, self.head_dim);
        let groups = self.heads / self.kv_heads;
        let q = self.q_proj.forward(x.clone()).reshape([rows, seq, self.heads, dim]);
        let k = self.k_proj.forward(x.clone()).reshape([rows, seq, self.kv_heads, dim]);
        let v = self.v_proj.forward(x).reshape([rows, seq, self.kv_heads, dim]).swap_dims(1, 2);
        let q = frame.rotate(self.q_norm.forward(q));
        let k = frame.rotate(self.k_norm.forward(k)).swap_dims(1, 2);
        let (k, v) = match cache {
            Some(slot) => extend(slot, k, v),
            None => (k, v),
        };
        // All query heads of a key head stand below one another as rows, so that keys need no copies.
        let q = q.reshape([rows, seq, self.kv_heads, groups, dim]).permute([0, 2, 3, 1, 4]);
        let q = q.reshape([rows, self.kv_heads, groups * seq, dim]).mul_scalar((dim as f64).powf(-0.5));
        let scores = q.matmul(k.swap_dims(2, 3));
        let scores = match &frame.bias {
            Some(bias) => scores + bias.clone(),
            None => scores,
        };
        let mixed = softmax(scores, 3).matmul(v);
        let mixed = mixed.reshape([rows, self.kv_heads, groups, seq, dim]).permute([0, 3, 1, 2, 4]);
        self.o_proj.forward(mixed.reshape([rows * seq, self.heads * dim]))
    }
}

fn extend(slot: &mut Option<KeyValues>, k: Tensor<4>, v: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let (keys, values) = match slot.take() {
        Some(old) => (Tensor::cat(vec![old.keys, k], 2), Tensor::cat(vec![old.values, v], 2)),
        None => (k, v),
    };
    *slot = Some(KeyValues { keys: keys.clone(), values: values.clone() });
    (keys, values)
}
