//! Adapters as PEFT folders: `adapter_config.json` and `adapter_model.safetensors`.

mod config;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

pub use config::{AdapterConfig, Layers, Targets};

use crate::linear::{Adapter, Linear};
use crate::parameter::Slot;
use crate::weights::{self, Weights};
use crate::{Config, Decoder, LmError};

/// What PEFT puts before the names of a causal language model's modules.
const PREFIX: &str = "base_model.model.";

/// What stands behind `model.` in these names where the decoder is a part of a model that also sees.
const INNER: &str = "language_model.";

/// Gives every targeted projection a fresh adapter that changes nothing yet: `A ~ U(±1/√in)`, `B = 0`, and for
/// DoRA `m = ‖W‖` (PEFT's initialisation). `uniform(name, i)` gives the i-th random number of a tensor.
///
/// # Errors
/// When the configuration names no module of the model.
pub fn new_adapter(
    decoder: &mut Decoder,
    config: &AdapterConfig,
    uniform: &dyn Fn(&str, u64) -> f64,
) -> Result<(), LmError> {
    let mut adapted = 0;
    for_each_target(decoder, config, "", &mut |name, linear| {
        let [output, input] = linear.weight.dims();
        let device = linear.weight.device();
        let rank = config.rank(module(name));
        let bound = (input as f64).sqrt().recip();
        let values: Vec<f32> =
            (0..(rank * input) as u64).map(|i| ((2.0 * uniform(name, i) - 1.0) * bound) as f32).collect();
        let a = Tensor::from_data(TensorData::new(values, [rank, input]), &device);
        let b = Tensor::zeros([output, rank], &device);
        let norm = linear.weight.tensor().powi_scalar(2).sum_dim(1).sqrt().squeeze_dim::<1>(1);
        linear.adapter = Some(Adapter::new(a, b, config.use_dora.then_some(norm), config.scale(module(name))));
        adapted += 1;
        Ok(())
    })?;
    decoder.refresh_norms();
    match adapted {
        0 => Err(LmError::Adapter(format!("{:?} names no projection of this model", config.target_modules))),
        _ => Ok(()),
    }
}

/// Loads a PEFT folder onto `decoder`, replacing any adapter it has. It may have been trained on the whole of a model of
/// which the decoder is a part.
///
/// # Errors
/// Naming file, field or tensor.
pub fn load_adapter(decoder: &mut Decoder, folder: &Path) -> Result<AdapterConfig, LmError> {
    let config = AdapterConfig::load(folder)?;
    let mut weights = Weights::load(&folder.join("adapter_model.safetensors"))?;
    let part = format!("{PREFIX}model.{INNER}");
    let inner = if weights.names().any(|name| name.starts_with(&part)) { INNER } else { "" };
    for_each_target(decoder, &config, inner, &mut |name, linear| {
        let [output, input] = linear.weight.dims();
        let device: Device = linear.weight.device();
        let (rank, scale) = (config.rank(module(name)), config.scale(module(name)));
        let a = weights.take(&format!("{name}.lora_A.weight"), [rank, input], &device)?;
        let b = weights.take(&format!("{name}.lora_B.weight"), [output, rank], &device)?;
        let magnitude = match config.use_dora {
            true => Some(weights.take(&format!("{name}.lora_magnitude_vector"), [output], &device)?),
            false => None,
        };
        linear.adapter = Some(Adapter::new(a, b, magnitude, scale));
        Ok(())
    })?;
    replace_modules(decoder, &config, (&mut weights, inner), folder)?;
    weights.finish()?;
    decoder.refresh_norms();
    Ok(config)
}

/// Writes the adapters of `decoder` as a PEFT folder, and beside them the modules that its configuration keeps whole.
///
/// # Errors
/// When a file cannot be written.
pub fn save_adapter(decoder: &Decoder, config: &AdapterConfig, folder: &Path) -> Result<(), LmError> {
    config.save(folder)?;
    let mut tensors = Vec::new();
    let mut add = |name: String, slot: Slot| tensors.push((name, slot.shape(), weights::to_host(slot.flat().inner())));
    let mut decoder = decoder.clone();
    decoder.visit_adapters(&mut |name, slot| add(name.to_string(), slot));
    if config.keeps_modules() {
        decoder.visit(&mut |name, slot| {
            if config.keeps(name) {
                add(format!("{PREFIX}{name}"), slot);
            }
        });
    }
    weights::save(&folder.join("adapter_model.safetensors"), &tensors)
}

/// The projections of Gated DeltaNets where a configuration adapts attention and not them: in a hybrid model the usual
/// names (`q_proj`, `o_proj`, …) are found in some layers only. Nothing where it reaches both, or neither.
pub fn missed_projections(config: &Config, adapter: &AdapterConfig) -> Vec<String> {
    let part = |part: &str| -> Vec<String> {
        config.projections().into_iter().map(|(name, _)| name).filter(|name| name.contains(part)).collect()
    };
    let reached = |names: &[String]| names.iter().any(|name| adapter.targets(name));
    let (attention, delta) = (part(".self_attn."), part(".linear_attn."));
    if reached(&attention) && !reached(&delta) { delta } else { Vec::new() }
}

/// Calls `f` with PEFT's module path and the layer, for every targeted projection.
fn for_each_target(
    decoder: &mut Decoder,
    config: &AdapterConfig,
    inner: &str,
    f: &mut dyn FnMut(&str, &mut Linear) -> Result<(), LmError>,
) -> Result<(), LmError> {
    for (index, layer) in decoder.layers.iter_mut().enumerate() {
        for (name, linear) in layer.projections_mut() {
            let name = format!("{PREFIX}model.{inner}layers.{index}.{name}");
            if config.targets(module(&name)) {
                f(&name, linear)?;
            }
        }
    }
    Ok(())
}

/// A module's name within the base model.
fn module(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// Puts what was saved whole into the place of the base model's own.
fn replace_modules(
    decoder: &mut Decoder,
    config: &AdapterConfig,
    (weights, inner): (&mut Weights, &str),
    folder: &Path,
) -> Result<(), LmError> {
    if !config.keeps_modules() {
        return Ok(());
    }
    if decoder.lm_head.is_none() && (config.keeps("lm_head.weight") || config.keeps("model.embed_tokens.weight")) {
        let path = folder.join("adapter_config.json");
        return Err(LmError::file(&path, "`modules_to_save` takes apart embeddings that the model ties"));
    }
    let device = decoder.device();
    let mut done = Ok(());
    decoder.visit(&mut |name, mut slot| {
        if config.keeps(name) && done.is_ok() {
            let count = slot.shape().iter().product();
            let name = match name.strip_prefix("model.") {
                Some(rest) => format!("{PREFIX}model.{inner}{rest}"),
                None => format!("{PREFIX}{name}"),
            };
            done = weights.take_flat(&name, count, &device).map(|saved| slot.set_flat(saved));
        }
    });
    done
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::TokenBatch;
    use crate::fixtures;
    use crate::weights::{largest_difference, to_host};

    #[test]
    fn modules_that_are_kept_whole_go_out_and_come_in() {
        let base = || Decoder::load(&fixtures::folder("models/llama"), &Device::flex()).unwrap();
        let config = AdapterConfig {
            modules_to_save: Some(vec!["lm_head".into(), "norm".into()]),
            ..AdapterConfig::new(2, 4.0, Targets::Names(vec!["q_proj".into()]))
        };
        let mut adapted = base();
        new_adapter(&mut adapted, &config, &|name, index| ((name.len() as u64 * 7 + index * 13) % 97) as f64 / 97.0)
            .unwrap();
        adapted.visit(&mut |name, mut slot| {
            if ["lm_head.weight", "model.norm.weight"].contains(&name) {
                slot.set_flat(slot.flat().mul_scalar(1.5));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        save_adapter(&adapted, &config, folder.path()).unwrap();
        let saved = Weights::load(&folder.path().join("adapter_model.safetensors")).unwrap();
        let kept: Vec<&str> = saved.names().filter(|name| !name.contains("lora_")).collect();
        assert_eq!(kept, ["base_model.model.lm_head.weight", "base_model.model.model.norm.weight"]);

        let mut loaded = base();
        assert_eq!(load_adapter(&mut loaded, folder.path()).unwrap(), config);
        // As it is named where the decoder is a part of a model.
        let part = tempfile::tempdir().unwrap();
        config.save(part.path()).unwrap();
        let renamed =
            |name: &str| name.replacen("base_model.model.model.", "base_model.model.model.language_model.", 1);
        let tensor = |name: &str| {
            let (shape, values) = saved.get(name).unwrap();
            (renamed(name), shape.to_vec(), values.to_vec())
        };
        let tensors: Vec<_> = saved.names().map(tensor).collect();
        weights::save(&part.path().join("adapter_model.safetensors"), &tensors).unwrap();
        let mut of_part = base();
        assert_eq!(load_adapter(&mut of_part, part.path()).unwrap(), config);

        let batch = TokenBatch::right_padded(&[&[5, 9, 40, 7]], 0);
        let [plain, adapted, loaded, of_part] =
            [base(), adapted, loaded, of_part].map(|decoder| to_host(decoder.forward(&batch)));
        assert_eq!(adapted, loaded);
        assert_eq!(adapted, of_part);
        assert!(largest_difference(&plain, &loaded) > 0.1);
    }

    #[test]
    fn projections_that_a_hybrid_model_names_otherwise_are_missed() {
        let config = |family: &str| Config::load(&fixtures::folder(&format!("models/{family}"))).unwrap();
        let usual = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"].map(String::from);
        let missed = |family: &str, targets: Targets| {
            missed_projections(&config(family), &AdapterConfig::new(2, 4.0, targets)).len()
        };
        let hybrid = config("qwen3_5").layer_types;
        let linear = hybrid.iter().filter(|layer| matches!(layer, crate::LayerType::LinearAttention(_))).count();
        assert!(linear > 0 && linear < hybrid.len());
        assert_eq!(missed("qwen3_5", Targets::Names(usual.to_vec())), 5 * linear);
        assert_eq!(missed("qwen3_5", Targets::Pattern("all-linear".into())), 0);
        assert_eq!(missed("qwen3_5", Targets::Names(usual[4..].to_vec())), 0, "attention is not adapted either");
        assert_eq!(missed("qwen3", Targets::Names(usual.to_vec())), 0);
    }
}
