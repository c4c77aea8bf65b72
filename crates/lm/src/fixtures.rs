//! The numeric cases that transformers and PEFT wrote (see `tests/fixtures`), as tests.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::Value;

use crate::weights::{Weights, largest_difference, to_host};
use crate::{
    Decoder, GenerationConfig, SamplingParams, TokenBatch, Tokenizer, Trainable, generate, load_adapter, uniform,
};

/// `GAZAL_FIXTURES`, or the copy in the repository.
pub(crate) fn folder(name: &str) -> PathBuf {
    let root = std::env::var("GAZAL_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures").into());
    Path::new(&root).join(name)
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// |a − b| ≤ atol + rtol·max|b|.
pub(crate) fn assert_close(found: &[f32], expected: &[f32], rtol: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: another number of values");
    let largest = expected.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
    let worst = largest_difference(found, expected);
    assert!(worst <= 1e-6 + rtol * largest, "{what}: off by {worst} where the largest value is {largest}");
}

fn rows(ids: &[f32], width: usize) -> Vec<Vec<u32>> {
    ids.chunks(width).map(|row| row.iter().map(|&id| id as u32).collect()).collect()
}

pub(crate) fn input_ids(expected: &Weights) -> Vec<Vec<u32>> {
    let (shape, ids) = expected.get("input_ids").unwrap();
    rows(ids, shape[1])
}

/// Calls `check` with the name and folder of every model, of which there is at least one of each family.
pub(crate) fn each_model(mut check: impl FnMut(&str, &Path)) {
    let models = folder("models");
    let mut names: Vec<String> =
        std::fs::read_dir(&models).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for family in ["llama", "qwen2", "qwen3", "qwen3-tied", "qwen3_5"] {
        assert!(names.iter().any(|name| name == family), "{} has no {family}", models.display());
    }
    names.iter().for_each(|name| check(name, &models.join(name)));
}

pub(crate) fn check_logits(name: &str, case: &Path, decoder: &Decoder, rtol: f32) {
    let expected = Weights::load(&case.join("expected.safetensors")).unwrap();
    let batch = TokenBatch::right_padded(&input_ids(&expected), 0);
    assert_close(&to_host(decoder.forward(&batch)), expected.get("logits").unwrap().1, rtol, name);
}

pub(crate) fn check_greedy_ids(name: &str, case: &Path, decoder: &Decoder) {
    let expected = Weights::load(&case.join("expected.safetensors")).unwrap();
    let greedy = json(&case.join("expected.json"))["greedy_ids"].clone();
    let greedy: Vec<u32> = serde_json::from_value(greedy).unwrap();
    let prompt = input_ids(&expected)[0][..12].to_vec();
    let config = GenerationConfig {
        sampling: SamplingParams::greedy(),
        max_new_tokens: greedy.len() - 12,
        eos: Vec::new(),
        pad: 0,
        num_generations: 1,
    };
    let generated = generate(decoder, &[prompt], &config, &|_, _| 0.0);
    assert_eq!(generated[0].ids, greedy[12..], "{name}");
}

#[test]
fn model_fixture_logits() {
    each_model(|name, case| check_logits(name, case, &Decoder::load(case, &Device::flex()).unwrap(), 1e-4));
}

#[test]
fn model_fixture_left_padded_logits_at_real_positions() {
    each_model(|name, case| {
        let decoder = Decoder::load(case, &Device::flex()).unwrap();
        let expected = Weights::load(&case.join("expected.safetensors")).unwrap();
        let ids = input_ids(&expected);
        let mask = rows(expected.get("attention_mask").unwrap().1, ids[0].len());
        let real = |row: usize| mask[row].iter().filter(|&&bit| bit == 1).count();
        let short: Vec<Vec<u32>> =
            ids.iter().enumerate().map(|(row, ids)| ids[ids.len() - real(row)..].to_vec()).collect();
        let batch = TokenBatch::left_padded(&short, 0);
        let logits = to_host(decoder.forward(&batch));
        let wanted = expected.get("left_padded_logits").unwrap().1;
        let vocab = decoder.config.vocab_size;
        for row in 0..batch.rows {
            let range = (row * batch.width + batch.left_pad[row]) * vocab..(row + 1) * batch.width * vocab;
            assert_close(&logits[range.clone()], &wanted[range], 1e-4, name);
        }
    });
}

#[test]
fn model_fixture_loss_and_gradient_norms() {
    each_model(|name, case| {
        let mut decoder = Decoder::load(case, &Device::flex()).unwrap().tracked(Trainable::Base);
        let expected = Weights::load(&case.join("expected.safetensors")).unwrap();
        let numbers = json(&case.join("expected.json"));
        let ids = input_ids(&expected);
        let width = ids[0].len();
        let batch = TokenBatch::right_padded(&ids, 0);
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (row, ids) in ids.iter().enumerate() {
            for (at, id) in ids.iter().enumerate().skip(11) {
                positions.push(row * width + at - 1);
                targets.push(*id);
            }
        }
        let loss = decoder.log_probs(&batch, &positions, &targets, 1.0).mean().neg();
        let gradients = loss.backward();
        let expected_loss = numbers["loss"].as_f64().unwrap() as f32;
        assert_close(&to_host(loss.inner()), &[expected_loss], 1e-5, name);
        let mut checked = 0;
        decoder.visit(&mut |parameter, slot| {
            let gradient = to_host(slot.gradient(&gradients).unwrap());
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt() as f32;
            let wanted = numbers["grad_norms"][parameter].as_f64().unwrap() as f32;
            assert_close(&[norm], &[wanted], 1e-4, parameter);
            checked += 1;
        });
        assert_eq!(checked, numbers["grad_norms"].as_object().unwrap().len(), "{name}");
    });
}

#[test]
fn model_fixture_greedy_ids() {
    each_model(|name, case| check_greedy_ids(name, case, &Decoder::load(case, &Device::flex()).unwrap()));
}

#[test]
fn tokenizer_fixture_ids() {
    let mut cases = 0;
    each_model(|_, case| {
        let tokenizer = Tokenizer::load(case).unwrap();
        for text_case in json(&case.join("expected.json"))["text_cases"].as_array().unwrap() {
            let wanted: Vec<u32> = serde_json::from_value(text_case["ids"].clone()).unwrap();
            assert_eq!(tokenizer.encode(text_case["text"].as_str().unwrap()).unwrap(), wanted);
            cases += 1;
        }
    });
    assert!(cases >= 25, "only {cases} cases");
}

#[test]
fn adapter_fixture_logits_and_merge() {
    for name in ["lora", "rslora", "dora-rslora"] {
        let case = folder("adapters").join(name);
        let mut decoder = Decoder::load(&case.join("base"), &Device::flex()).unwrap();
        load_adapter(&mut decoder, &case.join("adapter")).unwrap();
        let expected = Weights::load(&case.join("expected.safetensors")).unwrap();
        let batch = TokenBatch::right_padded(&input_ids(&expected), 0);
        assert_close(&to_host(decoder.forward(&batch)), expected.get("logits").unwrap().1, 1e-4, name);
    }
}

#[test]
fn sampling_fixture_probabilities() {
    let cases = json(&folder("sampling/sampling.json"));
    let cases = cases["cases"].as_array().unwrap();
    for case in cases {
        let option = |name: &str, default: f64| case["options"][name].as_f64().unwrap_or(default);
        let sampling = SamplingParams {
            temperature: option("temperature", 1.0),
            top_k: option("top_k", 0.0) as usize,
            top_p: option("top_p", 1.0),
            min_p: option("min_p", 0.0),
            repetition_penalty: option("repetition_penalty", 1.0),
        };
        let logits: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
        let prefixes: Vec<Vec<u32>> = serde_json::from_value(case["prefix_ids"].clone()).unwrap();
        let wanted: Vec<Vec<f32>> = serde_json::from_value(case["probabilities"].clone()).unwrap();
        for ((logits, prefix), wanted) in logits.iter().zip(&prefixes).zip(&wanted) {
            assert_close(&sampling.probabilities(logits, prefix), wanted, 1e-5, &case["options"].to_string());
        }
    }
    assert!(cases.len() >= 6, "only {} cases", cases.len());
}

fn sampled(decoder: &Decoder, prompts: &[Vec<u32>], generations: usize) -> Vec<crate::Generated> {
    let config = GenerationConfig {
        sampling: SamplingParams { temperature: 0.8, ..SamplingParams::default() },
        max_new_tokens: 20,
        eos: vec![7, 8, 9, 10, 11, 12],
        pad: 0,
        num_generations: generations,
    };
    // The number depends on the prompt's own ids, so that a row keeps its numbers when it is generated alone.
    generate(decoder, prompts, &config, &|row, step| {
        let seed = u64::from(prompts[row / generations][0]) * 7919 + (row % generations) as u64 * 104_729 + step as u64;
        (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64 / (1_u64 << 53) as f64
    })
}

fn dora_model() -> (Decoder, Vec<Vec<u32>>) {
    let case = folder("adapters/dora-rslora");
    let mut decoder = Decoder::load(&case.join("base"), &Device::flex()).unwrap();
    load_adapter(&mut decoder, &case.join("adapter")).unwrap();
    let ids = input_ids(&Weights::load(&case.join("expected.safetensors")).unwrap());
    let prompts = ids.iter().enumerate().map(|(row, ids)| ids[..8 + 4 * row].to_vec()).collect();
    (decoder, prompts)
}

#[test]
fn cached_decoding_agrees_with_recomputation_and_the_trainer_with_the_sampler() {
    let (decoder, prompts) = dora_model();
    let generated = sampled(&decoder, &prompts, 3);
    assert_eq!(generated.len(), 9);
    assert!(generated.iter().any(|row| row.finished) && generated.iter().any(|row| !row.finished));
    for (row, completion) in generated.iter().enumerate() {
        let prompt = &prompts[row / 3];
        let sequence = [prompt.as_slice(), &completion.ids].concat();
        let batch = TokenBatch::right_padded(&[&sequence], 0);
        let positions: Vec<usize> = (prompt.len() - 1..sequence.len() - 1).collect();
        let trainer = to_host(decoder.log_probs(&batch, &positions, &completion.ids, 0.8));
        let worst = largest_difference(&trainer, &completion.log_probs);
        assert!(worst < 1e-4, "sampler and trainer differ by {worst}");
    }
}

#[test]
fn greedy_ids_are_the_same_with_and_without_the_cache() {
    let (decoder, prompts) = dora_model();
    let config = GenerationConfig {
        sampling: SamplingParams::greedy(),
        max_new_tokens: 16,
        eos: Vec::new(),
        pad: 0,
        num_generations: 1,
    };
    for (prompt, cached) in prompts.iter().zip(generate(&decoder, &prompts, &config, &|_, _| 0.0)) {
        let mut sequence = prompt.clone();
        for id in &cached.ids {
            let logits = to_host(decoder.forward(&TokenBatch::right_padded(&[&sequence], 0)));
            let last = &logits[logits.len() - decoder.config.vocab_size..];
            let best = (0..last.len()).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
            assert_eq!(best as u32, *id);
            sequence.push(*id);
        }
    }
}

#[test]
fn a_sequence_does_not_depend_on_its_neighbours() {
    let (decoder, prompts) = dora_model();
    let together = sampled(&decoder, &prompts, 2);
    for (index, prompt) in prompts.iter().enumerate() {
        let alone = sampled(&decoder, std::slice::from_ref(prompt), 2);
        for (a, b) in alone.iter().zip(&together[2 * index..]) {
            assert_eq!(a.ids, b.ids);
        }
    }
}

/// A completion whose last token that is allowed is an eos has ended by itself; with one token less it is cut off.
#[test]
fn an_eos_exactly_at_the_limit_is_an_end() {
    let (decoder, prompts) = dora_model();
    let completed = |eos: &[u32], max_new_tokens: usize| {
        let sampling = SamplingParams::default();
        let config = GenerationConfig { sampling, max_new_tokens, eos: eos.to_vec(), pad: 0, num_generations: 1 };
        generate(&decoder, &prompts[..1], &config, &|row, step| uniform(3, row as u64, step)).remove(0)
    };
    let free = completed(&[], 12);
    let last = (1..12).rev().find(|&at| !free.ids[..at].contains(&free.ids[at])).unwrap();
    let ended = completed(&free.ids[last..=last], last + 1);
    assert!(ended.finished && ended.ids == free.ids[..=last]);
    let cut = completed(&free.ids[last..=last], last);
    assert!(!cut.finished && cut.ids == free.ids[..last]);
    assert!(!free.finished);
}

/// A merged model has nothing left to merge, and the one that it came from is as it was.
#[test]
fn merging_twice_is_merging_once_and_takes_nothing_away() {
    let (decoder, prompts) = dora_model();
    let logits = |decoder: &Decoder| to_host(decoder.forward(&TokenBatch::right_padded(&prompts, 0)));
    let (before, once) = (logits(&decoder), decoder.merged());
    assert_eq!(logits(&once.merged()), logits(&once));
    assert_eq!(logits(&decoder), before);
    assert_ne!(logits(&decoder.without_adapters()), before);
}
