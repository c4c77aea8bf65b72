//! Defaults, traits and checks that several stages share; names and values as TRL has them.

use gazal_stage_api::{Problem, Traits};
use gazal_tasks::rewards::{CosineScaled, RepetitionPenalty};
use gazal_tasks::{Reward, RewardFunc};

/// A stage that trains: seeded, on a backend; the cadence of logs and checkpoints cannot change its result.
pub const LEARNING: Traits = Traits {
    computes: true,
    unkeyed: &["logging_steps", "save_steps", "save_total_limit"],
    numerics: gazal_lm::device::NUMERICS,
    ..Traits::SEEDED
};

pub fn max_position_embeddings() -> usize {
    1024
}

pub fn yes() -> bool {
    true
}

pub fn one() -> f64 {
    1.0
}

pub fn adam_beta1() -> f64 {
    0.9
}

pub fn adam_beta2() -> f64 {
    0.999
}

pub fn adam_epsilon() -> f64 {
    1e-8
}

pub fn single() -> usize {
    1
}

pub fn once() -> u64 {
    1
}

pub fn ref_model_mixup_alpha() -> f64 {
    0.6
}

pub fn ref_model_sync_steps() -> u64 {
    512
}

pub fn filter_metric() -> String {
    "reward".into()
}

pub fn max_num_gen_batches() -> u64 {
    10
}

pub fn batch() -> usize {
    8
}

/// In seconds.
pub fn minute() -> f64 {
    60.0
}

pub fn retries() -> u32 {
    4
}

pub fn logging_steps() -> u64 {
    10
}

pub fn save_steps() -> u64 {
    50
}

pub fn save_total_limit() -> usize {
    2
}

const PROJECTIONS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Those of layers with linear attention, which some models have beside the ones with attention.
const LINEAR_ATTENTION: [&str; 5] = ["in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj"];

pub fn all_projections() -> Vec<String> {
    PROJECTIONS.map(String::from).to_vec()
}

/// One problem for each name that is no projection.
pub fn unknown_projections(field: &str, names: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if names.is_empty() {
        problems.push(Problem::new(field, "must name at least one projection"));
    }
    let known = [PROJECTIONS.as_slice(), &LINEAR_ATTENTION, &["all-linear"]].concat();
    for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
        let problem = Problem::new(field, format!("`{name}` is no projection"));
        problems.push(problem.with_help(format!("use some of {}", known.join(", "))));
    }
    problems
}

/// Gazal-R1's four: accuracy, format, length, repetition.
pub fn reward_funcs() -> Vec<Reward> {
    let functions = [
        RewardFunc::Accuracy,
        RewardFunc::ThinkFormat,
        RewardFunc::CosineScaled(CosineScaled::DEFAULT),
        RewardFunc::RepetitionPenalty(RepetitionPenalty::DEFAULT),
    ];
    functions.map(Reward::from).to_vec()
}

/// A problem if the field is no share.
pub fn check_share(field: &str, value: f64) -> Option<Problem> {
    (!(0.0..=1.0).contains(&value)).then(|| Problem::new(field, "must be between 0 and 1"))
}

/// A problem for each of these fields that is not above 0.
pub fn check_positive(fields: &[(&str, f64)]) -> Vec<Problem> {
    let wrong = fields.iter().filter(|(_, value)| !(value.is_finite() && *value > 0.0));
    wrong.map(|(field, value)| Problem::new(field, format!("is {value}, must be above 0"))).collect()
}
