//! `config.json` of the Qwen3 family, as Hugging Face writes it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::LmError;

/// The shape of a decoder. Field names are the checkpoint's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub tie_word_embeddings: bool,
    pub eos_token_id: Option<u32>,
    pub pad_token_id: Option<u32>,
}

/// `config.json` before it is checked: both of the places in which transformers keeps `rope_theta`.
#[derive(Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_parameters: Option<Value>,
    rope_scaling: Option<Value>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default)]
    tie_word_embeddings: bool,
    eos_token_id: Option<Value>,
    pad_token_id: Option<u32>,
}

fn silu() -> String {
    "silu".into()
}

impl Config {
    /// Reads `config.json` in `folder`.
    ///
    /// # Errors
    /// [`LmError::File`] naming the field that is missing or not supported.
    pub fn load(folder: &Path) -> Result<Config, LmError> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(LmError::io(&path))?;
        let raw: Raw = serde_json::from_str(&text).map_err(|error| LmError::file(&path, error))?;
        raw.check().map_err(|message| LmError::file(&path, message))
    }

    /// Writes `config.json` so that transformers loads it as `Qwen3ForCausalLM`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), LmError> {
        let path = folder.join("config.json");
        let mut value = serde_json::json!({
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "attention_bias": false,
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "torch_dtype": "float32",
        });
        if let (Some(into), Ok(Value::Object(fields))) = (value.as_object_mut(), serde_json::to_value(self)) {
            into.extend(fields);
        }
        let text = serde_json::to_string_pretty(&value).map_err(|error| LmError::file(&path, error))?;
        std::fs::write(&path, text + "\n").map_err(LmError::io(&path))
    }
}

impl Raw {
    fn check(self) -> Result<Config, String> {
        if self.model_type != "qwen3" {
            return Err(format!("`model_type` is `{}`: only qwen3 is supported", self.model_type));
        }
        for (set, field) in [(self.attention_bias, "attention_bias"), (self.use_sliding_window, "use_sliding_window")] {
            if set {
                return Err(format!("`{field}` is not supported"));
            }
        }
        if self.hidden_act != "silu" {
            return Err(format!("`hidden_act` is `{}`: only silu is supported", self.hidden_act));
        }
        if self.rope_scaling.as_ref().is_some_and(|scaling| !scaling.is_null()) {
            return Err("`rope_scaling` is not supported".into());
        }
        let rope_theta = self.rope_theta()?;
        let key_value_heads = self.num_key_value_heads.unwrap_or(self.num_attention_heads);
        if key_value_heads == 0 || !self.num_attention_heads.is_multiple_of(key_value_heads) {
            return Err("`num_attention_heads` must be a multiple of `num_key_value_heads`".into());
        }
        Ok(Config {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: key_value_heads,
            head_dim: self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads),
            max_position_embeddings: self.max_position_embeddings,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta,
            tie_word_embeddings: self.tie_word_embeddings,
            eos_token_id: self.eos_token_id.as_ref().and_then(first_id),
            pad_token_id: self.pad_token_id,
        })
    }

    fn rope_theta(&self) -> Result<f64, String> {
        let parameters = self.rope_parameters.as_ref();
        if let Some(kind) = parameters.and_then(|p| p.get("rope_type")).and_then(Value::as_str)
            && kind != "default"
        {
            return Err(format!("`rope_parameters.rope_type` is `{kind}`: only default is supported"));
        }
        let nested = parameters.and_then(|p| p.get("rope_theta")).and_then(Value::as_f64);
        nested.or(self.rope_theta).ok_or_else(|| "`rope_theta` is missing".into())
    }
}

fn first_id(value: &Value) -> Option<u32> {
    let id = value.as_array().map_or(Some(value), |ids| ids.first())?;
    id.as_u64().and_then(|id| u32::try_from(id).ok())
}
