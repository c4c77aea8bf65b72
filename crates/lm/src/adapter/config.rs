//! `adapter_config.json` of PEFT: which modules an adapter is put on, and with which rank and scale.

use std::path::Path;

use fancy_regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::LmError;

/// The part of PEFT's `LoraConfig` that decides what an adapter computes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AdapterConfig {
    pub r: usize,
    pub lora_alpha: f64,
    #[serde(default)]
    pub use_rslora: bool,
    #[serde(default)]
    pub use_dora: bool,
    pub target_modules: Targets,
    #[serde(default)]
    pub exclude_modules: Option<Targets>,
    /// Layers to adapt; all if there are none.
    #[serde(default)]
    pub layers_to_transform: Option<Layers>,
    /// Ranks of single modules, by a pattern that ends their names; the first that fits counts.
    #[serde(default)]
    pub rank_pattern: Map<String, Value>,
    /// `lora_alpha` of single modules, in the same way.
    #[serde(default)]
    pub alpha_pattern: Map<String, Value>,
    /// Modules that are saved whole beside the adapter, and take the place of the base model's.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
}

/// Modules by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Targets {
    /// Whole names, or their last parts: `q_proj`, `self_attn.q_proj`.
    Names(Vec<String>),
    /// `all-linear`, or a regular expression for whole names: `model.layers.0.self_attn.q_proj`.
    Pattern(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Layers {
    One(usize),
    Many(Vec<usize>),
}

pub(crate) const ALL_LINEAR: &str = "all-linear";

/// Fields of `adapter_config.json` that would change the result and are not supported.
const REFUSED: [&str; 8] = [
    "lora_bias",
    "fan_in_fan_out",
    "layers_pattern",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "use_qalora",
];

impl AdapterConfig {
    /// An adapter of one rank on the modules with these names.
    pub fn new(r: usize, lora_alpha: f64, target_modules: Targets) -> AdapterConfig {
        AdapterConfig {
            r,
            lora_alpha,
            target_modules,
            use_rslora: false,
            use_dora: false,
            exclude_modules: None,
            layers_to_transform: None,
            rank_pattern: Map::new(),
            alpha_pattern: Map::new(),
            modules_to_save: None,
        }
    }

    /// Reads `adapter_config.json` in `folder`.
    ///
    /// # Errors
    /// Naming the field that is missing or not supported.
    pub fn load(folder: &Path) -> Result<AdapterConfig, LmError> {
        let path = folder.join("adapter_config.json");
        let text = std::fs::read_to_string(&path).map_err(LmError::io(&path))?;
        let value: Value = serde_json::from_str(&text).map_err(|error| LmError::file(&path, error))?;
        AdapterConfig::from_json(value).map_err(|why| LmError::file(&path, why))
    }

    /// The same from what would stand in the file.
    ///
    /// # Errors
    /// Naming the field that is missing or not supported.
    pub fn from_json(value: Value) -> Result<AdapterConfig, String> {
        if let Some(field) = REFUSED.into_iter().find(|field| value.get(field).is_some_and(is_set)) {
            return Err(format!("`{field}` is not supported"));
        }
        let kind = value.get("peft_type").and_then(Value::as_str).unwrap_or("LORA");
        let bias = value.get("bias").and_then(Value::as_str).unwrap_or("none");
        if kind != "LORA" || bias != "none" {
            return Err(format!("peft_type `{kind}` with bias `{bias}`: only LORA with none is"));
        }
        let config: AdapterConfig = serde_json::from_value(value).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    /// What types cannot say: patterns that are none, ranks and alphas that are no numbers.
    pub fn check(&self) -> Result<(), String> {
        for (field, pattern) in [("rank_pattern", &self.rank_pattern), ("alpha_pattern", &self.alpha_pattern)] {
            for (name, value) in pattern {
                regex(&format!("(.*\\.)?({name})")).map_err(|error| format!("`{field}`: {error}"))?;
                let fits =
                    if field == "rank_pattern" { value.as_u64().is_some_and(|r| r > 0) } else { value.is_number() };
                if !fits {
                    return Err(format!("`{field}` of `{name}` is {value}"));
                }
            }
        }
        for targets in [Some(&self.target_modules), self.exclude_modules.as_ref()].into_iter().flatten() {
            if let Targets::Pattern(pattern) = targets {
                regex(pattern).map_err(|error| format!("`{pattern}`: {error}"))?;
            }
        }
        Ok(())
    }

    /// Whether there are modules that it keeps whole.
    pub(super) fn keeps_modules(&self) -> bool {
        self.modules_to_save.iter().flatten().next().is_some()
    }

    /// Whether a parameter of the base model is of a module that it keeps whole.
    pub(super) fn keeps(&self, parameter: &str) -> bool {
        let module = parameter.trim_end_matches(".weight").trim_end_matches(".bias");
        let is_end = |saved: &String| module == saved || module.ends_with(&format!(".{saved}"));
        self.modules_to_save.iter().flatten().any(is_end)
    }

    /// What stands in `adapter_config.json`.
    pub fn to_json(&self) -> Value {
        json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": null,
            "revision": null,
            "inference_mode": true,
            "r": self.r,
            "lora_alpha": self.lora_alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": true,
            "use_rslora": self.use_rslora,
            "use_dora": self.use_dora,
            "target_modules": self.target_modules,
            "exclude_modules": self.exclude_modules,
            "modules_to_save": self.modules_to_save,
            "layers_to_transform": self.layers_to_transform,
            "layers_pattern": null,
            "rank_pattern": self.rank_pattern,
            "alpha_pattern": self.alpha_pattern,
        })
    }

    pub(super) fn save(&self, folder: &Path) -> Result<(), LmError> {
        let path = folder.join("adapter_config.json");
        let text = serde_json::to_string_pretty(&self.to_json()).map_err(|error| LmError::file(&path, error))?;
        std::fs::write(&path, text + "\n").map_err(LmError::io(&path))
    }

    /// Whether a projection gets an adapter; `module` is its whole name, `model.layers.0.self_attn.q_proj`.
    pub fn targets(&self, module: &str) -> bool {
        let layer = || module.split('.').find_map(|part| part.parse::<usize>().ok());
        let in_layers = match (&self.layers_to_transform, layer()) {
            (None, _) => true,
            (Some(Layers::One(wanted)), layer) => layer == Some(*wanted),
            (Some(Layers::Many(wanted)), layer) => layer.is_some_and(|layer| wanted.contains(&layer)),
        };
        in_layers
            && self.target_modules.name(module)
            && !self.exclude_modules.as_ref().is_some_and(|excluded| excluded.name(module))
    }

    /// The rank of a module.
    pub fn rank(&self, module: &str) -> usize {
        let own = first_fit(&self.rank_pattern, module).and_then(Value::as_u64);
        own.map_or(self.r, |rank| rank as usize)
    }

    /// `α/√r` for rsLoRA, else `α/r`, of a module.
    pub fn scale(&self, module: &str) -> f64 {
        let alpha = first_fit(&self.alpha_pattern, module).and_then(Value::as_f64).unwrap_or(self.lora_alpha);
        let rank = self.rank(module) as f64;
        alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

impl Targets {
    fn name(&self, module: &str) -> bool {
        let ends = |name: &String| module == name || module.ends_with(&format!(".{name}"));
        match self {
            Targets::Names(names) => names.iter().any(|name| name == ALL_LINEAR || ends(name)),
            Targets::Pattern(pattern) if pattern == ALL_LINEAR => true,
            Targets::Pattern(pattern) => regex(pattern).is_ok_and(|regex| regex.is_match(module).unwrap_or(false)),
        }
    }
}

/// A pattern for a whole name, as Python's `re.fullmatch` reads it.
fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())
}

fn first_fit<'a>(patterns: &'a Map<String, Value>, module: &str) -> Option<&'a Value> {
    let fits = |pattern: &str| {
        regex(&format!("(.*\\.)?({pattern})")).is_ok_and(|regex| regex.is_match(module).unwrap_or(false))
    };
    patterns.iter().find(|(pattern, _)| fits(pattern)).map(|(_, value)| value)
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const Q: &str = "model.layers.1.self_attn.q_proj";
    const GATE: &str = "model.layers.10.mlp.gate_proj";

    fn config(value: &Value) -> AdapterConfig {
        let mut whole = json!({"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "gate_proj"]});
        whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        let config: AdapterConfig = serde_json::from_value(whole).unwrap();
        config.check().unwrap();
        config
    }

    #[test]
    fn modules_are_named_as_peft_names_them() {
        for (fields, expected) in [
            (json!({}), [true, true]),
            (json!({"target_modules": ["self_attn.q_proj"]}), [true, false]),
            (json!({"target_modules": ["proj"]}), [false, false]),
            (json!({"target_modules": "all-linear"}), [true, true]),
            (json!({"target_modules": ".*self_attn.*"}), [true, false]),
            (json!({"target_modules": "self_attn.q_proj"}), [false, false]),
            (json!({"target_modules": "(?!.*mlp).*_proj"}), [true, false]),
            (json!({"target_modules": "all-linear", "exclude_modules": ["gate_proj"]}), [true, false]),
            (json!({"layers_to_transform": 10}), [false, true]),
            (json!({"layers_to_transform": [0, 1]}), [true, false]),
        ] {
            let config = config(&fields);
            assert_eq!([config.targets(Q), config.targets(GATE)], expected, "{fields}");
        }
    }

    #[test]
    fn the_first_pattern_that_ends_a_name_gives_rank_and_alpha() {
        let config = config(&json!({
            "rank_pattern": {"layers.1.self_attn.q_proj": 4, "q_proj": 2, "^model.*gate_proj": 16},
            "alpha_pattern": {"mlp.*": 3},
        }));
        assert_eq!([config.rank(Q), config.rank("model.layers.11.self_attn.q_proj")], [4, 2]);
        assert_eq!(config.scale(Q), 4.0);
        assert_eq!(config.rank(GATE), 16);
        assert_eq!(config.scale(GATE), 3.0 / 16.0);
        assert_eq!(config.scale("model.layers.0.mlp.up_proj"), 3.0 / 8.0);
    }

    #[test]
    fn patterns_that_are_none_are_refused() {
        for fields in
            [json!({"rank_pattern": {"(": 4}}), json!({"rank_pattern": {"q": 0}}), json!({"target_modules": "("})]
        {
            let mut whole = json!({"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]});
            whole.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            assert!(serde_json::from_value::<AdapterConfig>(whole).unwrap().check().is_err(), "{fields}");
        }
    }
}
