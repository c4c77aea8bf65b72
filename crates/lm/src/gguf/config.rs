//! `config.json` and `generation_config.json` from the fields of a GGUF file.

use serde_json::{Map, Value, json};

use super::file::Gguf;
use super::tensors::{FREQUENCIES, Plan, numbers};
use crate::LmError;
use crate::weights::Precision;

/// Architectures that can be imported; their names are ggml's and Hugging Face's alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Llama,
    Qwen2,
    Qwen3,
}

impl Family {
    /// # Errors
    /// Naming the architecture that is none of these, and what it must not have.
    pub fn of(gguf: &Gguf) -> Result<Family, LmError> {
        let field = "general.architecture";
        let family = match gguf.text(field)? {
            Some("llama") => Family::Llama,
            Some("qwen2") => Family::Qwen2,
            Some("qwen3") => Family::Qwen3,
            Some(other) => return Err(gguf.wrong(field, format!("is `{other}`: llama, qwen2 and qwen3 are supported"))),
            None => return Err(gguf.wrong(field, "is missing")),
        };
        for name in ["expert_count", "attention.sliding_window"] {
            let field = family.field(name);
            if gguf.integer(&field)?.is_some_and(|value| value > 0) {
                return Err(gguf.wrong(&field, "is not supported"));
            }
        }
        Ok(family)
    }

    fn name(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
        }
    }

    fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "LlamaForCausalLM",
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
        }
    }

    fn field(self, name: &str) -> String {
        format!("{}.{name}", self.name())
    }

    /// Heads of queries, and of keys and values.
    ///
    /// # Errors
    /// When there are none.
    pub fn heads(self, gguf: &Gguf) -> Result<(usize, usize), LmError> {
        let field = self.field("attention.head_count");
        let heads = gguf.needed(&field)?;
        let field_kv = self.field("attention.head_count_kv");
        let kv_heads = gguf.integer(&field_kv)?.unwrap_or(heads);
        match (heads, kv_heads) {
            (0, _) => Err(gguf.wrong(&field, "is 0")),
            (_, 0) => Err(gguf.wrong(&field_kv, "is 0")),
            both => Ok(both),
        }
    }

    fn head_dim(self, gguf: &Gguf) -> Result<usize, LmError> {
        let (heads, _) = self.heads(gguf)?;
        let hidden = gguf.needed(&self.field("embedding_length"))?;
        let head_dim = gguf.integer(&self.field("attention.key_length"))?.unwrap_or(hidden / heads);
        let values = self.field("attention.value_length");
        if gguf.integer(&values)?.is_some_and(|length| length != head_dim) {
            return Err(gguf.wrong(&values, format!("differs from the {head_dim} of keys")));
        }
        let rotated = self.field("rope.dimension_count");
        match gguf.integer(&rotated)?.is_some_and(|rotated| rotated != head_dim) {
            true => Err(gguf.wrong(&rotated, format!("differs from the {head_dim} of a head"))),
            false => Ok(head_dim),
        }
    }
}

/// `config.json`.
///
/// # Errors
/// Naming the field that is missing or not supported.
pub fn config(gguf: &Gguf, plan: &Plan, precision: Precision) -> Result<Value, LmError> {
    let family = plan.family;
    let needed = |name: &str| gguf.needed(&family.field(name));
    let float = |name: &str| gguf.float(&family.field(name));
    let epsilon = "attention.layer_norm_rms_epsilon";
    let epsilon = float(epsilon)?.ok_or_else(|| gguf.wrong(&family.field(epsilon), "is missing"))?;
    let (heads, kv_heads) = family.heads(gguf)?;
    let embeddings = plan.shape("model.embed_tokens.weight");
    let vocab_size = embeddings.ok_or_else(|| gguf.tensor_error("token_embd.weight", "is missing"))?[0];
    let mut config = json!({
        "architectures": [family.architecture()],
        "model_type": family.name(),
        "vocab_size": vocab_size,
        "hidden_size": needed("embedding_length")?,
        "intermediate_size": needed("feed_forward_length")?,
        "num_hidden_layers": needed("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": family.head_dim(gguf)?,
        "max_position_embeddings": needed("context_length")?,
        "rms_norm_eps": epsilon,
        "rope_theta": float("rope.freq_base")?.unwrap_or(10000.0),
        "rope_scaling": scaling(gguf, family)?,
        "hidden_act": "silu",
        "attention_bias": family == Family::Llama && plan.shape("model.layers.0.self_attn.q_proj.bias").is_some(),
        "tie_word_embeddings": plan.shape("lm_head.weight").is_none(),
        "torch_dtype": precision.name(),
    });
    if family == Family::Llama {
        config["mlp_bias"] = plan.shape("model.layers.0.mlp.up_proj.bias").is_some().into();
    }
    for (name, id) in ids(gguf)? {
        config[name] = id.into();
    }
    Ok(config)
}

/// `bos_token_id`, `eos_token_id` and `pad_token_id`, where they are named.
fn ids(gguf: &Gguf) -> Result<Vec<(&'static str, usize)>, LmError> {
    let fields = [
        ("bos_token_id", "tokenizer.ggml.bos_token_id"),
        ("eos_token_id", "tokenizer.ggml.eos_token_id"),
        ("pad_token_id", "tokenizer.ggml.padding_token_id"),
    ];
    let mut ids = Vec::new();
    for (name, field) in fields {
        ids.extend(gguf.integer(field)?.map(|id| (name, id)));
    }
    Ok(ids)
}

/// `generation_config.json`: everything that ends a text or a turn is in `eos_token_id`.
///
/// # Errors
/// Naming the field that is no id.
pub fn generation(gguf: &Gguf) -> Result<Value, LmError> {
    let mut config: Map<String, Value> = ids(gguf)?.into_iter().map(|(name, id)| (name.into(), id.into())).collect();
    let mut ends = Vec::new();
    for name in ["eos", "eot", "eom"] {
        let id = gguf.integer(&format!("tokenizer.ggml.{name}_token_id"))?;
        ends.extend(id.filter(|id| !ends.contains(id)));
    }
    if ends.len() > 1 {
        config.insert("eos_token_id".into(), ends.into());
    }
    Ok(config.into())
}

/// `rope_scaling`, null if rotary positions are not scaled.
fn scaling(gguf: &Gguf, family: Family) -> Result<Value, LmError> {
    let kind = family.field("rope.scaling.type");
    let factor = || {
        let field = family.field("rope.scaling.factor");
        gguf.float(&field)?.ok_or_else(|| gguf.wrong(&field, "is missing"))
    };
    if let Some(stored) = gguf.tensors().get(FREQUENCIES) {
        return llama3(&numbers(gguf, FREQUENCIES, stored)?, gguf, family);
    }
    match gguf.text(&kind)? {
        None | Some("none") => Ok(Value::Null),
        Some("linear") => Ok(json!({ "rope_type": "linear", "factor": factor()? })),
        Some("yarn") => {
            let length = gguf.needed(&family.field("rope.scaling.original_context_length"))?;
            Ok(json!({ "rope_type": "yarn", "factor": factor()?, "original_max_position_embeddings": length }))
        }
        Some(other) => Err(gguf.wrong(&kind, format!("is `{other}`: none, linear and yarn are supported"))),
    }
}

/// llama.cpp writes llama 3's scaling as the factors that come of it. Those that all of Meta's models have come of one
/// rule, in which only the largest factor differs.
fn llama3(factors: &[f32], gguf: &Gguf, family: Family) -> Result<Value, LmError> {
    let (low, high, length) = (1.0, 4.0, 8192.0);
    let largest = factors.iter().copied().fold(1.0_f32, f32::max);
    let theta = gguf.float(&family.field("rope.freq_base"))?.unwrap_or(10000.0);
    let dimensions = 2.0 * factors.len() as f64;
    let expected = |index: usize| {
        let wavelength = 2.0 * std::f64::consts::PI * theta.powf(2.0 * index as f64 / dimensions);
        let smooth = ((length / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / f64::from(largest) + smooth)
    };
    let off = |(index, &factor): (usize, &f32)| (f64::from(factor) / expected(index) - 1.0).abs() > 1e-3;
    if factors.iter().enumerate().any(off) {
        return Err(gguf.tensor_error(FREQUENCIES, "scales positions in another way than llama 3 does"));
    }
    Ok(json!({
        "rope_type": "llama3",
        "factor": largest,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": length as u64,
    }))
}
