//! Parameters of `grpo`, spelled as TRL's `GRPOConfig` spells them.

use gazal_stage_api::{JsonSchema, Problem};
use gazal_train::{
    ImportanceSampling, LossType, OptimConfig, OptimKind, PolicyConfig, ScaleRewards, Schedule, SchedulerType,
};
use serde::{Deserialize, Serialize};

use super::rewards::{self, RewardParams};
use super::rollback::Rollback;
use super::sentinels::Sentinels;
use crate::defaults;
use crate::supervised::check_positive;

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// Completions of each prompt; the group that advantages are relative to.
    #[serde(default = "defaults::batch")]
    pub num_generations: usize,
    /// Completions of a micro-batch.
    #[serde(default = "defaults::batch")]
    pub per_device_train_batch_size: usize,
    /// Micro-batches of an optimizer step; the step's completions are generated together.
    #[serde(default = "defaults::single")]
    pub gradient_accumulation_steps: usize,
    pub max_steps: u64,
    /// Optimizer steps on each generation (μ of the paper).
    #[serde(default = "once")]
    pub num_iterations: u64,
    pub max_completion_length: usize,
    #[serde(default = "defaults::one")]
    pub temperature: f64,
    pub learning_rate: f64,
    #[serde(default)]
    #[schemars(with = "String")]
    pub optim: OptimKind,
    #[serde(default)]
    #[schemars(with = "String")]
    pub lr_scheduler_type: SchedulerType,
    #[serde(default)]
    pub warmup_ratio: f64,
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default = "defaults::one")]
    pub max_grad_norm: f64,
    /// Weight of the KL to the stage-1 adapter; 0 needs no reference.
    #[serde(default)]
    pub beta: f64,
    #[serde(default = "epsilon")]
    pub epsilon: f64,
    /// `epsilon` if absent.
    #[serde(default)]
    pub epsilon_high: Option<f64>,
    #[serde(default)]
    #[schemars(with = "String")]
    pub loss_type: LossType,
    #[serde(default)]
    #[schemars(with = "String")]
    pub importance_sampling_level: ImportanceSampling,
    #[serde(default)]
    #[schemars(with = "String")]
    pub scale_rewards: ScaleRewards,
    #[serde(default = "rewards::gazal")]
    pub reward_funcs: Vec<RewardParams>,
    /// 1 for each reward if empty.
    #[serde(default)]
    pub reward_weights: Vec<f64>,
    /// Completions that did not end do not train.
    #[serde(default)]
    pub mask_truncated_completions: bool,
    /// What to watch, and what to do when it goes wrong; all of them warn if nothing is said.
    #[serde(default)]
    pub sentinels: Sentinels,
    /// How sentinels roll back.
    #[serde(default)]
    pub rollback: Rollback,
    #[serde(default = "once")]
    pub logging_steps: u64,
    #[serde(default = "defaults::save_steps")]
    pub save_steps: u64,
    #[serde(default = "defaults::save_total_limit")]
    pub save_total_limit: usize,
}

fn once() -> u64 {
    1
}

fn epsilon() -> f64 {
    0.2
}

impl Params {
    pub fn completions_per_step(&self) -> usize {
        self.per_device_train_batch_size * self.gradient_accumulation_steps
    }

    pub fn prompts_per_step(&self) -> usize {
        self.completions_per_step() / self.num_generations
    }

    pub fn optim_config(&self) -> OptimConfig {
        OptimConfig { kind: self.optim, weight_decay: self.weight_decay, ..OptimConfig::default() }
    }

    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.lr_scheduler_type, self.learning_rate, self.warmup_ratio, self.max_steps)
    }

    pub fn policy_config(&self) -> PolicyConfig {
        PolicyConfig {
            loss_type: self.loss_type,
            importance_sampling_level: self.importance_sampling_level,
            epsilon: self.epsilon,
            epsilon_high: self.epsilon_high.unwrap_or(self.epsilon),
            beta: self.beta,
            max_completion_length: self.max_completion_length,
        }
    }

    /// The weight of the reward at an index.
    pub fn reward_weight(&self, index: usize) -> f64 {
        self.reward_weights.get(index).copied().unwrap_or(1.0)
    }

    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = check_positive(&[
            ("learning_rate", self.learning_rate),
            ("temperature", self.temperature),
            ("epsilon", self.epsilon),
            ("max_steps", self.max_steps as f64),
            ("num_iterations", self.num_iterations as f64),
            ("max_completion_length", self.max_completion_length as f64),
            ("per_device_train_batch_size", self.per_device_train_batch_size as f64),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps as f64),
            ("logging_steps", self.logging_steps as f64),
        ]);
        if self.num_generations < 2 {
            let problem = Problem::new("num_generations", format!("is {}, must be at least 2", self.num_generations));
            problems.push(problem.with_help("an advantage is relative to the other completions of a prompt"));
        } else if !self.completions_per_step().is_multiple_of(self.num_generations) {
            let message = format!(
                "{} × {} completions a step are not a multiple of `num_generations` {}",
                self.per_device_train_batch_size, self.gradient_accumulation_steps, self.num_generations
            );
            problems.push(Problem::new("per_device_train_batch_size", message));
        }
        if self.beta < 0.0 {
            problems.push(Problem::new("beta", "must not be negative"));
        }
        problems.extend(rewards::problems(&self.reward_funcs, self.max_completion_length));
        problems.extend(self.sentinels.problems());
        problems.extend(self.rollback.problems());
        if self.reward_funcs.is_empty() {
            problems.push(Problem::new("reward_funcs", "must name at least one reward"));
        }
        if !self.reward_weights.is_empty() && self.reward_weights.len() != self.reward_funcs.len() {
            problems.push(Problem::new("reward_weights", "must have one weight for each of `reward_funcs`"));
        }
        if self.num_iterations > 0 && !self.max_steps.is_multiple_of(self.num_iterations) {
            problems.push(Problem::new("max_steps", "must be a multiple of `num_iterations`"));
        }
        problems
    }
}
