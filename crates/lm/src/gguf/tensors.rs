//! Which tensor of a GGUF file is which of a Hugging Face folder, and what has to be undone.

use super::config::Family;
use super::file::{Gguf, Stored};
use crate::LmError;

/// Bytes that are read at once, about.
const CHUNK: usize = 1 << 20;
/// Factors of rotary frequencies, which llama 3 has instead of a field.
pub const FREQUENCIES: &str = "rope_freqs.weight";

const LAYER: [(&str, &str); 11] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
const MODEL: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// A tensor that is to be written.
#[derive(Debug)]
pub struct Wanted {
    /// Hugging Face's name.
    pub name: String,
    /// Its name in the file.
    stored: String,
    tensor: Stored,
    /// Heads whose rows are to be put in order again.
    heads: Option<usize>,
}

/// The tensors of a model.
#[derive(Debug)]
pub struct Plan {
    pub family: Family,
    pub tensors: Vec<Wanted>,
}

impl Plan {
    /// # Errors
    /// Naming the tensor that is no part of such a model.
    pub fn of(gguf: &Gguf) -> Result<Plan, LmError> {
        let family = Family::of(gguf)?;
        let (heads, kv_heads) = family.heads(gguf)?;
        let mut tensors = Vec::new();
        for (stored, tensor) in gguf.tensors() {
            if tensor.elements() == 0 {
                return Err(gguf.tensor_error(stored, "is empty"));
            }
            if stored == FREQUENCIES {
                continue;
            }
            let name = rename(stored);
            let name = name.ok_or_else(|| gguf.tensor_error(stored, "is not part of this architecture"))?;
            let heads = match family {
                Family::Llama if name.contains(".q_proj.") => Some(heads),
                Family::Llama if name.contains(".k_proj.") => Some(kv_heads),
                _ => None,
            };
            if let Some(heads) = heads
                && !tensor.shape[0].is_multiple_of(heads.saturating_mul(2))
            {
                let message = format!("has {} rows, which are no pairs for {heads} heads", tensor.shape[0]);
                return Err(gguf.tensor_error(stored, message));
            }
            tensors.push(Wanted { name, stored: stored.clone(), tensor: tensor.clone(), heads });
        }
        tensors.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Plan { family, tensors })
    }

    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.tensors.iter().map(|wanted| (wanted.name.clone(), wanted.tensor.shape.clone())).collect()
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.iter().find(|wanted| wanted.name == name).map(|wanted| wanted.tensor.shape.as_slice())
    }
}

/// `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`.
fn rename(stored: &str) -> Option<String> {
    let find = |table: &[(&str, &str)], name: &str| {
        table.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| ours.to_string())
    };
    let (place, end) = stored.rsplit_once('.').filter(|(_, end)| matches!(*end, "weight" | "bias"))?;
    let Some(rest) = place.strip_prefix("blk.") else { return Some(format!("{}.{end}", find(&MODEL, place)?)) };
    let (layer, name) = rest.split_once('.')?;
    let layer: usize = layer.parse().ok()?;
    Some(format!("model.layers.{layer}.{}.{end}", find(&LAYER, name)?))
}

impl Wanted {
    /// The numbers as Hugging Face has them.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, gguf: &Gguf) -> Result<Vec<f32>, LmError> {
        let values = numbers(gguf, &self.stored, &self.tensor)?;
        let rows = self.tensor.shape[0];
        Ok(match self.heads {
            Some(heads) => in_halves(&values, rows / heads, values.len() / rows),
            None => values,
        })
    }
}

/// The numbers of a tensor, out of their blocks.
///
/// # Errors
/// When the file cannot be read.
pub fn numbers(gguf: &Gguf, name: &str, tensor: &Stored) -> Result<Vec<f32>, LmError> {
    let kind = tensor.kind;
    let blocks = tensor.elements() / kind.elements();
    let step = CHUNK / kind.bytes();
    let mut values = Vec::with_capacity(tensor.elements());
    let mut buffer = vec![0; step.min(blocks) * kind.bytes()];
    for first in (0..blocks).step_by(step) {
        let chunk = &mut buffer[..step.min(blocks - first) * kind.bytes()];
        gguf.read(name, tensor, (first * kind.bytes()) as u64, chunk)?;
        kind.unpack(chunk, &mut values);
    }
    Ok(values)
}

/// Rows of `width` numbers, a head's `rows` of which are in pairs (x0, y0, x1, y1, ...) for llama.cpp's rotation, in
/// halves (x0, x1, ..., y0, y1, ...), which Hugging Face rotates.
fn in_halves(values: &[f32], rows: usize, width: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for head in values.chunks(rows * width) {
        for half in 0..2 {
            for pair in 0..rows / 2 {
                out.extend_from_slice(&head[(2 * pair + half) * width..][..width]);
            }
        }
    }
    out
}
