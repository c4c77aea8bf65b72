//! The arithmetic, on shapes small enough to count by hand, and what is said of it.
#![allow(clippy::unwrap_used)]

use gazal_lm::{AdapterConfig, Config, Targets, weights};
use gazal_stage_api::{Context, DeviceRequest, Event, Folders, Precision};
use gazal_train::OptimKind;
use serde_json::json;

use super::*;

/// Two layers of width 8 with two heads of 4, one of them for keys and values, an inner width of 16, and 10 words.
fn config() -> Config {
    let config = json!({"model_type": "qwen3", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 10, "tie_word_embeddings": true,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "hidden_act": "silu",
        "attention_bias": false});
    Config::from_json(config).unwrap()
}

/// q 8×8, k and v 4×8, o 8×8; gate, up and down 8×16; twice, and the vocabulary.
const WEIGHTS: u64 = 2 * (64 + 32 + 32 + 64 + 3 * 128) + 80;

fn adapter(names: &[&str]) -> AdapterConfig {
    AdapterConfig::new(2, 4.0, Targets::Names(names.iter().map(|name| (*name).to_string()).collect()))
}

fn training(config: &Config) -> Training<'_> {
    Training {
        config,
        precision: weights::Precision::F32,
        adapter: None,
        optim: OptimKind::Adamw,
        per_device_train_batch_size: 3,
        gradient_accumulation_steps: 1,
        gradient_checkpointing: false,
        lengths: Lengths { shortest: 5, longest: 7, targets: 4 },
        has_reference: false,
        at_once: 1,
    }
}

/// The terms as numbers of float32.
fn terms(estimate: &Estimate) -> Vec<(&'static str, u64)> {
    estimate.0.iter().map(|term| (term.name, term.bytes / 4)).collect()
}

/// Numbers a token of a layer that trains wholly: the residual stream twice, q, k, v, gate and up, and what goes into
/// these (8 and 8), into o (8) and into down (16).
const KEPT: u64 = 16 + (8 + 4 + 4) + (16 + 16) + 8 + 8 + 8 + 16;

#[test]
fn matrices_in_bfloat16() {
    let config = config();
    let narrow = Training { precision: weights::Precision::Bf16, ..training(&config) };
    let of = |training: &Training, name: &str| {
        let estimate = training.estimate();
        estimate.0.iter().find(|term| term.name == name).map(|term| term.bytes).unwrap()
    };
    // Half of the weights, and a copy in float32 of what trains.
    assert_eq!(of(&narrow, "weights"), 2 * WEIGHTS);
    assert_eq!(of(&narrow, "the optimizer's state"), 4 * 3 * WEIGHTS);
    let adapter = adapter(&["q_proj"]);
    let frozen = Training { adapter: Some(&adapter), ..narrow };
    let in_float32 = Training { precision: weights::Precision::F32, ..frozen.clone() };
    let state = "the optimizer's state";
    assert_eq!((of(&frozen, "weights"), of(&frozen, state)), (2 * WEIGHTS, of(&in_float32, state)));
}

#[test]
fn a_base_model_that_trains() {
    let config = config();
    let wanted = [
        ("weights", WEIGHTS),
        ("the optimizer's state", 2 * WEIGHTS),
        ("activations", 3 * 7 * 2 * KEPT),
        ("logits", 3 * 4 * 10),
    ];
    assert_eq!(terms(&training(&config).estimate()), wanted);
    let lion = Training { optim: OptimKind::Lion, ..training(&config) };
    assert_eq!(terms(&lion.estimate())[1].1, WEIGHTS);
}

#[test]
fn a_reference_of_a_whole_model_is_another_model() {
    let config = config();
    let alone = terms(&training(&config).estimate());
    let followed = terms(&Training { has_reference: true, ..training(&config) }.estimate());
    assert_eq!(followed, [&alone[..1], &[("the reference's weights", WEIGHTS)], &alone[1..]].concat());
}

#[test]
fn gradients_of_a_window_wait_for_one_another() {
    let config = config();
    let lengths = Lengths { shortest: 1, longest: 1, targets: 1 };
    let window = Training { gradient_accumulation_steps: 40, lengths, ..training(&config) };
    let wanted = [("weights", WEIGHTS), ("the optimizer's state", 2 * WEIGHTS), ("gradients", 40 * WEIGHTS)];
    assert_eq!(terms(&window.estimate()), wanted, "the step is the worst moment");
    let found = Training { lengths: Lengths { longest: 7000, ..lengths }, at_once: 2, ..window }.estimate();
    assert_eq!(terms(&found)[2], ("gradients", 38 * WEIGHTS), "of those before");
    assert_eq!(terms(&found)[3], ("activations", 3 * (7000 + 1) * 2 * KEPT), "the others may be short");
}

#[test]
fn checkpointed_layers_keep_what_goes_into_them_and_one_of_them_more() {
    let config = config();
    let layers = Training { gradient_checkpointing: true, ..training(&config) };
    assert_eq!(terms(&layers.estimate())[2], ("activations", 3 * 7 * (2 * 8 + KEPT)));
    let of = |training: &Training| training.estimate().largest().unwrap().remedy;
    let long = Lengths { shortest: 9000, longest: 9000, targets: 1 };
    assert!(of(&Training { lengths: long, ..training(&config) }).contains("`gradient_checkpointing`"));
    assert!(!of(&Training { lengths: long, ..layers }).contains("`gradient_checkpointing`"));
}

/// Of an adapter on queries alone: what does not train needs no input, and below the first adapter nothing is kept.
#[test]
fn an_adapter_keeps_what_its_own_gradient_needs() {
    let config = config();
    let queries = adapter(&["q_proj"]);
    let tuned = Training { adapter: Some(&queries), ..training(&config) };
    let numbers = 2 * (2 * 8 + 8 * 2);
    let kept = 16 + (8 + 4 + 4) + (16 + 16) + 8;
    let wanted = [
        ("weights", WEIGHTS),
        ("adapters", numbers),
        ("the optimizer's state", 2 * numbers),
        ("activations", 3 * 7 * 2 * kept),
        ("logits", 3 * 4 * 10),
    ];
    assert_eq!(terms(&tuned.estimate()), wanted);
    let upper = AdapterConfig { layers_to_transform: Some(gazal_lm::Layers::One(1)), ..queries };
    let upper = Training { adapter: Some(&upper), has_reference: true, ..training(&config) };
    assert_eq!(terms(&upper.estimate())[1], ("adapters", numbers), "half of them twice");
    assert_eq!(terms(&upper.estimate())[3], ("activations", 3 * 7 * kept));
    let lower = AdapterConfig { layers_to_transform: Some(gazal_lm::Layers::One(0)), ..adapter(&["q_proj"]) };
    let lower = Training { adapter: Some(&lower), ..training(&config) };
    let through = kept - 8;
    assert_eq!(
        terms(&lower.estimate())[3],
        ("activations", 3 * 7 * (kept + through)),
        "gradients go through the other"
    );
}

#[test]
fn sampling_holds_the_weights_twice_and_keys_and_values() {
    let config = config();
    let all = adapter(&["all-linear"]);
    let policy = Training { adapter: Some(&all), ..training(&config) };
    let at = |completions| terms(&policy.sampling(Rollout { completions, tokens: 6 }));
    assert_eq!(
        at(1)[3..],
        [("the weights of the sampler", WEIGHTS), ("weights with the adapter in them", WEIGHTS - 80)]
    );
    let many = ("keys and values", 1000 * 6 * (2 * 2 * 4));
    assert_eq!(at(1000)[3..], [("the weights of the sampler", WEIGHTS), many]);
    let whole = terms(&training(&config).sampling(Rollout { completions: 1000, tokens: 6 }));
    assert_eq!(whole[2..], [("the weights of the sampler", WEIGHTS), many], "nothing is folded in");
}

#[test]
fn the_longest_row_that_is_drawn_for_certain() {
    let of = |drawn| Lengths::of([9, 2, 5].into_iter(), 1, drawn);
    assert_eq!((of(1).shortest, of(1).longest), (2, 2));
    assert_eq!((of(2).longest, of(3).longest, of(100).longest), (5, 9, 9));
    assert_eq!(Lengths::of([].into_iter(), 0, 3), Lengths::default());
}

/// The outcome for a device, and what was said.
fn checked(backend: Backend, need: &Need) -> (Result<(), StageError>, Vec<String>) {
    let mut said = Vec::new();
    let mut report = |event: Event| {
        if let Event::Message { text, .. } = event {
            said.push(text);
        }
    };
    let device = DeviceRequest { backend, precision: Precision::F32 };
    let never = || false;
    let mut context = Context::new(Folders::default(), 0, device, &mut report, &never);
    let outcome = check(&mut context, need);
    (outcome, said)
}

#[test]
fn what_cannot_fit_is_refused_by_its_largest_term() {
    let config = config();
    let absurd = Training { per_device_train_batch_size: usize::MAX, ..training(&config) }.estimate();
    let need = Need { least: absurd.clone(), most: absurd.clone() };
    let (refused, said) = checked(Backend::Cpu, &need);
    let error = refused.unwrap_err().to_string();
    for word in ["needs at least", "are available", "The largest part is activations", "`per_device_train_batch_size`"]
    {
        assert!(error.contains(word), "`{word}` is missing in: {error}");
    }
    assert!(said[0].contains("most of it activations"), "{said:?}");
    let (passed, said) = checked(Backend::Cuda(None), &need);
    assert!(passed.is_ok() && said[1].contains("how much memory `cuda` has is not known"), "{said:?}");
    let small = training(&config).estimate();
    let (passed, said) = checked(Backend::Cpu, &Need { least: small.clone(), most: small.clone() });
    assert!(passed.is_ok() && said.len() == 1 && said[0].starts_with("needs at least 0.0 MiB"), "{said:?}");
    let (passed, said) = checked(Backend::Cpu, &Need { least: small, most: absurd });
    assert!(passed.is_ok() && said[1].contains("may come to need more memory"), "{said:?}");
}
