//! A merge's configuration as mergekit writes it: the shape of its YAML, which TOML and JSON share.
//!
//! Reading stops at the first value of a wrong type. Everything else that is wrong is found by [`MergeConfig::check`]
//! and told at once, so keys that nobody knows and parameters are kept as they stand until then.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{MergeError, Problem};
use crate::method::Method;

/// The whole file. Models' names are opaque: who calls knows what they stand for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MergeConfig {
    /// How the models are merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Method")]
    pub merge_method: Option<String>,
    /// The model that differences are taken from, and whose configuration and tokenizer the result gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// Whole models; either these or `slices`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<ModelConfig>>,
    /// Runs of layers, stacked in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<Vec<SliceConfig>>,
    /// For all models and layers: a number or a flag, a list of them spread over the layers, or a list of
    /// `{filter, value}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// The numbers that are written where `out_dtype` does not say otherwise. Merging is in float32 always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// The numbers that are written: `float32`, `float16` or `bfloat16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_dtype: Option<String>,
    /// `base`, `union`, or the model whose tokenizer the result gets; rows of embeddings follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_source: Option<String>,
    /// The same, as newer versions of mergekit write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerConfig>,
    /// The chat template of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    #[serde(flatten)]
    #[schemars(skip)]
    pub(crate) unknown: Map<String, Value>,
}

/// An entry of `models`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ModelConfig {
    pub model: String,
    /// For this model; these have the last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    #[serde(flatten)]
    #[schemars(skip)]
    pub(crate) unknown: Map<String, Value>,
}

/// An entry of `slices`: layers of the result, made of as many layers of each source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SliceConfig {
    pub sources: Vec<SourceConfig>,
    /// In place of the configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// For this slice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    #[serde(flatten)]
    #[schemars(skip)]
    pub(crate) unknown: Map<String, Value>,
}

/// A run of a model's layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SourceConfig {
    pub model: String,
    /// The first layer, counted from 0, and the first that is not taken any more.
    pub layer_range: [usize; 2],
    /// For this model; these have the last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    #[serde(flatten)]
    #[schemars(skip)]
    pub(crate) unknown: Map<String, Value>,
}

/// `tokenizer: {source}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TokenizerConfig {
    #[serde(default = "union")]
    pub source: String,
    #[serde(flatten)]
    #[schemars(skip)]
    pub(crate) unknown: Map<String, Value>,
}

fn union() -> String {
    "union".into()
}

impl MergeConfig {
    /// Reads mergekit's YAML.
    ///
    /// # Errors
    /// No YAML, or a value of a wrong type, with its place.
    pub fn from_yaml(text: &str) -> Result<MergeConfig, MergeError> {
        MergeConfig::from_value(&serde_saphyr::from_str(text).map_err(|error| MergeError::Yaml(error.to_string()))?)
    }

    /// Reads a value that was TOML, JSON or YAML.
    ///
    /// # Errors
    /// A value of a wrong type, with its place.
    pub fn from_value(value: &Value) -> Result<MergeConfig, MergeError> {
        serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let place = if path == "." { String::new() } else { path };
            MergeError::Config(vec![Problem::new(place, error.inner().to_string())])
        })
    }
}
