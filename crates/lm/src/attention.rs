//! Grouped-query attention with rotary positions; where the configuration has them, with per-head norms of queries
//! and keys and with a gate on what each head gives.

use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softmax};

use crate::frame::Frame;
use crate::key_values::KeyValues;
use crate::linear::Linear;
use crate::parameter::{Slot, Source};
use crate::{Config, fused, host, norm::RmsNorm};

#[derive(Clone, Debug)]
pub struct Attention {
    /// Where `gated`, a head's queries and then its gate, head by head.
    pub q_proj: Linear,
    pub k_proj: Linear,
    pub v_proj: Linear,
    pub o_proj: Linear,
    pub q_norm: Option<RmsNorm>,
    pub k_norm: Option<RmsNorm>,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Whether a head's output passes through the sigmoid of its gate.
    pub gated: bool,
}

impl Attention {
    pub(crate) fn build<E>(config: &Config, source: &mut Source<E>) -> Result<Attention, E> {
        let (hidden, dim, bias) = (config.hidden_size, config.head_dim, config.qkv_bias);
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let gated = config.attn_output_gate;
        let queries = if gated { 2 * heads * dim } else { heads * dim };
        let q_proj = source.linear("q_proj", [queries, hidden], bias)?;
        let k_proj = source.linear("k_proj", [kv_heads * dim, hidden], bias)?;
        let v_proj = source.linear("v_proj", [kv_heads * dim, hidden], bias)?;
        let o_proj = source.linear("o_proj", [hidden, heads * dim], config.output_bias)?;
        let mut norm = |name: &str| match config.qk_norm {
            true => source.norm(name, dim, config).map(Some),
            false => Ok(None),
        };
        let (q_norm, k_norm) = (norm("q_norm")?, norm("k_norm")?);
        Ok(Attention { q_proj, k_proj, v_proj, o_proj, q_norm, k_norm, heads, kv_heads, head_dim: dim, gated })
    }

    /// `x` `[rows × seq, hidden]` to the same shape. `cache` is extended by this call's keys and values.
    pub(crate) fn forward(&self, x: Tensor<2>, frame: &Frame, cache: Option<&mut Option<KeyValues>>) -> Tensor<2> {
        let (rows, seq, dim) = (frame.rows, frame.seq, self.head_dim);
        let (q, gate) = self.queries(x.clone(), frame);
        let k = self.k_proj.forward(x.clone()).reshape([rows, seq, self.kv_heads, dim]);
        let v = self.v_proj.forward(x).reshape([rows, seq, self.kv_heads, dim]);
        let q = frame.rotate(normed(&self.q_norm, q));
        let k = frame.rotate(normed(&self.k_norm, k));
        let mixed = match cache {
            None => self.attend([q, k, v], frame),
            Some(slot) => {
                let (keys, values) = (k.clone().swap_dims(1, 2), v.clone().swap_dims(1, 2));
                match slot.take() {
                    None => {
                        *slot = Some(KeyValues::new(keys, values));
                        self.attend([q, k, v], frame)
                    }
                    Some(kept) => self.attend_kept(q, slot.insert(kept.extended(keys, values)), frame),
                }
            }
        };
        self.o_proj.forward(match gate {
            Some(gate) => mixed * sigmoid(gate),
            None => mixed,
        })
    }

    /// Queries `[rows, seq, heads, head_dim]`, and the gate `[rows × seq, heads × head_dim]`.
    fn queries(&self, x: Tensor<2>, frame: &Frame) -> (Tensor<4>, Option<Tensor<2>>) {
        let (rows, seq, heads, dim) = (frame.rows, frame.seq, self.heads, self.head_dim);
        let q = self.q_proj.forward(x);
        if !self.gated {
            return (q.reshape([rows, seq, heads, dim]), None);
        }
        let both = q.reshape([rows, seq, heads, 2 * dim]);
        let gate = both.clone().narrow(3, dim, dim).reshape([rows * seq, heads * dim]);
        (both.narrow(3, 0, dim), Some(gate))
    }

    /// Queries `[rows, seq, heads, head_dim]` to what they find among keys and values `[rows, seq, key heads, head_dim]`,
    /// as `[rows × seq, heads × head_dim]`.
    fn attend(&self, [q, k, v]: [Tensor<4>; 3], frame: &Frame) -> Tensor<2> {
        match host::on_host(&q) {
            true => fused::attended([q, k, v], frame),
            false => self.mix(q, (k.swap_dims(1, 2), v.swap_dims(1, 2)), frame),
        }
    }

    /// The same among those that are kept, of which the last are the queries' own.
    fn attend_kept(&self, q: Tensor<4>, kept: &KeyValues, frame: &Frame) -> Tensor<2> {
        if !host::on_host(&q) {
            return self.mix(q, kept.seen(), frame);
        }
        let (keys, values, width) = kept.whole();
        fused::attended_kept([q, keys, values], width, frame)
    }

    /// By tensor operations, among keys and values `[rows, key heads, keys, head_dim]`.
    fn mix(&self, q: Tensor<4>, (keys, values): (Tensor<4>, Tensor<4>), frame: &Frame) -> Tensor<2> {
        let (rows, seq, dim) = (frame.rows, frame.seq, self.head_dim);
        let groups = self.heads / self.kv_heads;
        // All query heads of a key head stand below one another as rows, so that keys need no copies.
        let q = q.reshape([rows, seq, self.kv_heads, groups, dim]).permute([0, 2, 3, 1, 4]);
        let q = q.reshape([rows, self.kv_heads, groups * seq, dim]).mul_scalar((dim as f64).powf(-0.5));
        let scores = frame.mask(q.matmul(keys.swap_dims(2, 3)));
        let mixed = softmax(scores, 3).matmul(values);
        let mixed = mixed.reshape([rows, self.kv_heads, groups, seq, dim]).permute([0, 3, 1, 2, 4]);
        mixed.reshape([rows * seq, self.heads * dim])
    }

    pub(crate) fn projections_mut(&mut self) -> [(&'static str, &mut Linear); 4] {
        [
            ("self_attn.q_proj", &mut self.q_proj),
            ("self_attn.k_proj", &mut self.k_proj),
            ("self_attn.v_proj", &mut self.v_proj),
            ("self_attn.o_proj", &mut self.o_proj),
        ]
    }

    /// The parameters that are no projections.
    pub(crate) fn others_mut(&mut self) -> Vec<(&'static str, Slot<'_>)> {
        let norms = [("self_attn.q_norm.weight", &mut self.q_norm), ("self_attn.k_norm.weight", &mut self.k_norm)];
        norms.into_iter().filter_map(|(name, norm)| Some((name, Slot::One(&mut norm.as_mut()?.weight)))).collect()
    }
}

fn normed(norm: &Option<RmsNorm>, x: Tensor<4>) -> Tensor<4> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}
