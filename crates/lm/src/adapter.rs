//! Adapters as PEFT folders: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::linear::{Adapter, Linear};
use crate::weights::{self, Weights};
use crate::{Decoder, LmError};

/// The part of PEFT's `LoraConfig` that decides what an adapter computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    pub r: usize,
    pub lora_alpha: f64,
    pub use_rslora: bool,
    pub use_dora: bool,
    /// Last parts of module names: `q_proj`, ...
    pub target_modules: Vec<String>,
}

/// Fields of `adapter_config.json` that would change the result and are not supported.
const REFUSED: [&str; 10] = [
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "lora_bias",
    "fan_in_fan_out",
    "layers_to_transform",
    "layer_replication",
    "exclude_modules",
    "target_parameters",
    "trainable_token_indices",
];

impl AdapterConfig {
    /// `α/√r` for rsLoRA, else `α/r`.
    pub fn scale(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Reads `adapter_config.json` in `folder`.
    ///
    /// # Errors
    /// Naming the field that is missing or not supported.
    pub fn load(folder: &Path) -> Result<AdapterConfig, LmError> {
        let path = folder.join("adapter_config.json");
        let text = std::fs::read_to_string(&path).map_err(LmError::io(&path))?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| LmError::file(&path, error))?;
        if let Some(field) = REFUSED.into_iter().find(|field| value.get(field).is_some_and(is_set)) {
            return Err(LmError::file(&path, format!("`{field}` is not supported")));
        }
        serde_json::from_value(value).map_err(|error| LmError::file(&path, error))
    }

    fn save(&self, folder: &Path) -> Result<(), LmError> {
        let path = folder.join("adapter_config.json");
        let value = serde_json::json!({
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
            "modules_to_save": null,
            "layers_to_transform": null,
            "layers_pattern": null,
            "rank_pattern": {},
            "alpha_pattern": {},
        });
        let text = serde_json::to_string_pretty(&value).map_err(|error| LmError::file(&path, error))?;
        std::fs::write(&path, text + "\n").map_err(LmError::io(&path))
    }

    fn targets(&self, module: &str) -> bool {
        let last = module.rsplit('.').next().unwrap_or(module);
        self.target_modules.iter().any(|target| target == last)
    }
}

fn is_set(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null | serde_json::Value::Bool(false) => false,
        serde_json::Value::Object(map) => !map.is_empty(),
        serde_json::Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

/// Gives every targeted projection a fresh adapter that changes nothing yet: `A ~ U(±1/√in)`, `B = 0`, and for
/// DoRA `m = ‖W‖` (PEFT's initialisation). `uniform(name, i)` gives the i-th random number of a tensor.
pub fn new_adapter(decoder: &mut Decoder, config: &AdapterConfig, uniform: &dyn Fn(&str, u64) -> f64) {
    for_each_target(decoder, config, &mut |name, linear| {
        let [output, input] = linear.weight.dims();
        let device = linear.weight.device();
        let bound = (input as f64).sqrt().recip();
        let values: Vec<f32> =
            (0..(config.r * input) as u64).map(|i| ((2.0 * uniform(name, i) - 1.0) * bound) as f32).collect();
        let a = Tensor::from_data(TensorData::new(values, [config.r, input]), &device);
        let b = Tensor::zeros([output, config.r], &device);
        let norm = linear.weight.clone().powi_scalar(2).sum_dim(1).sqrt().squeeze_dim::<1>(1);
        linear.adapter = Some(Adapter::new(a, b, config.use_dora.then_some(norm), config.scale()));
        Ok::<_, LmError>(())
    })
    .unwrap_or_default();
    decoder.refresh_norms();
}

/// Loads a PEFT folder onto `decoder`, replacing any adapter it has.
///
/// # Errors
/// Naming file, field or tensor.
pub fn load_adapter(decoder: &mut Decoder, folder: &Path) -> Result<AdapterConfig, LmError> {
    let config = AdapterConfig::load(folder)?;
    let mut weights = Weights::load(&folder.join("adapter_model.safetensors"))?;
    for_each_target(decoder, &config, &mut |name, linear| {
        let [output, input] = linear.weight.dims();
        let device: Device = linear.weight.device();
        let a = weights.take(&format!("{name}.lora_A.weight"), [config.r, input], &device)?;
        let b = weights.take(&format!("{name}.lora_B.weight"), [output, config.r], &device)?;
        let magnitude = match config.use_dora {
            true => Some(weights.take(&format!("{name}.lora_magnitude_vector"), [output], &device)?),
            false => None,
        };
        linear.adapter = Some(Adapter::new(a, b, magnitude, config.scale()));
        Ok(())
    })?;
    weights.finish()?;
    decoder.refresh_norms();
    Ok(config)
}

/// Writes the adapters of `decoder` as a PEFT folder.
///
/// # Errors
/// When a file cannot be written.
pub fn save_adapter(decoder: &Decoder, config: &AdapterConfig, folder: &Path) -> Result<(), LmError> {
    config.save(folder)?;
    let mut tensors = Vec::new();
    decoder.clone().visit_adapters(&mut |name, slot| {
        tensors.push((name.to_string(), slot.shape(), weights::to_host(slot.flat().inner())));
    });
    weights::save(&folder.join("adapter_model.safetensors"), &tensors)
}

/// Calls `f` with PEFT's module path and the layer, for every targeted projection.
fn for_each_target(
    decoder: &mut Decoder,
    config: &AdapterConfig,
    f: &mut dyn FnMut(&str, &mut Linear) -> Result<(), LmError>,
) -> Result<(), LmError> {
    for (index, layer) in decoder.layers.iter_mut().enumerate() {
        for (name, linear) in layer.projections_mut() {
            if config.targets(name) {
                f(&format!("base_model.model.model.layers.{index}.{name}"), linear)?;
            }
        }
    }
    Ok(())
}
