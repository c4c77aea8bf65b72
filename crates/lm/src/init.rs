//! A decoder from nothing.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{Config, Decoder, LayerType, LmError};

/// How a decoder begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initialization {
    /// Matrices N(0, 0.02²), the two that write into the residual stream scaled by 1/√(2·layers) (GPT-2), norms 1.
    #[default]
    Normal,
    /// As a small model that is to learn from few tokens: see [`Circuit`].
    Induction,
}

/// A new decoder. `uniform(name, i)` gives the i-th random number in `[0, 1)` of a tensor.
///
/// # Errors
/// [`LmError::Config`] when induction heads do not fit into the first two layers.
pub fn init(
    config: &Config,
    initialization: Initialization,
    device: &Device,
    uniform: &dyn Fn(&str, u64) -> f64,
) -> Result<Decoder, LmError> {
    let circuit = match initialization {
        Initialization::Normal => None,
        Initialization::Induction => Some(Circuit::new(config, uniform)?),
    };
    let deviation = if circuit.is_some() { 0.03 } else { 0.02 };
    let layers = config.layer_types.len() as f64;
    let residual = (2.0 * layers).sqrt().recip();
    let tensor = |name: &str, shape: &[usize]| {
        let count: usize = shape.iter().product();
        let writes = ["o_proj.weight", "out_proj.weight", "down_proj.weight"].iter().any(|end| name.ends_with(end));
        let deviation = if writes { deviation * residual } else { deviation };
        let mut values: Vec<f64> = match shape.len() {
            1 => (0..count as u64).map(|i| vector_value(config, name, uniform(name, i))).collect(),
            _ => (0..count as u64).map(|i| normal(uniform, name, i) * deviation).collect(),
        };
        if let Some(circuit) = &circuit {
            circuit.place(name, &mut values);
        }
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        Ok(Tensor::from_data(TensorData::new(values, [count]), device))
    };
    Decoder::build(config.clone(), tensor)
}

/// Where a value of a vector begins: norms that change nothing, no bias, and DeltaNet heads that forget at speeds
/// between 0.01 and 16, as transformers has it. `random` is between 0 and 1.
fn vector_value(config: &Config, name: &str, random: f64) -> f64 {
    let stores_itself = name.ends_with("linear_attn.norm.weight") || name.ends_with("dt_bias");
    if name.ends_with("A_log") {
        (0.01 + random * (16.0 - 0.01)).ln()
    } else if name.ends_with(".bias") || (config.zero_centred_norms && !stores_itself) {
        0.0
    } else {
        1.0
    }
}

/// Induction heads (Olsson et al., arXiv:2209.11895) from the first step: every language model forms them, most after
/// 10⁸ tokens or more; one that sees 10⁶ on a CPU would not. They know nothing of any text: they find where the
/// present token, or the present two, stood before, and copy what followed.
///
/// Key head `j < 2` of layer 0 looks `j + 1` tokens back, by position alone, and writes which token stood there into a
/// subspace of its own. Key head 0 of layer 1 compares the present token with what stood one back, key head 1 compares
/// what stood one back with what stood two back; both copy. Position is read from the fastest rotary pairs and content
/// from the slowest, which do not turn within a context.
struct Circuit {
    config: Config,
    /// A direction that all embeddings share: what position-only queries and keys read.
    common: Vec<f64>,
    /// Rotary pairs that carry content.
    pairs: Vec<usize>,
    /// Three orthogonal bases: the token, what stood one back, what stood two back; each `2 × pairs` rows `[hidden]`.
    token: Rows,
    back: [Rows; 2],
    /// What the two copying heads read and write, `head_dim` rows each.
    copied: [Rows; 2],
    /// Small differences between query heads of one key head, which would otherwise stay alike for ever.
    noise: Vec<f64>,
}

type Rows = Vec<Vec<f64>>;

impl Circuit {
    /// Spread of the embeddings, and what they have in common.
    const EMBEDDING: f64 = 0.1;
    const COMMON: f64 = 0.05;
    /// What a head writes, beside a residual stream of about [`Circuit::EMBEDDING`].
    const GAIN: f64 = 0.3;
    /// Weight of the norms of queries and keys: sharp attention.
    const SHARP: f64 = 2.0;
    const NOISE: f64 = 0.05;

    /// Only layers of plain attention with norms of queries and keys, and heads of which all dimensions turn, are
    /// laid out as these heads want them.
    fn new(config: &Config, uniform: &dyn Fn(&str, u64) -> f64) -> Result<Circuit, LmError> {
        let first = config.layer_types.iter().take(2);
        let attention = first.filter(|layer| **layer == LayerType::FullAttention).count() == 2;
        let plain = config.qk_norm && !config.zero_centred_norms && !config.attn_output_gate;
        if !attention || !plain || config.rope.dim != config.head_dim {
            let message = "induction heads need two layers of plain attention with norms of queries and keys";
            return Err(LmError::Config(message.into()));
        }
        let (hidden, dim) = (config.hidden_size, config.head_dim);
        let numbers = |name: &str, rows: usize| -> Rows {
            let at = |row: usize, column: usize| normal(uniform, name, (row * hidden + column) as u64);
            (0..rows).map(|row| (0..hidden).map(|column| at(row, column)).collect()).collect()
        };
        let sign = |i: usize| if uniform("common direction", i as u64) < 0.5 { -1.0 } else { 1.0 };
        let common: Vec<f64> = (0..hidden).map(sign).collect();
        let count = (dim / 2 - dim / 8).min(hidden / 6);
        let pairs = (dim / 2 - count..dim / 2).collect();
        let mut rows = vec![common.clone()];
        rows.extend(numbers("content", 6 * count));
        let mut rows = orthonormal(rows).split_off(1);
        let two = rows.split_off(4 * count);
        let one = rows.split_off(2 * count);
        let mut copied = orthonormal(numbers("copied", (2 * dim).min(hidden)));
        let second = if copied.len() >= 2 * dim { copied.split_off(dim) } else { copied.clone() };
        copied.truncate(dim);
        let noise = numbers("noise", dim * config.num_attention_heads).concat();
        Ok(Circuit {
            config: config.clone(),
            common,
            pairs,
            token: rows,
            back: [one, two],
            copied: [copied, second],
            noise,
        })
    }

    /// Overwrites what of a tensor belongs to the circuit.
    fn place(&self, name: &str, values: &mut [f64]) {
        if name == "model.embed_tokens.weight" {
            for (at, value) in values.iter_mut().enumerate() {
                let common = Self::COMMON * self.common[at % self.config.hidden_size];
                *value = *value / 0.03 * Self::EMBEDDING + common;
            }
            return;
        }
        let Some((layer, name)) = name.strip_prefix("model.layers.").and_then(|name| name.split_once('.')) else {
            return;
        };
        let first = match layer {
            "0" => true,
            "1" => false,
            _ => return,
        };
        match name {
            "self_attn.q_norm.weight" | "self_attn.k_norm.weight" => values.fill(Self::SHARP),
            "self_attn.q_proj.weight" | "self_attn.k_proj.weight" | "self_attn.v_proj.weight" => {
                self.place_input(first, name, values);
            }
            "self_attn.o_proj.weight" => self.place_output(first, values),
            _ => {}
        }
    }

    /// Queries, keys and values: rows of heads.
    fn place_input(&self, first: bool, name: &str, values: &mut [f64]) {
        let (hidden, dim) = (self.config.hidden_size, self.config.head_dim);
        let query = name.contains("q_proj");
        let heads_of_key = if query { self.groups() } else { 1 };
        for key_head in 0..self.config.num_key_value_heads.min(2) {
            let content = match (first, name.contains("v_proj"), query) {
                (true, true, _) => self.spread(&self.token),
                (true, false, _) => self.positional(if query { key_head + 1 } else { 0 }),
                (false, true, _) => self.copied[key_head].clone(),
                (false, false, true) if key_head == 0 => self.spread(&self.token),
                (false, false, true) => self.spread(&self.back[0]),
                (false, false, false) => self.spread(&self.back[key_head]),
            };
            // A value that nothing writes stays as it was: a row of zeros would never learn.
            let values_only = name.contains("v_proj");
            let noise = if values_only { 0.0 } else { Self::NOISE / (hidden as f64).sqrt() };
            for head in key_head * heads_of_key..(key_head + 1) * heads_of_key {
                for (row, content) in content.iter().enumerate().filter(|(_, row)| !(values_only && is_zero(row))) {
                    let start = (head * dim + row) * hidden;
                    for column in 0..hidden {
                        values[start + column] = content[column] + noise * self.noise[start + column];
                    }
                }
            }
        }
    }

    /// What heads write: columns of heads, the transpose of a basis.
    fn place_output(&self, first: bool, values: &mut [f64]) {
        let (hidden, dim) = (self.config.hidden_size, self.config.head_dim);
        let width = self.config.num_attention_heads * dim;
        let groups = self.groups();
        for key_head in 0..self.config.num_key_value_heads.min(2) {
            let basis = if first { self.spread(&self.back[key_head]) } else { self.copied[key_head].clone() };
            for head in key_head * groups..(key_head + 1) * groups {
                for (row, basis) in basis.iter().enumerate().filter(|(_, row)| !is_zero(row)) {
                    for column in 0..hidden {
                        values[column * width + head * dim + row] = basis[column] * Self::GAIN / groups as f64;
                    }
                }
            }
        }
    }

    fn groups(&self) -> usize {
        self.config.num_attention_heads / self.config.num_key_value_heads
    }

    /// A basis as `head_dim` rows: its rows in the rotary pairs that carry content, zero elsewhere.
    fn spread(&self, basis: &Rows) -> Rows {
        let dim = self.config.head_dim;
        let mut rows = vec![vec![0.0; self.config.hidden_size]; dim];
        for (index, &pair) in self.pairs.iter().enumerate() {
            rows[pair].clone_from(&basis[index]);
            rows[dim / 2 + pair].clone_from(&basis[self.pairs.len() + index]);
        }
        rows
    }

    /// A query that finds the key `back` tokens before it, or with 0 that key: both read the common direction, the
    /// query turned back by as many positions.
    fn positional(&self, back: usize) -> Rows {
        let (dim, hidden) = (self.config.head_dim, self.config.hidden_size as f64);
        let row = |weight: f64| self.common.iter().map(|value| value * weight / hidden.sqrt()).collect();
        let mut rows = vec![vec![0.0; self.config.hidden_size]; dim];
        for pair in 0..dim / 8 {
            let weight = (-(pair as f64) / 3.0).exp();
            let angle = -(back as f64) * self.config.rope.theta.powf(-2.0 * pair as f64 / dim as f64);
            rows[pair] = row(weight * (angle.cos() - angle.sin()));
            rows[dim / 2 + pair] = row(weight * (angle.cos() + angle.sin()));
        }
        rows
    }
}

fn is_zero(row: &[f64]) -> bool {
    row.iter().all(|value| *value == 0.0)
}

/// Gram–Schmidt.
fn orthonormal(mut rows: Rows) -> Rows {
    for index in 0..rows.len() {
        let (done, rest) = rows.split_at_mut(index);
        let row = &mut rest[0];
        for other in done.iter() {
            let share: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
        }
        let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        row.iter_mut().for_each(|value| *value /= norm);
    }
    rows
}

/// A standard normal number by Box and Muller: the `index`th of a tensor, from its uniform numbers in `[0, 1)`.
pub fn normal(uniform: &dyn Fn(&str, u64) -> f64, name: &str, index: u64) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(name, 2 * index)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(name, 2 * index + 1)).cos()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::TokenBatch;
    use crate::weights::to_host;

    fn config(model_type: &str) -> Config {
        let value = serde_json::json!({
            "model_type": model_type,
            "vocab_size": 200,
            "hidden_size": 96,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "max_position_embeddings": 128,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000.0,
            "tie_word_embeddings": true,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
        });
        Config::from_json(value).unwrap()
    }

    /// SplitMix64, another start for each name.
    fn uniform(name: &str, index: u64) -> f64 {
        let start = name.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut bits = (start << 32).wrapping_add(index).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean log-probability of 24 tokens that come a second time.
    fn second_time(initialization: Initialization) -> f64 {
        let device = Device::flex();
        let decoder = init(&config("qwen3"), initialization, &device, &uniform).unwrap();
        let tokens: Vec<u32> = (0..24).map(|i| (i * 67 + 5) % 200).collect();
        let twice = [tokens.clone(), tokens.clone()].concat();
        let batch = TokenBatch::right_padded(&[twice], 0);
        let positions: Vec<usize> = (24..47).collect();
        let found = to_host(decoder.log_probs(&batch, &positions, &tokens[1..], 1.0));
        found.iter().map(|&value| f64::from(value)).sum::<f64>() / found.len() as f64
    }

    #[test]
    fn a_model_with_induction_heads_expects_what_it_has_seen() {
        let chance = -(200_f64).ln();
        let (normal, induction) = (second_time(Initialization::Normal), second_time(Initialization::Induction));
        assert!((normal - chance).abs() < 0.3, "{normal} is not near {chance}");
        assert!(induction > chance + 0.5, "{induction} is not above {chance}");
    }

    #[test]
    fn no_weight_is_dead() {
        let mut decoder = init(&config("qwen3"), Initialization::Induction, &Device::flex(), &uniform).unwrap();
        decoder.visit(&mut |name, slot| {
            let shape = slot.shape();
            let values = to_host(slot.flat());
            let width = shape.last().copied().unwrap_or(1);
            let zero = values.chunks(width).any(|row| row.iter().all(|value| *value == 0.0));
            assert!(!zero, "{name} has a row of zeros, which DoRA cannot scale");
        });
    }

    #[test]
    fn every_family_begins_near_chance() {
        for model_type in ["llama", "qwen2", "qwen3", "qwen3_5_text"] {
            let decoder = init(&config(model_type), Initialization::Normal, &Device::flex(), &uniform).unwrap();
            let batch = TokenBatch::right_padded(&[(0..20).collect::<Vec<u32>>()], 0);
            let positions: Vec<usize> = (0..19).collect();
            let targets: Vec<u32> = (1..20).collect();
            for log_prob in to_host(decoder.log_probs(&batch, &positions, &targets, 1.0)) {
                assert!(
                    (f64::from(log_prob) + 200_f64.ln()).abs() < 1.0,
                    "{model_type}: {log_prob} is not near chance"
                );
            }
        }
    }

    #[test]
    fn induction_heads_are_refused_where_they_do_not_fit() {
        for model_type in ["llama", "qwen2", "qwen3_5_text"] {
            let refused = init(&config(model_type), Initialization::Induction, &Device::flex(), &uniform);
            assert!(refused.unwrap_err().to_string().contains("plain attention"), "{model_type}");
        }
    }
}
