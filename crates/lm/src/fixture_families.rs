//! What holds for a model of every family beside the numbers that transformers gives, tried on the same fixtures.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use serde_json::json;

use crate::adapter::Targets;
use crate::fixtures::{assert_close, each_model, folder, input_ids, json as read_json};
use crate::weights::{self, Weights, to_host};
use crate::{
    AdapterConfig, Cache, Config, Decoder, GenerationConfig, SamplingParams, TokenBatch, Trainable, generate,
    load_adapter, new_adapter, save_adapter,
};

fn load(case: &Path) -> Decoder {
    Decoder::load(case, &Device::flex()).unwrap()
}

fn ids(case: &Path) -> Vec<Vec<u32>> {
    input_ids(&Weights::load(&case.join("expected.safetensors")).unwrap())
}

/// Names and shapes.
fn tensors(path: &Path) -> BTreeMap<String, Vec<usize>> {
    let weights = Weights::load(path).unwrap();
    weights.names().map(|name| (name.to_string(), weights.get(name).unwrap().0.to_vec())).collect()
}

#[test]
fn a_saved_model_has_the_fields_and_tensors_that_it_was_loaded_from() {
    let mut models = 0;
    each_model(|name, case| {
        let saved = tempfile::tempdir().unwrap();
        load(case).save(saved.path()).unwrap();
        assert_eq!(read_json(&saved.path().join("config.json")), read_json(&case.join("config.json")), "{name}");
        let file = "model.safetensors";
        assert_eq!(tensors(&saved.path().join(file)), tensors(&case.join(file)), "{name}");
        let batch = TokenBatch::right_padded(&ids(case), 0);
        let again = Decoder::load(saved.path(), &Device::flex()).unwrap();
        assert_eq!(to_host(again.forward(&batch)), to_host(load(case).forward(&batch)), "{name}");
        models += 1;
    });
    assert!(models >= 5);
}

/// Writes the text tower `case` as a checkpoint of several towers has it.
fn write_nested(case: &Path, into: &Path) {
    let mut inner = read_json(&case.join("config.json"));
    inner["dtype"] = json!("bfloat16");
    let whole =
        json!({ "model_type": "qwen3_5", "text_config": inner, "vision_config": {}, "tie_word_embeddings": true });
    std::fs::write(into.join("config.json"), whole.to_string()).unwrap();
    let text = Weights::load(&case.join("model.safetensors")).unwrap();
    let mut tensors: Vec<weights::Named> = text
        .names()
        .map(|name| {
            let (shape, values) = text.get(name).unwrap();
            (name.replacen("model.", "model.language_model.", 1), shape.to_vec(), values.to_vec())
        })
        .collect();
    for elsewhere in ["model.visual.patch_embed.proj.weight", "mtp.layers.0.mlp.up_proj.weight"] {
        tensors.push((elsewhere.into(), vec![2], vec![1.0, 2.0]));
    }
    weights::save(&into.join("model.safetensors"), &tensors).unwrap();
}

#[test]
fn the_text_tower_is_found_among_others_and_saved_under_its_names() {
    let case = folder("models/qwen3_5");
    let (nested, saved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_nested(&case, nested.path());
    let decoder = load(nested.path());
    let batch = TokenBatch::right_padded(&ids(&case), 0);
    assert_eq!(to_host(decoder.forward(&batch)), to_host(load(&case).forward(&batch)));
    decoder.save(saved.path()).unwrap();
    let mut wanted = tensors(&nested.path().join("model.safetensors"));
    wanted.retain(|name, _| name.starts_with("model.language_model."));
    assert_eq!(tensors(&saved.path().join("model.safetensors")), wanted);
    assert_eq!(Config::load(saved.path()).unwrap().layer_types, decoder.config.layer_types);
    assert_eq!(to_host(load(saved.path()).forward(&batch)), to_host(decoder.forward(&batch)));
}

#[test]
fn a_tensor_that_no_part_asks_for_is_named() {
    let case = folder("models/llama");
    let changed = tempfile::tempdir().unwrap();
    std::fs::copy(case.join("config.json"), changed.path().join("config.json")).unwrap();
    let text = Weights::load(&case.join("model.safetensors")).unwrap();
    let mut tensors: Vec<weights::Named> = text
        .names()
        .map(|name| (name.to_string(), text.get(name).unwrap().0.to_vec(), text.get(name).unwrap().1.to_vec()))
        .collect();
    tensors.push(("model.layers.1.self_attn.q_norm.weight".into(), vec![16], vec![1.0; 16]));
    weights::save(&changed.path().join("model.safetensors"), &tensors).unwrap();
    let message = Decoder::load(changed.path(), &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("model.layers.1.self_attn.q_norm.weight"), "{message}");
}

/// All linear projections that there are in any family.
fn all_linear() -> AdapterConfig {
    let targets = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
        "in_proj_qkv",
        "in_proj_z",
        "in_proj_b",
        "in_proj_a",
        "out_proj",
    ];
    let targets = Targets::Names(targets.map(String::from).to_vec());
    AdapterConfig { use_rslora: true, use_dora: true, ..AdapterConfig::new(3, 6.0, targets) }
}

/// Different numbers for different names and indices.
fn random(name: &str, index: u64) -> f64 {
    let start = name.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut bits = (start << 32).wrapping_add(index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[test]
fn adapters_attach_to_every_projection_train_merge_and_come_back_from_disk() {
    let mut models = 0;
    each_model(|name, case| {
        let matrices = tensors(&case.join("model.safetensors"));
        let projections = |name: &&String| name.contains("_proj") && name.ends_with(".weight");
        let wanted: Vec<String> = matrices.keys().filter(projections).cloned().collect();
        let (plain, mut decoder) = (load(case), load(case));
        new_adapter(&mut decoder, &all_linear(), &random).unwrap();
        let batch = TokenBatch::right_padded(&ids(case), 0);
        assert_close(&to_host(decoder.forward(&batch)), &to_host(plain.forward(&batch)), 1e-5, name);
        move_adapters(&mut decoder);
        let mut found = adapted(&mut decoder);
        found.sort();
        assert_eq!(found, wanted, "{name}");
        assert_every_adapter_learns(&decoder, &batch, name);

        let logits = to_host(decoder.forward(&batch));
        assert_ne!(logits, to_host(plain.forward(&batch)), "{name}");
        assert_close(&to_host(decoder.merged().forward(&batch)), &logits, 1e-4, name);
        let saved = tempfile::tempdir().unwrap();
        save_adapter(&decoder, &all_linear(), saved.path()).unwrap();
        let mut again = load(case);
        load_adapter(&mut again, saved.path()).unwrap();
        assert_eq!(to_host(again.forward(&batch)), logits, "{name}");
        assert_eq!(to_host(again.without_adapters().forward(&batch)), to_host(plain.forward(&batch)), "{name}");
        models += 1;
    });
    assert!(models >= 5);
}

/// Gives every B numbers that are not zero.
fn move_adapters(decoder: &mut Decoder) {
    decoder.visit_adapters(&mut |name, mut slot| {
        if name.ends_with("lora_B.weight") {
            let count = slot.shape().iter().product::<usize>() as u64;
            let values: Vec<f32> = (0..count).map(|i| 0.1 * random(name, i) as f32 - 0.05).collect();
            slot.set_flat(burn::tensor::Tensor::from_data(values.as_slice(), &Device::flex()));
        }
    });
    decoder.refresh_norms();
}

/// Names of the weights that have an adapter.
fn adapted(decoder: &mut Decoder) -> Vec<String> {
    let mut found = Vec::new();
    decoder.visit_adapters(&mut |name, _| {
        let module = name.strip_prefix("base_model.model.").and_then(|name| name.strip_suffix(".lora_A.weight"));
        found.extend(module.map(|module| format!("{module}.weight")));
    });
    found
}

fn assert_every_adapter_learns(decoder: &Decoder, batch: &TokenBatch, what: &str) {
    let mut tracked = decoder.tracked(Trainable::Adapters);
    let gradients = tracked.log_probs(batch, &[5, 20, 60], &[1, 2, 3], 1.0).sum().backward();
    tracked.visit_adapters(&mut |name, slot| {
        let gradient = to_host(slot.gradient(&gradients).unwrap());
        assert!(gradient.iter().any(|value| *value != 0.0), "{what}: {name} learns nothing");
        assert!(gradient.iter().all(|value| value.is_finite()), "{what}: {name}");
    });
}

#[test]
fn a_prompt_may_be_read_in_parts() {
    each_model(|name, case| {
        let decoder = load(case);
        let prompts: Vec<Vec<u32>> = ids(case).iter().enumerate().map(|(row, ids)| ids[7 * row..].to_vec()).collect();
        let whole = TokenBatch::left_padded(&prompts, 0);
        let wanted = to_host(decoder.hidden(&whole, None));
        let mut cache = Cache::new(decoder.layers.len());
        let hidden = decoder.config.hidden_size;
        // A part that ends within the padding of the second row, a long one, a single column, and the rest.
        for (from, to) in [(0, 5), (5, 20), (20, 21), (21, whole.width)] {
            let mut part = Vec::new();
            for row in 0..whole.rows {
                part.extend_from_slice(&whole.ids[row * whole.width + from..row * whole.width + to]);
            }
            let part = TokenBatch { ids: part, width: to - from, ..whole.clone() };
            let found = to_host(decoder.hidden(&part, Some(&mut cache)));
            for row in 0..whole.rows {
                let first = whole.left_pad[row].max(from);
                if first < to {
                    let found = &found[(row * part.width + first - from) * hidden..(row + 1) * part.width * hidden];
                    let wanted = &wanted[(row * whole.width + first) * hidden..(row * whole.width + to) * hidden];
                    assert_close(found, wanted, 1e-4, name);
                }
            }
        }
    });
}

#[test]
fn completions_do_not_depend_on_their_neighbours() {
    each_model(|name, case| {
        let decoder = load(case);
        let prompts: Vec<Vec<u32>> =
            ids(case).iter().enumerate().map(|(row, ids)| ids[..9 + 6 * row].to_vec()).collect();
        let config = GenerationConfig {
            sampling: SamplingParams::greedy(),
            max_new_tokens: 12,
            eos: Vec::new(),
            pad: 0,
            num_generations: 2,
        };
        let together = generate(&decoder, &prompts, &config, &|_, _| 0.0);
        for (index, prompt) in prompts.iter().enumerate() {
            let alone = generate(&decoder, std::slice::from_ref(prompt), &config, &|_, _| 0.0);
            assert_eq!(alone[0].ids, together[2 * index].ids, "{name}");
            assert_eq!(alone[0].ids, together[2 * index + 1].ids, "{name}");
        }
    });
}
