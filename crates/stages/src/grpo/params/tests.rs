//! Presets, and what is refused.
#![allow(clippy::unwrap_used)]

use gazal_stage_api::{canonical, parse};
use serde_json::{Map, Value, json};

use super::*;

/// The smallest table, with these parameters.
fn table(with: Value) -> Map<String, Value> {
    let mut table = json!({"max_steps": 8, "max_completion_length": 16, "learning_rate": 1e-4});
    let Value::Object(with) = with else { panic!("parameters are a table") };
    table.as_object_mut().unwrap().extend(with);
    table.as_object().unwrap().clone()
}

fn read(with: Value) -> Params {
    parse::<Params>(&table(with)).unwrap()
}

fn key(with: Value) -> Map<String, Value> {
    canonical::<Params>(&table(with)).unwrap()
}

fn fields(with: Value) -> Vec<String> {
    read(with).problems().into_iter().map(|problem| problem.field).collect()
}

#[test]
fn a_preset_is_the_values_of_its_paper() {
    let grpo = read(json!({"preset": "grpo"})).policy_config();
    assert_eq!((grpo.loss_type, grpo.beta, grpo.epsilon, grpo.epsilon_high), (LossType::Grpo, 0.04, 0.2, 0.2));
    let dr_grpo = read(json!({"preset": "dr_grpo"}));
    assert_eq!(dr_grpo.policy_config().loss_type, LossType::DrGrpo);
    assert_eq!(dr_grpo.advantage_config().scale_rewards, ScaleRewards::None);
    let dapo = read(json!({"preset": "dapo"}));
    assert_eq!((dapo.policy_config().epsilon, dapo.policy_config().epsilon_high), (0.2, 0.28));
    assert!(dapo.masks_truncated_completions() && dapo.policy_config().beta == 0.0);
    assert_eq!(dapo.filter().unwrap().metric, "accuracy_reward");
    let gspo = read(json!({"preset": "gspo", "gradient_accumulation_steps": 2}));
    assert_eq!(gspo.policy_config().importance_sampling_level, ImportanceSampling::Sequence);
    assert_eq!((gspo.policy_config().epsilon, gspo.policy_config().epsilon_high), (3e-4, 4e-4));
    assert_eq!((gspo.steps_per_generation(), gspo.updates_per_generation()), (8, 4));
    assert!(gspo.problems().is_empty() && gspo.warnings().is_empty());
}

#[test]
fn what_is_given_overrides_a_preset() {
    let dapo = read(json!({"preset": "dapo", "filter_groups": {"enable": false}, "beta": 0.1, "loss_type": "bnpo"}));
    assert!(dapo.filter().is_none());
    assert_eq!((dapo.policy_config().beta, dapo.policy_config().loss_type), (0.1, LossType::Bnpo));
    let narrow = read(json!({"preset": "dapo", "epsilon": 0.1})).policy_config();
    assert_eq!((narrow.epsilon, narrow.epsilon_high), (0.1, 0.1));
    let back = read(json!({"preset": "dapo", "epsilon_high": 0.2, "mask_truncated_completions": false}));
    assert_eq!(back.policy_config().epsilon_high, 0.2);
    assert!(!back.masks_truncated_completions());
}

/// The key holds the values that are used: a preset, or the same written out.
#[test]
fn i20_a_preset_is_keyed_by_its_values() {
    let written = json!({"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4,
        "epsilon_high": 4e-4, "steps_per_generation": 4});
    assert_eq!(key(json!({"preset": "gspo"})), key(written));
    assert_ne!(key(json!({"preset": "gspo"})), key(json!({})));
    assert_eq!(key(json!({"preset": "grpo", "loss_type": "dapo", "beta": 0.0})), key(json!({})));
    assert!(!key(json!({"preset": "dapo"})).contains_key("preset"));
    let same = [json!({"generation_batch_size": 16}), json!({"steps_per_generation": 2})].map(key);
    assert_eq!(same[0], same[1]);
    assert_ne!(same[0], key(json!({})));
    let defaults = json!({"loss_type": "dapo", "beta": 0.0, "epsilon": 0.2, "filter_groups": {"enable": false},
        "steps_per_generation": 1, "scale_rewards": "group", "mask_truncated_completions": false});
    assert_eq!(key(defaults), key(json!({})));
}

/// Arguments that only some optimizers and schedules have are in the key too.
#[test]
fn i20_arguments_of_optimizers_and_schedules_are_keyed() {
    let muon = json!({"optim": "muon"});
    assert_ne!(key(json!({"optim": "muon", "optim_args": {"momentum": 0.9}})), key(muon.clone()));
    assert_eq!(key(json!({"optim": "muon", "optim_args": {}})), key(muon));
    let decay =
        |steps| json!({"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": steps}});
    assert_ne!(key(decay(3)), key(decay(4)));
    assert_ne!(key(json!({"beta": 0.1, "sync_ref_model": true})), key(json!({"beta": 0.1})));
}

/// The checks of TRL's configuration, and some more.
#[test]
fn what_cannot_work_is_refused_by_field() {
    assert!(fields(json!({})).is_empty());
    for (wrong, field) in [
        (json!({"num_generations": 1}), "num_generations"),
        (json!({"num_generations": 3}), "per_device_train_batch_size"),
        (json!({"generation_batch_size": 16, "steps_per_generation": 2}), "generation_batch_size"),
        (json!({"generation_batch_size": 12}), "generation_batch_size"),
        (json!({"gradient_accumulation_steps": 2, "steps_per_generation": 3}), "steps_per_generation"),
        (json!({"steps_per_generation": 0}), "steps_per_generation"),
        (json!({"num_iterations": 3}), "max_steps"),
        (json!({"delta": 0.9}), "delta"),
        (json!({"clip_ratio_c": 1.0}), "clip_ratio_c"),
        (json!({"loss_type": "cispo"}), "epsilon_high"),
        (json!({"loss_type": "cispo", "epsilon_high": 5.0, "delta": 2.0}), "delta"),
        (json!({"entropy_coef": -0.1}), "entropy_coef"),
        (json!({"top_entropy_quantile": 0.0}), "top_entropy_quantile"),
        (json!({"beta": -1.0}), "beta"),
        (json!({"sync_ref_model": true}), "sync_ref_model"),
        (json!({"sync_ref_model": true, "beta": 0.1, "reference": "base"}), "sync_ref_model"),
        (json!({"ref_model_mixup_alpha": 1.5}), "ref_model_mixup_alpha"),
        (json!({"ref_model_sync_steps": 0}), "ref_model_sync_steps"),
        (json!({"filter_groups": {"metric": "beauty"}}), "filter_groups.metric"),
        (json!({"filter_groups": {"max_num_gen_batches": 0}}), "filter_groups.max_num_gen_batches"),
        (json!({"preset": "dapo", "reward_funcs": ["format"]}), "filter_groups.metric"),
        (json!({"lr_scheduler_type": "reduce_lr_on_plateau"}), "lr_scheduler_type"),
        (json!({"reward_funcs": []}), "reward_funcs"),
        (
            json!({"reward_funcs": [{"name": "exec", "command": ["a"], "label": "step"}], "log_completions": true}),
            "reward_funcs[0].label",
        ),
    ] {
        assert_eq!(fields(wrong.clone()), [field], "{wrong}");
    }
    assert_eq!(parse::<Params>(&table(json!({"loss_type": "ppo"}))).err().unwrap().field, "loss_type");
    assert!(parse::<Params>(&table(json!({"lost_type": "grpo"}))).err().unwrap().message.contains("loss_type"));
}

/// What has to fit are the completions of a generation, whatever a micro-batch holds.
#[test]
fn a_group_may_be_larger_than_a_micro_batch() {
    let params =
        read(json!({"num_generations": 6, "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2}));
    assert_eq!((params.problems(), params.prompts_per_generation()), (Vec::new(), 1));
    let wrong = json!({"num_generations": 6, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2});
    assert_eq!(fields(wrong), ["per_device_train_batch_size"]);
}

/// TRL's warning of a ratio of completions with a loss that sums tokens.
#[test]
fn a_ratio_of_completions_with_a_loss_of_tokens_is_warned_of() {
    let sequence = json!({"importance_sampling_level": "sequence", "num_iterations": 2});
    assert!(read(sequence).warnings()[0].contains("weighs completions"));
    let once = json!({"importance_sampling_level": "sequence", "loss_type": "grpo"});
    assert!(read(once).warnings()[0].contains("no effect"));
    assert!(read(json!({})).warnings().is_empty());
}
