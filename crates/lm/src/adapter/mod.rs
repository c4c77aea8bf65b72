//! Adapters as PEFT folders: `adapter_config.json` and `adapter_model.safetensors`.

mod config;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

pub use config::{AdapterConfig, Layers, Targets};

use crate::linear::{Adapter, Linear};
use crate::weights::{self, Weights};
use crate::{Decoder, LmError};

/// What PEFT puts before the names of a causal language model's modules.
const PREFIX: &str = "base_model.model.";

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
    for_each_target(decoder, config, &mut |name, linear| {
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
    replace_modules(decoder, &config, &mut weights, folder)?;
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
            let name = format!("{PREFIX}model.layers.{index}.{name}");
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
    weights: &mut Weights,
    folder: &Path,
) -> Result<(), LmError> {
    let named = |name: &str| {
        let module = name.trim_end_matches(".weight").trim_end_matches(".bias");
        let is_end = |saved: &String| module == saved || module.ends_with(&format!(".{saved}"));
        config.modules_to_save.iter().flatten().any(is_end)
    };
    if config.modules_to_save.as_ref().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    if decoder.lm_head.is_none() && (named("lm_head.weight") || named("model.embed_tokens.weight")) {
        let path = folder.join("adapter_config.json");
        return Err(LmError::file(&path, "`modules_to_save` takes apart embeddings that the model ties"));
    }
    let device = decoder.device();
    let mut done = Ok(());
    decoder.visit(&mut |name, mut slot| {
        if named(name) && done.is_ok() {
            let count = slot.shape().iter().product();
            done = weights.take_flat(&format!("{PREFIX}{name}"), count, &device).map(|saved| slot.set_flat(saved));
        }
    });
    done
}
