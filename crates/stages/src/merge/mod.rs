//! `merge`: the adapter folded into the base in float32, DoRA's magnitudes too, and the difference that it makes
//! measured.

use gazal_lm::weights::{Precision, largest_difference, to_host};
use gazal_lm::{Decoder, TokenBatch, Tokenizer, load_adapter};
use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, Level, OutPort, PortType, StageError, Traits,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::rows::{Prompt, read_split};
use crate::{defaults, device, forecast, memory};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// Prompts on which the logits of the adapter and of the merged model are compared.
    #[serde(default = "prompts")]
    pub num_prompts: usize,
    /// The stage fails when any logit differs by more.
    #[serde(default = "tolerance")]
    pub max_logit_difference: f64,
}

fn prompts() -> usize {
    32
}

fn tolerance() -> f64 {
    1e-3
}

pub struct Merge;

impl Kind for Merge {
    type Params = Params;
    const NAME: &'static str = "merge";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Folds an adapter into its base model and measures the difference.";
    const TRAITS: Traits = Traits { seeded: false, ..defaults::LEARNING };

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::one("model", PortType::Model, "the base"),
            InPort::one("adapter", PortType::Adapter, "a PEFT folder for it"),
            InPort::one("prompts", PortType::Dataset, "rows of `prompt`, to compare on"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("model", PortType::Model, "the merged model with its tokenizer"),
            OutPort::value("metrics", PortType::Metrics, "`max_logit_difference`, `max_kl`"),
        ]
    }

    fn forecast(&self, _: &Params, inputs: &Foresight) -> Forecast {
        let Some(config) = forecast::config(inputs, "model") else { return Forecast::default() };
        // The base and what it becomes are there at once.
        let peak_bytes = Some(memory::weight_bytes(&config, Precision::F32).saturating_mul(2));
        Forecast { peak_bytes, outputs: forecast::model(&config), ..Forecast::default() }
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let device = device::open(context)?;
        let folder = context.input("model")?;
        let tokenizer = Tokenizer::load(folder).map_err(StageError::failed)?;
        let mut adapted = Decoder::load(folder, &device).map_err(StageError::failed)?;
        load_adapter(&mut adapted, context.input("adapter")?).map_err(StageError::failed)?;
        let merged = adapted.merged();
        if let Some(name) = unsound(&merged) {
            return Err(StageError::failed(format!(
                "the merged `{name}` has a number that is none: the adapter or the model has one, or a row of zeros that \
                 DoRA divides by; train the adapter again at a lower `learning_rate`"
            )));
        }

        let rows: Vec<Prompt> = read_split(&[context.input("prompts")?], "train")?;
        let mut ids = Vec::new();
        for row in rows.iter().take(params.num_prompts) {
            ids.push(tokenizer.encode(&row.prompt).map_err(StageError::failed)?);
        }
        let difference = compare(&adapted, &merged, &ids, tokenizer.pad);
        context.say(
            Level::Info,
            format!(
                "largest difference of a logit: {:.2e}, of a distribution (KL): {:.2e}",
                difference.logit, difference.kl
            ),
        );
        if difference.logit.is_nan() {
            return Err(StageError::failed(
                "a logit of the adapted or the merged model is not a number, though every weight is one: train the adapter \
                 again at a lower `learning_rate`",
            ));
        }
        if difference.logit > params.max_logit_difference {
            return Err(StageError::failed(format!(
                "merging changes a logit by {}, more than `max_logit_difference` {}",
                difference.logit, params.max_logit_difference
            )));
        }

        let output = context.output("model")?;
        merged.save(output).map_err(StageError::failed)?;
        tokenizer.save(output).map_err(StageError::failed)?;
        let path = context.output("metrics")?.join("metrics.json");
        let metrics = json!({ "merge": { "max_logit_difference": difference.logit, "max_kl": difference.kl, "prompts": ids.len() } });
        std::fs::write(&path, format!("{metrics:#}\n")).map_err(StageError::io(&path))
    }
}

/// The first weight with a number that is none; PEFT's `safe_merge` looks for one too.
fn unsound(model: &Decoder) -> Option<String> {
    let mut found = None;
    model.clone().visit(&mut |name, slot| {
        if found.is_none() && !to_host(slot.flat().sum()).iter().all(|sum| sum.is_finite()) {
            found = Some(name.to_string());
        }
    });
    found
}

/// The largest differences over all real positions.
struct Difference {
    logit: f64,
    kl: f64,
}

fn compare(adapted: &Decoder, merged: &Decoder, prompts: &[Vec<u32>], pad: u32) -> Difference {
    let mut worst = Difference { logit: 0.0, kl: 0.0 };
    for prompt in prompts {
        let batch = TokenBatch::right_padded(&[prompt], pad);
        let (a, b) = (to_host(adapted.forward(&batch)), to_host(merged.forward(&batch)));
        let vocab = adapted.config.vocab_size;
        for (a, b) in a.chunks(vocab).zip(b.chunks(vocab)) {
            worst.logit = larger(worst.logit, f64::from(largest_difference(a, b)));
            worst.kl = larger(worst.kl, kl(a, b));
        }
    }
    worst
}

/// The larger of two; what is no number is larger than all, so that it is not passed over.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// KL of the distributions of two rows of logits, in nats.
fn kl(a: &[f32], b: &[f32]) -> f64 {
    let log_softmax = |row: &[f32]| {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum();
        row.iter().map(|&x| f64::from(x - max) - sum.ln()).collect::<Vec<f64>>()
    };
    log_softmax(a).iter().zip(log_softmax(b)).map(|(p, q)| p.exp() * (p - q)).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_weight_that_is_no_number_is_a_difference() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/adapters/dora-rslora"));
        let mut adapted = Decoder::load(&folder.join("base"), &Device::flex()).unwrap();
        load_adapter(&mut adapted, &folder.join("adapter")).unwrap();
        let prompts = [vec![5, 9, 2, 7], vec![1, 2]];
        let sound = compare(&adapted, &adapted.merged(), &prompts, 0);
        assert!(sound.logit > 0.0 && sound.logit < 1e-4 && sound.kl < 1e-6, "{} {}", sound.logit, sound.kl);
        assert_eq!(unsound(&adapted.merged()), None);
        let mut broken = None;
        adapted.visit_adapters(&mut |name, mut slot| {
            if broken.is_none() {
                slot.set_flat(slot.flat().mul_scalar(f32::NAN));
                broken = Some(name.replace("base_model.model.", "").replace("lora_A.", ""));
            }
        });
        let difference = compare(&adapted, &adapted.merged(), &prompts, 0);
        assert!(difference.logit.is_nan() && difference.kl.is_nan());
        assert!(broken.is_some() && unsound(&adapted.merged()) == broken, "whatever it is compared on");
    }
}
