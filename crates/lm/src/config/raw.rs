//! The file before it is checked: the families' fields side by side, every one of them optional in some family.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Config, DeltaConfig, LayerType};
use crate::rope::{Llama3, Rope, Scaling, Yarn};

#[derive(Deserialize)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    original_max_position_embeddings: Option<usize>,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    /// Where transformers keeps all about rotary positions from version 5 on, and where it kept the scaling before.
    rope_parameters: Option<RawRope>,
    rope_scaling: Option<RawRope>,
    partial_rotary_factor: Option<f64>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    attn_output_gate: Option<bool>,
    hidden_act: Option<String>,
    tie_word_embeddings: Option<bool>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    full_attention_interval: Option<usize>,
    linear_num_key_heads: Option<usize>,
    linear_num_value_heads: Option<usize>,
    linear_key_head_dim: Option<usize>,
    linear_value_head_dim: Option<usize>,
    linear_conv_kernel_dim: Option<usize>,
    quantization_config: Option<Value>,
}

/// Unknown fields are errors here: each of them means other angles.
#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
struct RawRope {
    rope_type: Option<String>,
    /// `rope_type` of old files.
    r#type: Option<String>,
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    /// How image positions are dealt out among pairs; the three positions of a text token are one.
    #[serde(rename = "mrope_section")]
    _mrope_section: Option<Value>,
    #[serde(rename = "mrope_interleaved")]
    _mrope_interleaved: Option<bool>,
}

/// What a `model_type` means where its file says nothing.
struct Family {
    model_type: &'static str,
    /// The class of transformers that holds the text tower alone.
    architecture: &'static str,
    /// Without one it is `hidden_size / num_attention_heads`.
    head_dim: Option<usize>,
    bias: Bias,
    qk_norm: bool,
    /// Gated DeltaNet layers between gated attention, norms that store their distance from 1.
    hybrid: bool,
    partial_rotary_factor: f64,
}

#[derive(Clone, Copy)]
enum Bias {
    /// `attention_bias` says it for all four projections of attention, `mlp_bias` for the three behind.
    Said,
    /// `attention_bias` says it for all four projections of attention.
    SaidOfAttention,
    /// Queries, keys and values have one, nothing else has.
    Qkv,
}

const FAMILIES: [Family; 4] = [
    Family {
        model_type: "llama",
        architecture: "LlamaForCausalLM",
        head_dim: None,
        bias: Bias::Said,
        qk_norm: false,
        hybrid: false,
        partial_rotary_factor: 1.0,
    },
    Family {
        model_type: "qwen2",
        architecture: "Qwen2ForCausalLM",
        head_dim: None,
        bias: Bias::Qkv,
        qk_norm: false,
        hybrid: false,
        partial_rotary_factor: 1.0,
    },
    Family {
        model_type: "qwen3",
        architecture: "Qwen3ForCausalLM",
        head_dim: Some(128),
        bias: Bias::SaidOfAttention,
        qk_norm: true,
        hybrid: false,
        partial_rotary_factor: 1.0,
    },
    Family {
        model_type: "qwen3_5_text",
        architecture: "Qwen3_5ForCausalLM",
        head_dim: Some(256),
        bias: Bias::SaidOfAttention,
        qk_norm: true,
        hybrid: true,
        partial_rotary_factor: 0.25,
    },
];

/// Families with several towers, and the `model_type` of the text tower, whose fields stand in `text_config`.
const NESTED: [(&str, &str); 1] = [("qwen3_5", "qwen3_5_text")];

/// What a file gets that names no `rope_theta`, as in transformers.
const ROPE_THETA: f64 = 10_000.0;

/// Sizes above this are mistakes; below it no product of them overflows.
const LARGEST: usize = 1 << 31;
const MOST_LAYERS: usize = 4096;

/// Messages name field and value, but not the file.
pub(super) fn check(value: Value) -> Result<Config, String> {
    let Value::Object(fields) = value else { return Err("is not a JSON object".into()) };
    let (family, source) = text_tower(fields)?;
    let raw: Raw = read(&source)?;
    raw.check(family, source)
}

/// The family and the fields of the text tower.
fn text_tower(mut fields: Map<String, Value>) -> Result<(&'static Family, Map<String, Value>), String> {
    let model_type = fields.get("model_type").and_then(Value::as_str).ok_or("`model_type` is missing")?.to_string();
    if let Some(family) = FAMILIES.iter().find(|family| family.model_type == model_type) {
        return Ok((family, fields));
    }
    let nested = NESTED.iter().find(|(outer, _)| *outer == model_type);
    let family = nested.and_then(|(_, inner)| FAMILIES.iter().find(|family| family.model_type == *inner));
    let family = family.ok_or_else(|| {
        let known = NESTED.iter().map(|(outer, _)| *outer);
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).chain(known).collect();
        format!("`model_type` is `{model_type}`, which is not supported: supported are {}", known.join(", "))
    })?;
    let Some(Value::Object(inner)) = fields.remove("text_config") else {
        return Err(format!("`text_config` is missing, where a `{model_type}` has the fields of its text tower"));
    };
    Ok((family, flattened(family, &fields, inner)))
}

/// The file of the text tower alone, as transformers writes it: what only the whole says is kept beside it.
fn flattened(family: &Family, outer: &Map<String, Value>, mut inner: Map<String, Value>) -> Map<String, Value> {
    inner.insert("architectures".into(), vec![family.architecture].into());
    inner.insert("model_type".into(), family.model_type.into());
    let kept = ["tie_word_embeddings", "eos_token_id", "bos_token_id", "pad_token_id", "quantization_config"];
    for name in kept.into_iter().chain(["dtype", "torch_dtype", "transformers_version"]) {
        if let Some(value) = outer.get(name).filter(|_| inner.get(name).is_none_or(Value::is_null)) {
            inner.insert(name.into(), value.clone());
        }
    }
    inner
}

/// Reads a value; a message names the field.
fn read<T: DeserializeOwned>(fields: &Map<String, Value>) -> Result<T, String> {
    let value = Value::Object(fields.clone());
    serde_path_to_error::deserialize(&value).map_err(|error| match error.path().to_string() {
        path if path == "." => error.inner().to_string(),
        path => format!("`{path}`: {}", error.inner()),
    })
}

/// One message for every field that has another value than the supported one.
fn unsupported<T>(field: &str, value: impl std::fmt::Display, supported: &str) -> Result<T, String> {
    Err(format!("`{field}` is `{value}`, which is not supported: supported is {supported}"))
}

impl Raw {
    fn check(self, family: &Family, source: Map<String, Value>) -> Result<Config, String> {
        self.check_supported(family)?;
        self.check_sizes()?;
        let heads = self.num_attention_heads;
        let head_dim = self.head_dim.or(family.head_dim).unwrap_or(self.hidden_size / heads);
        let key_value_heads = self.num_key_value_heads.unwrap_or(heads);
        if !heads.is_multiple_of(key_value_heads) {
            return Err(format!(
                "`num_attention_heads` is {heads}, which is no multiple of `num_key_value_heads`, {key_value_heads}"
            ));
        }
        let said = self.attention_bias.unwrap_or(false);
        Ok(Config {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            layer_types: self.layer_types(family)?,
            num_attention_heads: heads,
            num_key_value_heads: key_value_heads,
            head_dim,
            max_position_embeddings: self.max_position_embeddings,
            rms_norm_eps: self.rms_norm_eps,
            rope: self.rope(family, head_dim)?,
            tie_word_embeddings: self.tie_word_embeddings.unwrap_or(false),
            qkv_bias: said || matches!(family.bias, Bias::Qkv),
            output_bias: said && !matches!(family.bias, Bias::Qkv),
            mlp_bias: matches!(family.bias, Bias::Said) && self.mlp_bias.unwrap_or(false),
            qk_norm: family.qk_norm,
            attn_output_gate: family.hybrid,
            zero_centred_norms: family.hybrid,
            source,
        })
    }

    fn check_supported(&self, family: &Family) -> Result<(), String> {
        if let Some(act) = self.hidden_act.as_deref().filter(|act| !["silu", "swish"].contains(act)) {
            return unsupported("hidden_act", act, "silu");
        }
        if let Some(quantized) = &self.quantization_config {
            let method = quantized.get("quant_method").and_then(Value::as_str).unwrap_or("unnamed");
            return unsupported("quantization_config.quant_method", method, "a checkpoint that is not quantized");
        }
        let first = self.max_window_layers.unwrap_or(28);
        if self.use_sliding_window == Some(true) && self.layer_types.is_none() && first < self.num_hidden_layers {
            let supported = "false, or a `max_window_layers` that leaves no layer with a window";
            return unsupported("use_sliding_window", true, supported);
        }
        if family.hybrid && self.attn_output_gate == Some(false) {
            return unsupported("attn_output_gate", false, "true");
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", Some(self.vocab_size)),
            ("hidden_size", Some(self.hidden_size)),
            ("intermediate_size", Some(self.intermediate_size)),
            ("num_attention_heads", Some(self.num_attention_heads)),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", Some(self.max_position_embeddings)),
            ("full_attention_interval", self.full_attention_interval),
            ("linear_num_key_heads", self.linear_num_key_heads),
            ("linear_num_value_heads", self.linear_num_value_heads),
            ("linear_key_head_dim", self.linear_key_head_dim),
            ("linear_value_head_dim", self.linear_value_head_dim),
            ("linear_conv_kernel_dim", self.linear_conv_kernel_dim),
        ];
        let wrong = sizes.into_iter().find(|(_, size)| size.is_some_and(|size| size == 0 || size > LARGEST));
        if let Some((field, Some(size))) = wrong {
            return Err(format!("`{field}` is {size}: it must be between 1 and {LARGEST}"));
        }
        if self.num_hidden_layers == 0 || self.num_hidden_layers > MOST_LAYERS {
            let layers = self.num_hidden_layers;
            return Err(format!("`num_hidden_layers` is {layers}: it must be between 1 and {MOST_LAYERS}"));
        }
        positive("rms_norm_eps", self.rms_norm_eps).map(|_| ())
    }

    fn layer_types(&self, family: &Family) -> Result<Vec<LayerType>, String> {
        let delta = self.delta()?;
        let layers = self.num_hidden_layers;
        let Some(names) = &self.layer_types else {
            let interval = if family.hybrid { self.full_attention_interval.unwrap_or(4) } else { 1 };
            let layer = |index: usize| match (index + 1) % interval {
                0 => LayerType::FullAttention,
                _ => LayerType::LinearAttention(delta),
            };
            return Ok((0..layers).map(layer).collect());
        };
        if names.len() != layers {
            let found = names.len();
            return Err(format!("`layer_types` has {found} entries, but `num_hidden_layers` is {layers}"));
        }
        let layer = |(index, name): (usize, &String)| match name.as_str() {
            "full_attention" => Ok(LayerType::FullAttention),
            "linear_attention" if family.hybrid => Ok(LayerType::LinearAttention(delta)),
            other => {
                let supported = if family.hybrid { "full_attention, linear_attention" } else { "full_attention" };
                unsupported(&format!("layer_types[{index}]"), other, supported)
            }
        };
        names.iter().enumerate().map(layer).collect()
    }

    /// With the defaults of transformers.
    fn delta(&self) -> Result<DeltaConfig, String> {
        let delta = DeltaConfig {
            key_heads: self.linear_num_key_heads.unwrap_or(16),
            value_heads: self.linear_num_value_heads.unwrap_or(32),
            key_dim: self.linear_key_head_dim.unwrap_or(128),
            value_dim: self.linear_value_head_dim.unwrap_or(128),
            kernel: self.linear_conv_kernel_dim.unwrap_or(4),
        };
        if delta.kernel < 2 {
            return Err(format!("`linear_conv_kernel_dim` is {}: it must be 2 or more", delta.kernel));
        }
        if delta.value_heads.is_multiple_of(delta.key_heads) {
            return Ok(delta);
        }
        let DeltaConfig { key_heads, value_heads, .. } = delta;
        Err(format!(
            "`linear_num_value_heads` is {value_heads}, which is no multiple of `linear_num_key_heads`, {key_heads}"
        ))
    }

    fn rope(&self, family: &Family, head_dim: usize) -> Result<Rope, String> {
        let (place, raw) = match (&self.rope_scaling, &self.rope_parameters) {
            (Some(scaling), _) => ("rope_scaling", scaling.clone()),
            (None, parameters) => ("rope_parameters", parameters.clone().unwrap_or_default()),
        };
        let nested = self.rope_parameters.as_ref().and_then(|parameters| parameters.rope_theta);
        let theta = raw.rope_theta.or(nested).or(self.rope_theta).unwrap_or(ROPE_THETA);
        if !(theta.is_finite() && theta > 1.0) {
            return Err(format!("`rope_theta` is {theta}: it must be a number above 1"));
        }
        let part = raw.partial_rotary_factor.or(self.partial_rotary_factor).unwrap_or(family.partial_rotary_factor);
        let dim = (head_dim as f64 * part) as usize;
        if !(part > 0.0 && part <= 1.0) || dim == 0 || !dim.is_multiple_of(2) {
            return Err(format!(
                "`partial_rotary_factor` is {part}: of `head_dim`, {head_dim}, an even number of dimensions must turn"
            ));
        }
        Ok(Rope { theta, dim, scaling: self.scaling(place, &raw)? })
    }

    fn scaling(&self, place: &str, raw: &RawRope) -> Result<Scaling, String> {
        let kind = raw.rope_type.as_ref().or(raw.r#type.as_ref()).map_or("default", String::as_str);
        let outer = self.original_max_position_embeddings.map(|size| size as f64);
        let original = outer.or(raw.original_max_position_embeddings).unwrap_or(self.max_position_embeddings as f64);
        match kind {
            "default" => Ok(Scaling::None),
            "llama3" => raw.llama3(place, original).map(Scaling::Llama3),
            "yarn" => raw.yarn(place, original, self.max_position_embeddings as f64).map(Scaling::Yarn),
            other => unsupported(&format!("{place}.rope_type"), other, "default, llama3, yarn"),
        }
    }
}

impl RawRope {
    fn llama3(&self, place: &str, original: f64) -> Result<Llama3, String> {
        let needed = |name: &str, value: Option<f64>| {
            let name = format!("{place}.{name}");
            positive(&name, value.ok_or_else(|| format!("`{name}` is missing"))?)
        };
        let llama3 = Llama3 {
            factor: needed("factor", self.factor)?,
            low_freq_factor: needed("low_freq_factor", self.low_freq_factor)?,
            high_freq_factor: needed("high_freq_factor", self.high_freq_factor)?,
            original: needed("original_max_position_embeddings", Some(original))?,
        };
        if llama3.high_freq_factor <= llama3.low_freq_factor {
            let (low, high) = (llama3.low_freq_factor, llama3.high_freq_factor);
            return Err(format!("`{place}.high_freq_factor` is {high}: it must be above `low_freq_factor`, {low}"));
        }
        Ok(llama3)
    }

    /// Where the file leaves `factor` open it is the ratio of the contexts, as in transformers.
    fn yarn(&self, place: &str, original: f64, context: f64) -> Result<Yarn, String> {
        let checked = |name: &str, value: f64| positive(&format!("{place}.{name}"), value);
        let original = checked("original_max_position_embeddings", original)?;
        let factor = checked("factor", self.factor.unwrap_or(context / original))?;
        let given = |value: Option<f64>| value.filter(|value| *value != 0.0);
        let attention_factor = match (self.attention_factor, given(self.mscale), given(self.mscale_all_dim)) {
            (Some(factor), _, _) => factor,
            (None, Some(mscale), Some(all)) => Yarn::mscale(factor, mscale) / Yarn::mscale(factor, all),
            (None, _, _) => Yarn::mscale(factor, 1.0),
        };
        Ok(Yarn {
            factor,
            beta_fast: checked("beta_fast", given(self.beta_fast).unwrap_or(32.0))?,
            beta_slow: checked("beta_slow", given(self.beta_slow).unwrap_or(1.0))?,
            original,
            truncate: self.truncate.unwrap_or(true),
            attention_factor: checked("attention_factor", attention_factor)?,
        })
    }
}

fn positive(field: &str, value: f64) -> Result<f64, String> {
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(format!("`{field}` is {value}: it must be above 0")) }
}
