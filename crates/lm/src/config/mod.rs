//! `config.json` as Hugging Face writes it, and the shape of a decoder that follows from it.
//!
//! The file decides, `model_type` by its family's defaults and then field by field; what would change the numbers and
//! is not supported is an error. Behind this module there are no families any more, only what a decoder has and has
//! not.

mod raw;
mod shapes;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Map, Value};

use crate::LmError;
use crate::rope::Rope;

/// The shape of a decoder. Field names are the checkpoint's where it has them.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    /// What mixes positions, by layer.
    pub layer_types: Vec<LayerType>,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope: Rope,
    pub tie_word_embeddings: bool,
    /// Whether `q_proj`, `k_proj` and `v_proj` have a bias.
    pub qkv_bias: bool,
    /// Whether `o_proj` has a bias.
    pub output_bias: bool,
    pub mlp_bias: bool,
    /// Whether queries and keys are normed head by head.
    pub qk_norm: bool,
    /// Whether `q_proj` gives each head a gate too, through which the head's output passes.
    pub attn_output_gate: bool,
    /// Whether norms store their distance from 1.
    pub zero_centred_norms: bool,
    /// The file as it came, that of the text tower where it was one of several: what [`Config::save`] writes.
    source: Map<String, Value>,
}

/// What mixes the positions of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerType {
    /// Softmax attention over all positions before.
    FullAttention,
    /// Gated DeltaNet.
    LinearAttention(DeltaConfig),
}

/// The shape of a Gated DeltaNet mixer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaConfig {
    /// `linear_num_key_heads`.
    pub key_heads: usize,
    /// `linear_num_value_heads`, a multiple of the key heads.
    pub value_heads: usize,
    /// `linear_key_head_dim`.
    pub key_dim: usize,
    /// `linear_value_head_dim`.
    pub value_dim: usize,
    /// `linear_conv_kernel_dim`: positions that the convolution sees.
    pub kernel: usize,
}

impl DeltaConfig {
    /// Queries, keys and values side by side.
    pub fn channels(&self) -> usize {
        2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim
    }
}

impl Config {
    /// Reads `config.json` in `folder`.
    ///
    /// # Errors
    /// [`LmError::File`] naming the field that is missing or not supported, its value, and what is.
    pub fn load(folder: &Path) -> Result<Config, LmError> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(LmError::io(&path))?;
        let value = serde_json::from_str(&text).map_err(|error| LmError::file(&path, error))?;
        raw::check(value).map_err(|message| LmError::file(&path, message))
    }

    /// The same from what would stand in the file.
    ///
    /// # Errors
    /// [`LmError::Config`] naming the field that is missing or not supported, its value, and what is.
    pub fn from_json(value: Value) -> Result<Config, LmError> {
        raw::check(value).map_err(LmError::Config)
    }

    /// What [`Config::save`] writes.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut fields = self.source.clone();
        let old = fields.contains_key("torch_dtype") && !fields.contains_key("dtype");
        fields.insert(if old { "torch_dtype" } else { "dtype" }.into(), "float32".into());
        fields
    }

    /// Writes `config.json` as it came, but for the type of the weights, which is float32 from here on; of a model
    /// with several towers, the text tower's.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), LmError> {
        let path = folder.join("config.json");
        let text = serde_json::to_string_pretty(&self.to_json()).map_err(|error| LmError::file(&path, error))?;
        std::fs::write(&path, text + "\n").map_err(LmError::io(&path))
    }

    /// Whether some layer is a Gated DeltaNet.
    pub fn has_linear_attention(&self) -> bool {
        self.layer_types.iter().any(|layer| matches!(layer, LayerType::LinearAttention(_)))
    }
}
