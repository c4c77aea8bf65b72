//! The adapter cases that PEFT wrote (see `tests/fixtures/adapters`): gradients, and three steps of AdamW.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use gazal_lm::weights::{Weights, largest_difference, to_host};
use gazal_lm::{Decoder, TokenBatch, Trainable, load_adapter};
use serde_json::Value;

use crate::{
    Gradients, LossSettings, OptimConfig, OptimKind, Optimizer, Sequence, TokenMeans, evaluate, loss_and_gradients,
};

/// A file or folder of `GAZAL_FIXTURES`, or of the copy in the repository.
pub(crate) fn place(name: &str) -> PathBuf {
    let root = std::env::var("GAZAL_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures").into());
    Path::new(&root).join(name)
}

pub(crate) fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(place(name)).unwrap()).unwrap()
}

fn folder(name: &str) -> PathBuf {
    place("adapters").join(name)
}

pub(crate) struct Case {
    pub(crate) decoder: Decoder,
    expected: Weights,
    numbers: Value,
    sequences: Vec<Sequence>,
}

pub(crate) fn case(name: &str) -> Case {
    let folder = folder(name);
    let mut decoder = Decoder::load(&folder.join("base"), &Device::flex()).unwrap();
    load_adapter(&mut decoder, &folder.join("adapter")).unwrap();
    let expected = Weights::load(&folder.join("expected.safetensors")).unwrap();
    let numbers = serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let (shape, ids) = expected.get("input_ids").unwrap();
    let sequences = ids.chunks(shape[1]).map(|row| row.iter().map(|&id| id as u32).collect());
    let sequences = sequences.map(|ids| Sequence::new(ids, 6)).collect();
    Case { decoder, expected, numbers, sequences }
}

impl Case {
    pub(crate) fn step_gradients(&self) -> (TokenMeans, Gradients) {
        let rows: Vec<&Sequence> = self.sequences.iter().collect();
        let targets = rows.iter().map(|row| row.targets()).sum();
        loss_and_gradients(&self.decoder, &rows, targets, &LossSettings::new(Trainable::Adapters, 0))
    }

    /// Puts the adapter in place that three steps of PEFT's training gave.
    fn take_trained_parameters(&mut self) {
        let Case { decoder, expected, .. } = self;
        decoder.visit_adapters(&mut |parameter, mut slot| {
            let (_, values) = expected.get(&format!("after3.{}", peft_name(parameter))).unwrap();
            slot.set_flat(Tensor::from_data(values, &Device::flex()));
        });
        decoder.refresh_norms();
    }
}

fn assert_close(found: &[f32], expected: &[f32], rtol: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: another number of values");
    let largest = expected.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
    let worst = largest_difference(found, expected);
    assert!(worst <= 1e-6 + rtol * largest, "{what}: off by {worst} where the largest value is {largest}");
}

const CASES: [&str; 3] = ["lora", "rslora", "dora-rslora"];

/// PEFT's name of a parameter inside a model, as the fixtures have it.
fn peft_name(name: &str) -> String {
    name.replace(".lora_A.", ".lora_A.default.")
        .replace(".lora_B.", ".lora_B.default.")
        .replace(".lora_magnitude_vector", ".lora_magnitude_vector.default.weight")
}

#[test]
fn adapter_fixture_gradients() {
    for name in CASES {
        let mut case = case(name);
        let (_, gradients) = case.step_gradients();
        let mut checked = 0;
        let Case { decoder, expected, .. } = &mut case;
        decoder.visit_adapters(&mut |parameter, _| {
            let (_, wanted) = expected.get(&format!("grad.{}", peft_name(parameter))).unwrap();
            assert_close(&to_host(gradients.get(parameter).unwrap().clone()), wanted, 1e-3, parameter);
            checked += 1;
        });
        let all = expected.names().filter(|name| name.starts_with("grad.")).count();
        assert_eq!(checked, all, "{name}");
    }
}

#[test]
fn adapter_fixture_three_steps_of_adamw() {
    for name in CASES {
        let mut case = case(name);
        let config = OptimConfig { kind: OptimKind::Adamw, ..OptimConfig::default() };
        let mut optimizer = Optimizer::new(config);
        let mut first_gradients = None;
        for step in 0..3 {
            let (means, mut gradients) = case.step_gradients();
            let norm = gradients.clip(1.0);
            let wanted = |field: &str| case.numbers[field][step].as_f64().unwrap() as f32;
            assert_close(&[means.loss as f32], &[wanted("losses")], 1e-4, name);
            assert_close(&[norm as f32], &[wanted("grad_norms")], 1e-3, name);
            optimizer.step(&mut case.decoder, Trainable::Adapters, &gradients, 1e-2);
            first_gradients.get_or_insert(gradients);
        }
        let means = evaluate(&case.decoder, &case.sequences, 3, 0);
        assert_close(&[means.loss as f32], &[case.numbers["loss_after3"].as_f64().unwrap() as f32], 1e-3, name);
        check_parameters(&mut case, &first_gradients.unwrap());
    }
}

/// Parameters after three steps within 1e-3, except where a first gradient below 1e-7 leaves Adam's sign to chance.
fn check_parameters(case: &mut Case, first: &Gradients) {
    let Case { decoder, expected, .. } = case;
    decoder.visit_adapters(&mut |parameter, slot| {
        let (_, wanted) = expected.get(&format!("after3.{}", peft_name(parameter))).unwrap();
        let gradient = to_host(first.get(parameter).unwrap().clone());
        let (mut found, mut kept) = (Vec::new(), Vec::new());
        for ((value, wanted), gradient) in to_host(slot.flat()).iter().zip(wanted).zip(gradient) {
            if gradient.abs() >= 1e-7 {
                found.push(*value);
                kept.push(*wanted);
            }
        }
        assert!(!kept.is_empty(), "{parameter} has no gradient");
        assert_close(&found, &kept, 1e-3, parameter);
    });
}

#[test]
fn adapter_fixture_merged_weights_and_logits() {
    for name in CASES {
        let mut case = case(name);
        // The fixture merges what three steps of training left; its own parameters, so that only merging is compared.
        case.take_trained_parameters();
        let mut merged = case.decoder.merged();
        let mut checked = 0;
        merged.visit(&mut |parameter, slot| {
            if let Ok((_, wanted)) = case.expected.get(&format!("merged.{parameter}")) {
                assert_close(&to_host(slot.flat()), wanted, 1e-5, parameter);
                checked += 1;
            }
        });
        assert_eq!(checked, case.expected.names().filter(|name| name.starts_with("merged.")).count(), "{name}");
        let rows: Vec<&[u32]> = case.sequences.iter().map(|row| row.ids.as_slice()).collect();
        let batch = TokenBatch::right_padded(&rows, 0);
        let logits = to_host(merged.forward(&batch));
        assert_close(&logits, case.expected.get("merged_logits").unwrap().1, 1e-4, name);
        assert_close(&logits, &to_host(case.decoder.forward(&batch)), 1e-4, name);
    }
}

#[test]
fn every_adapter_tensor_has_a_gradient_and_moves_within_two_steps() {
    let mut decoder = Decoder::load(&folder("dora-rslora").join("base"), &Device::flex()).unwrap();
    let config = gazal_lm::AdapterConfig::load(&folder("dora-rslora").join("adapter")).unwrap();
    gazal_lm::new_adapter(&mut decoder, &config, &|name, index| {
        let seed = name.bytes().fold(index, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64 / (1_u64 << 53) as f64
    })
    .unwrap();
    let mut case = Case { decoder, ..case("dora-rslora") };
    let mut before = std::collections::BTreeMap::new();
    case.decoder.visit_adapters(&mut |name, slot| {
        before.insert(name.to_string(), to_host(slot.flat()));
    });
    let mut optimizer = Optimizer::new(OptimConfig::default());
    for _ in 0..2 {
        let (_, gradients) = case.step_gradients();
        assert_eq!(gradients.names().count(), before.len());
        optimizer.step(&mut case.decoder, Trainable::Adapters, &gradients, 1e-3);
    }
    case.decoder
        .visit_adapters(&mut |name, slot| assert_ne!(before[name], to_host(slot.flat()), "{name} did not move"));
    assert_eq!(before.len(), 3 * 7 * 3, "A, B and magnitude of seven projections in three layers");
}
