//! Optimizer steps of a small decoder with a DoRA adapter on completions that it sampled.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::Device;
use gazal_lm::{GenerationConfig, SamplingParams, load_adapter};
use gazal_stage_api::parse;
use gazal_train::OptimConfig;
use serde_json::json;

use gazal_lm::weights::to_host;

use super::*;
use crate::grpo::reference;

fn decoder() -> Decoder {
    let folder =
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/adapters/dora-rslora")).to_path_buf();
    let mut decoder = Decoder::load(&folder.join("base"), &Device::flex()).unwrap();
    load_adapter(&mut decoder, &folder.join("adapter")).unwrap();
    decoder
}

/// It as the policy of a stage.
fn policy() -> Replicas {
    Replicas::new(decoder(), Trainable::Adapters, &[])
}

/// Micro-batches of four, groups of two, with some parameters more.
fn params(with: Value) -> Params {
    let mut table = json!({"max_steps": 4, "max_completion_length": 8, "learning_rate": 1e-3, "num_generations": 2,
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "reward_funcs": ["accuracy"]});
    let Value::Object(with) = with else { panic!("parameters are a table") };
    table.as_object_mut().unwrap().extend(with);
    let params = parse::<Params>(table.as_object().unwrap()).unwrap();
    assert_eq!(params.problems(), [], "the parameters of a test");
    params
}

/// Completions of the policy to as many prompts as a generation has, rewarded with these numbers.
fn rollout(params: &Params, policy: &Replicas, rewards: &[f64]) -> Rollout {
    let count = u32::try_from(params.prompts_per_generation()).unwrap();
    let prompts: Vec<Vec<u32>> = (0..count).map(|prompt| vec![5 + prompt, 9, 2 * prompt + 1]).collect();
    let config = GenerationConfig {
        sampling: SamplingParams { temperature: params.temperature, ..SamplingParams::default() },
        max_new_tokens: params.max_completion_length,
        eos: vec![3],
        pad: 0,
        num_generations: params.num_generations,
    };
    let uniform = |row: usize, step: usize| ((row * 31 + step * 17 + 7) as f64 * 0.618_034).fract();
    let completions = gazal_lm::generate(&policy.decoder, &prompts, &config, &uniform);
    let rewards = vec![rewards.to_vec()];
    let advantages = gazal_train::advantages(&params.advantage_config(), &rewards, &[]);
    Rollout { prompts, completions, totals: rewards[0].clone(), rewards, advantages, ..Rollout::default() }
}

fn batch(params: &Params, policy: &Replicas, reference: Option<&Replicas>, rewards: &[f64]) -> Batch {
    Batch::new(params, &rollout(params, policy, rewards), Models { policy, reference, pad: 0 })
}

fn adapters(decoder: &Decoder) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    decoder.clone().visit_adapters(&mut |_, slot| all.push(to_host(slot.flat())));
    all
}

fn number(metrics: &Map<String, Value>, name: &str) -> f64 {
    metrics[name].as_f64().unwrap()
}

const SPREAD: [f64; 8] = [1.0, 0.0, 2.0, 0.5, 0.0, 1.0, 3.0, 0.0];
/// Nothing is to be learnt from the second micro-batch.
const HALF: [f64; 8] = [1.0, 0.0, 2.0, 0.5, 1.0, 1.0, 0.0, 0.0];

/// A micro-batch without advantages is left out; with it, the step is the same to the bit.
#[test]
fn forwards_that_are_left_out_change_nothing() {
    let params = params(json!({}));
    let mut skipping = policy();
    let mut parts = batch(&params, &skipping, None, &HALF);
    assert!(!parts.parts[0].is_idle(&params) && parts.parts[1].is_idle(&params));
    let mut optimizer = Optimizer::new(OptimConfig::default());
    let metrics = update(&params, &mut skipping, &mut optimizer, &mut parts, Step { index: 0, rate: 1e-3 }).unwrap();

    let mut whole = policy();
    let window = Window { accumulation: 2, tokens: parts.tokens as f64 };
    let mut gradients = Vec::new();
    let mut sums = PolicyLoss::default();
    for part in &batch(&params, &whole, None, &HALF).parts {
        let (outcome, own) = part.gradients(&params, (&whole.decoder, whole.trainable), window);
        sums.loss += outcome.loss.loss;
        sums.metrics.add(&outcome.loss.metrics);
        gradients.push(own);
    }
    let mut gradients = gazal_train::reduce(gradients);
    gradients.clip(params.max_grad_norm);
    Optimizer::new(OptimConfig::default()).step(&mut whole.decoder, Trainable::Adapters, &gradients, 1e-3);
    assert!(adapters(&skipping.decoder) == adapters(&whole.decoder), "the step came out otherwise");
    assert!(adapters(&skipping.decoder) != adapters(&decoder()), "the step did nothing");
    assert_eq!(number(&metrics, "loss"), sums.loss);
    for (name, value) in sums.metrics.named(&params.policy_config()) {
        assert!(name == "entropy" || number(&metrics, name) == value, "{name}");
    }
}

/// A KL or an entropy bonus moves the policy without advantages, so nothing is left out then.
#[test]
fn nothing_is_left_out_where_it_matters() {
    let policy = policy();
    for with in [json!({"beta": 0.1}), json!({"entropy_coef": 0.1})] {
        let params = params(with);
        let parts = batch(&params, &policy, Some(&policy), &HALF).parts;
        assert!(parts.iter().all(|part| !part.is_idle(&params)));
    }
}

/// I22: what is trained are the ids that were sampled, after the prompt that they were sampled after, and not what their
/// text would be encoded as.
#[test]
fn i22_the_ids_that_were_sampled_are_trained() {
    let params = params(json!({}));
    let rollout = rollout(&params, &policy(), &SPREAD);
    let parts = Batch::new(&params, &rollout, Models { policy: &self::policy(), reference: None, pad: 0 }).parts;
    let trained = parts.iter().flat_map(|part| part.labels.ids.iter().copied());
    assert!(trained.eq(rollout.completions.iter().flat_map(|completion| completion.ids.iter().copied())));
    for (part, row) in parts.iter().zip((0..).step_by(params.per_device_train_batch_size)) {
        for (read, row) in part.labels.batch.ids.chunks(part.labels.batch.width).zip(row..) {
            let whole = [rollout.prompts[row / 2].as_slice(), &rollout.completions[row].ids].concat();
            assert!(read.starts_with(&whole) && read[whole.len()..].iter().all(|id| *id == 0));
        }
    }
}

/// I10 and I16: on the first update the trainer's log-probs are the sampler's, every ratio is 1, and the loss is that
/// of REINFORCE: minus the mean advantage.
#[test]
fn i10_the_sampler_and_the_trainer_agree() {
    let params = params(json!({"loss_type": "grpo"}));
    let mut policy = policy();
    let mut parts = batch(&params, &policy, None, &SPREAD);
    let mut optimizer = Optimizer::new(OptimConfig::default());
    let metrics = update(&params, &mut policy, &mut optimizer, &mut parts, Step { index: 0, rate: 1e-3 }).unwrap();
    assert!(number(&metrics, "sampling/sampling_logp_difference/max") < 1e-4);
    assert!((number(&metrics, "sampling/importance_sampling_ratio/mean") - 1.0).abs() < 1e-4);
    assert!(number(&metrics, "loss").abs() < 1e-12 && number(&metrics, "grad_norm") > 1e-3);
    assert_eq!(number(&metrics, "clip_ratio/region_mean"), 0.0);
}

/// I14: when all completions are truncated and masked, parameters stay as they are, to the bit.
#[test]
fn i14_a_batch_that_is_all_masked_leaves_the_parameters() {
    let params = params(json!({"mask_truncated_completions": true, "beta": 0.1, "entropy_coef": 0.1}));
    let mut policy = policy();
    let mut rollout = rollout(&params, &policy, &SPREAD);
    rollout.completions.iter_mut().for_each(|generated| generated.finished = false);
    let mut parts =
        Batch::new(&params, &rollout, Models { policy: &self::policy(), reference: Some(&self::policy()), pad: 0 });
    let mut optimizer = Optimizer::new(OptimConfig::default());
    let metrics = update(&params, &mut policy, &mut optimizer, &mut parts, Step { index: 0, rate: 1e-3 }).unwrap();
    assert_eq!((number(&metrics, "loss"), number(&metrics, "grad_norm")), (0.0, 0.0));
    assert!(adapters(&policy.decoder) == adapters(&decoder()));
}

/// A completion that ended exactly at the limit is not truncated.
#[test]
fn a_completion_that_ends_at_the_limit_trains() {
    let params = params(json!({"mask_truncated_completions": true}));
    let mut rollout = rollout(&params, &policy(), &SPREAD);
    rollout.completions[0].finished = true;
    rollout.completions[1].finished = false;
    assert_eq!(rollout.length(&params, 0), rollout.completions[0].ids.len());
    assert_eq!(rollout.length(&params, 1), 0);
}

/// Each micro-batch once as its own optimizer step: the second one's old log-probs are of the policy that generated,
/// not of the one that the first step left.
#[test]
fn old_log_probs_are_those_of_the_generation() {
    let params = params(json!({"gradient_accumulation_steps": 1, "steps_per_generation": 2, "num_iterations": 2}));
    let mut policy = policy();
    let mut parts = batch(&params, &policy, None, &SPREAD);
    assert!(parts.parts[0].old.is_none(), "the first update makes these anyway");
    let generated = parts.parts[1].old.clone().unwrap();
    let log_probs = |part: &MicroBatch| part.spread(&policy.decoder.score(&part.labels, 1.0).log_probs);
    let expected = log_probs(&parts.parts[1]);
    assert_eq!(generated, expected);
    let first = log_probs(&parts.parts[0]);
    let mut optimizer = Optimizer::new(OptimConfig::default());
    let mut spread = Vec::new();
    for index in 0..4 {
        let step = Step { index, rate: 1e-2 };
        let before = adapters(&policy.decoder);
        let metrics = update(&params, &mut policy, &mut optimizer, &mut parts, step).unwrap();
        assert!(adapters(&policy.decoder) != before);
        spread.push(number(&metrics, "loss").abs());
        assert_eq!(parts.parts[1].old.as_ref().unwrap(), &generated, "kept over all updates");
    }
    let kept = parts.parts[0].old.clone().unwrap();
    assert!(kept.iter().zip(first).all(|(a, b)| (a - b).abs() < 1e-5));
    assert!(spread[0] < 1e-6 && spread[1] > 1e-6, "off policy from the second step on: {spread:?}");
}

/// I17: several steps on parts of a generation normalise by their share of all its tokens, so that together they
/// weigh as one step with all of them. With a rate of 0 nothing else differs.
#[test]
fn i17_dapo_weighs_a_generation_the_same_in_one_step_or_two() {
    let losses = |with: Value, steps: usize| -> f64 {
        let params = params(with);
        let (mut policy, reference) = (policy(), policy().map(Decoder::without_adapters));
        let mut parts = batch(&params, &policy, Some(&reference), &SPREAD);
        let mut optimizer = Optimizer::new(OptimConfig::default());
        let loss = |index| {
            let step = Step { index, rate: 0.0 };
            number(&update(&params, &mut policy, &mut optimizer, &mut parts, step).unwrap(), "loss")
        };
        (0..steps).map(loss).sum::<f64>() / steps as f64
    };
    let whole = losses(json!({"beta": 0.5}), 1);
    let parts = losses(json!({"beta": 0.5, "gradient_accumulation_steps": 1, "steps_per_generation": 2}), 2);
    assert!(whole.abs() > 1e-4 && (whole - parts).abs() < 1e-6 * whole.abs().max(1.0), "{whole} and {parts}");
}

/// A generation is cut into windows in its order and gone through `num_iterations` times. With a rate of 0 every ratio
/// stays 1, so a window's loss is minus the advantages of its tokens over its share of all.
#[test]
fn windows_come_in_order_and_again_in_every_iteration() {
    let params = params(json!({"gradient_accumulation_steps": 1, "steps_per_generation": 2, "num_iterations": 2}));
    let mut policy = policy();
    let mut rollout = rollout(&params, &policy, &SPREAD);
    rollout.advantages = (1..=8).map(f64::from).collect();
    let mut parts = Batch::new(&params, &rollout, Models { policy: &self::policy(), reference: None, pad: 0 });
    let lengths: Vec<f64> = rollout.completions.iter().map(|completion| completion.ids.len() as f64).collect();
    let wanted = [0..4, 4..8].map(|rows| {
        let sum: f64 = rows.map(|row| rollout.advantages[row] * lengths[row]).sum();
        -sum / (lengths.iter().sum::<f64>() / 2.0)
    });
    let mut optimizer = Optimizer::new(OptimConfig::default());
    for index in 0..4 {
        let step = Step { index, rate: 0.0 };
        let found = number(&update(&params, &mut policy, &mut optimizer, &mut parts, step).unwrap(), "loss");
        assert!((found - wanted[index % 2]).abs() < 1e-4, "{found} at {index}, not one of {wanted:?} in turn");
    }
    assert!((wanted[0] - wanted[1]).abs() > 1.0);
}

/// I1, of a group that is larger than a micro-batch: its completions are cut apart, and nothing else changes.
#[test]
fn i1_a_group_may_be_cut_into_micro_batches() {
    let step = |size: usize| {
        let params = params(json!({"num_generations": 8, "per_device_train_batch_size": size,
            "gradient_accumulation_steps": 8 / size}));
        let mut policy = policy();
        let mut parts = batch(&params, &policy, None, &SPREAD);
        assert_eq!(parts.parts.len(), 8 / size);
        let mut optimizer = Optimizer::new(OptimConfig::default());
        let step = Step { index: 0, rate: 1e-3 };
        let metrics = update(&params, &mut policy, &mut optimizer, &mut parts, step).unwrap();
        ["loss", "grad_norm", "entropy"].map(|name| number(&metrics, name))
    };
    let whole = step(8);
    assert!(whole[1] > 1e-3 && whole[2] > 0.1, "{whole:?}");
    for size in [4, 2, 1] {
        let near =
            step(size).iter().zip(whole).all(|(found, whole)| (found - whole).abs() < 1e-4 * whole.abs().max(0.1));
        assert!(near, "{size}: {:?} and {whole:?}", step(size));
    }
}

/// Steps on nothing but the bonus make the policy less sure.
#[test]
fn an_entropy_bonus_raises_the_entropy() {
    let params = params(json!({"entropy_coef": 1.0}));
    let mut policy = policy();
    let mut parts = batch(&params, &policy, None, &[0.0; 8]);
    let mut optimizer = Optimizer::new(OptimConfig::default());
    let mut entropies = Vec::new();
    for index in 0..4 {
        let metrics = update(&params, &mut policy, &mut optimizer, &mut parts, Step { index, rate: 1e-3 }).unwrap();
        entropies.push(number(&metrics, "entropy"));
        assert!(number(&metrics, "policy_loss").abs() < 1e-9, "there is nothing but the bonus");
    }
    assert!(entropies.is_sorted() && entropies[3] > entropies[0], "{entropies:?}");
}

/// I6, of the reference: with the adapter off it is the base model, bit for bit; and a KL to it is seen at once.
#[test]
fn i6_the_reference_is_the_base_model_or_the_first_adapter() {
    let start = policy();
    assert!(reference::of(&params(json!({})), &start).is_none(), "no KL, no reference");
    let adapter = params(json!({"beta": 0.1}));
    let base = params(json!({"beta": 0.1, "reference": "base"}));
    let [on, off] = [&adapter, &base].map(|params| reference::of(params, &start).unwrap());
    assert!(adapters(&on.decoder) == adapters(&start.decoder) && adapters(&off.decoder).is_empty());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/adapters/dora-rslora/base");
    let untouched = Decoder::load(Path::new(folder), &Device::flex()).unwrap();
    let tokens = TokenBatch::right_padded(&[vec![1_u32, 2, 3, 4]], 0);
    let log_probs = |model: &Decoder| to_host(model.log_probs(&tokens, &[0, 1, 2], &[2, 3, 4], 1.0));
    assert_eq!(log_probs(&off.decoder), log_probs(&untouched));
    let kl = |params: &Params, reference: &Replicas| {
        let mut policy = policy();
        let mut parts = batch(params, &policy, Some(reference), &SPREAD);
        let mut optimizer = Optimizer::new(OptimConfig::default());
        let step = Step { index: 0, rate: 0.0 };
        number(&update(params, &mut policy, &mut optimizer, &mut parts, step).unwrap(), "kl")
    };
    assert!(kl(&adapter, &on) < 1e-9 && kl(&base, &off) > 1e-6);
}

/// Every second step the reference becomes the mixture that `ref_model_mixup_alpha` says.
#[test]
fn a_reference_follows_the_policy_where_it_should() {
    let (mut policy, mut own) = (policy(), policy());
    let start = adapters(&policy.decoder);
    policy.decoder.visit_adapters(&mut |_, mut slot| slot.set_flat(slot.flat().add_scalar(1.0)));
    let params = params(json!({"beta": 0.1, "sync_ref_model": true, "ref_model_sync_steps": 2}));
    reference::follow(&params, Some(&mut own), &policy, 1);
    assert!(adapters(&own.decoder) == start);
    reference::follow(&params, Some(&mut own), &policy, 2);
    for (found, start) in adapters(&own.decoder).concat().iter().zip(start.concat()) {
        assert!((found - (start + 0.6)).abs() < 1e-5, "{found} from {start}");
    }
    let whole = Params { ref_model_mixup_alpha: 1.0, ..params };
    reference::follow(&whole, Some(&mut own), &policy, 4);
    assert!(adapters(&own.decoder) == adapters(&policy.decoder));
}

/// All numbers of the model that trains.
fn trained(policy: &Replicas) -> Vec<f32> {
    let mut all = Vec::new();
    policy.decoder.clone().visit_trainable(policy.trainable, &mut |_, slot| all.extend(to_host(slot.flat())));
    all
}

/// The fixture's model without its adapter, trained as a whole.
fn whole() -> Replicas {
    Replicas::new(decoder().without_adapters(), Trainable::Base, &[])
}

/// Steps of a whole model go where those of an adapter go: towards completions with an advantage, away from the others;
/// and the reference stays.
#[test]
fn a_whole_model_learns_from_advantages() {
    let params = params(json!({"beta": 0.01, "num_iterations": 4}));
    let mut policy = whole();
    let reference = reference::of(&params, &policy).unwrap();
    let rollout = rollout(&params, &policy, &SPREAD);
    let models = Models { policy: &policy, reference: Some(&reference), pad: 0 };
    let mut parts = Batch::new(&params, &rollout, models);
    let gain = |policy: &Replicas| -> f64 {
        let of = |part: &MicroBatch| {
            let log_probs = part.spread(&policy.decoder.score(&part.labels, 1.0).log_probs);
            let rows = log_probs.chunks(part.width).zip(&part.advantages);
            rows.map(|(row, advantage)| advantage * row.iter().sum::<f64>()).sum::<f64>()
        };
        Batch::new(&params, &rollout, Models { policy, reference: None, pad: 0 }).parts.iter().map(of).sum()
    };
    let (before, start) = (gain(&policy), trained(&reference));
    let mut optimizer = Optimizer::new(OptimConfig::default());
    for index in 0..4 {
        let metrics = update(&params, &mut policy, &mut optimizer, &mut parts, Step { index, rate: 1e-3 }).unwrap();
        assert!((number(&metrics, "kl") > 0.0) == (index > 0));
    }
    assert!(gain(&policy) > before + 0.01, "{before} became {}", gain(&policy));
    let moved = trained(&policy).iter().zip(&start).filter(|(now, before)| now != before).count();
    assert!(moved > start.len() / 2, "{moved} of {}", start.len());
    assert!(trained(&reference) == start);
}

/// With copies on other devices, among which micro-batches are dealt, a stage learns what one device learns; and copies of
/// policy and reference follow.
#[test]
fn several_devices_learn_what_one_learns() {
    let params = params(json!({"beta": 0.1, "num_iterations": 2, "sync_ref_model": true, "ref_model_sync_steps": 1}));
    let learnt = |start: Replicas, devices: &[Device]| {
        let mut policy = Replicas::new(start.decoder, start.trainable, devices);
        let mut reference = reference::of(&params, &policy).unwrap();
        assert_eq!((policy.devices(), reference.devices()), (1 + devices.len(), 1 + devices.len()));
        let mut optimizer = Optimizer::new(OptimConfig::default());
        let mut seen = Vec::new();
        for generation in 0..3 {
            let rollout = rollout(&params, &policy, &SPREAD);
            let models = Models { policy: &policy, reference: Some(&reference), pad: 0 };
            let mut parts = Batch::new(&params, &rollout, models);
            for index in 0..2 {
                let step = Step { index, rate: 1e-3 };
                let metrics = update(&params, &mut policy, &mut optimizer, &mut parts, step).unwrap();
                reference::follow(&params, Some(&mut reference), &policy, 2 * generation + index as u64 + 1);
                seen.push(["loss", "grad_norm", "kl"].map(|name| number(&metrics, name)));
            }
        }
        (seen, trained(&policy))
    };
    for start in [policy, whole] {
        let (alone, shared) = (learnt(start(), &[]), learnt(start(), &[Device::flex()]));
        for (one, other) in alone.0.iter().flatten().zip(shared.0.iter().flatten()) {
            assert!((one - other).abs() < 1e-5 * one.abs().max(1.0), "{one} and {other}");
        }
        let apart = alone.1.iter().zip(&shared.1).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "parameters are {apart} apart");
        assert!(alone.1 != trained(&start()));
    }
}
