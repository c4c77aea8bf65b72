//! Parameters of `grpo`, spelled as TRL's `GRPOConfig` spells them; as verl does where TRL has no name
//! (`clip_ratio_c`, `kl_loss_type`, `filter_groups`).

mod preset;
mod problems;
#[cfg(test)]
mod tests;

use gazal_stage_api::JsonSchema;
use gazal_train::{
    AdvantageConfig, ImportanceSampling, KlEstimator, LossType, MultiObjectiveAggregation, OptimArgs, OptimKind,
    PolicyConfig, ScaleRewards, SchedulerArgs, SchedulerType,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rewards::{self, RewardParams};
use super::rollback::Rollback;
use super::sentinels::Sentinels;
use crate::defaults;
use crate::optimization::{Optimization, optimization};
use crate::peft::{self, Peft, TargetModules, peft};
pub use preset::Preset;

/// What a preset may decide is optional in a file and there once it is read; see [`Preset`].
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// A published recipe; every other parameter overrides what it says.
    #[serde(default, skip_serializing)]
    #[schemars(with = "Preset")]
    pub preset: Option<Preset>,
    /// Whether an adapter trains: the one that is given, or a new one. Else the whole model does.
    #[serde(default = "defaults::yes")]
    pub use_peft: bool,
    #[serde(default = "peft::rank")]
    pub lora_r: usize,
    #[serde(default = "peft::alpha")]
    pub lora_alpha: f64,
    #[serde(default)]
    pub use_rslora: bool,
    #[serde(default)]
    pub use_dora: bool,
    /// Names of projections; or `all-linear`, or a regular expression for whole names.
    #[serde(default)]
    pub lora_target_modules: TargetModules,
    /// Completions of each prompt; the group that advantages are relative to.
    #[serde(default = "defaults::batch")]
    pub num_generations: usize,
    /// Completions of a micro-batch.
    #[serde(default = "defaults::batch")]
    pub per_device_train_batch_size: usize,
    /// Micro-batches of an optimizer step.
    #[serde(default = "defaults::single")]
    pub gradient_accumulation_steps: usize,
    /// Micro-batches whose completions are generated together; `gradient_accumulation_steps` if absent, or a multiple
    /// of it, for several optimizer steps on parts of a generation.
    #[serde(default)]
    pub steps_per_generation: Option<usize>,
    /// Completions that are generated together; another way to say `steps_per_generation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_batch_size: Option<usize>,
    pub max_steps: u64,
    /// How often each generation is gone through (μ of the paper).
    #[serde(default = "defaults::once")]
    pub num_iterations: u64,
    /// Keeps only what goes into each layer until the backward pass, and computes the rest a second time: slower, and the
    /// memory of one layer.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    pub max_completion_length: usize,
    #[serde(default = "defaults::one")]
    pub temperature: f64,
    pub learning_rate: f64,
    #[serde(default)]
    pub optim: OptimKind,
    /// What only some optimizers have, such as Muon's `momentum`.
    #[serde(default)]
    pub optim_args: OptimArgs,
    #[serde(default = "defaults::adam_beta1")]
    pub adam_beta1: f64,
    #[serde(default = "defaults::adam_beta2")]
    pub adam_beta2: f64,
    #[serde(default = "defaults::adam_epsilon")]
    pub adam_epsilon: f64,
    /// LoRA+: the rate of B matrices and magnitudes over that of A matrices; one rate for all if absent.
    #[serde(default)]
    pub loraplus_lr_ratio: Option<f64>,
    #[serde(default)]
    pub lr_scheduler_type: SchedulerType,
    /// What only some schedules have, such as `num_decay_steps`.
    #[serde(default)]
    pub lr_scheduler_kwargs: SchedulerArgs,
    /// Steps of warm-up as a share of all; excludes `warmup_steps`.
    #[serde(default)]
    pub warmup_ratio: f64,
    #[serde(default)]
    pub warmup_steps: u64,
    #[serde(default)]
    pub weight_decay: f64,
    #[serde(default = "defaults::one")]
    pub max_grad_norm: f64,
    /// Weight of the KL to the reference; 0, which it is if absent, needs none.
    #[serde(default)]
    #[schemars(with = "f64", extend("default" = 0.0))]
    pub beta: Option<f64>,
    /// What the KL is to.
    #[serde(default)]
    pub reference: Reference,
    #[serde(default)]
    pub kl_loss_type: KlEstimator,
    /// The KL of a token times its importance ratio.
    #[serde(default)]
    pub use_bias_correction_kl: bool,
    /// The reference follows the policy: `ref_model_mixup_alpha` of it every `ref_model_sync_steps` steps.
    #[serde(default)]
    pub sync_ref_model: bool,
    #[serde(default = "defaults::ref_model_mixup_alpha")]
    pub ref_model_mixup_alpha: f64,
    #[serde(default = "defaults::ref_model_sync_steps")]
    pub ref_model_sync_steps: u64,
    /// The ratio is clipped to `[1 − epsilon, 1 + epsilon_high]`; 0.2 if absent.
    #[serde(default)]
    #[schemars(with = "f64", extend("default" = 0.2))]
    pub epsilon: Option<f64>,
    /// `epsilon` if absent. For `cispo` the bound of the ratio itself.
    #[serde(default)]
    pub epsilon_high: Option<f64>,
    /// The largest ratio of a negative advantage (two-sided clipping).
    #[serde(default)]
    pub delta: Option<f64>,
    /// verl's dual clip: the loss of a negative advantage is at most this many times the advantage.
    #[serde(default)]
    pub clip_ratio_c: Option<f64>,
    /// `dapo` if absent.
    #[serde(default)]
    #[schemars(with = "LossType", extend("default" = "dapo"))]
    pub loss_type: Option<LossType>,
    /// `token` if absent.
    #[serde(default)]
    #[schemars(with = "ImportanceSampling", extend("default" = "token"))]
    pub importance_sampling_level: Option<ImportanceSampling>,
    /// Weight of the mean entropy, which is taken off the loss.
    #[serde(default)]
    pub entropy_coef: f64,
    /// Share of the tokens, those of the highest entropy, that learn.
    #[serde(default = "defaults::one")]
    pub top_entropy_quantile: f64,
    /// `group` if absent.
    #[serde(default)]
    #[schemars(with = "ScaleRewards", extend("default" = "group"))]
    pub scale_rewards: Option<ScaleRewards>,
    #[serde(default)]
    pub multi_objective_aggregation: MultiObjectiveAggregation,
    #[serde(default = "rewards::gazal")]
    pub reward_funcs: Vec<RewardParams>,
    /// 1 for each reward if empty.
    #[serde(default)]
    pub reward_weights: Vec<f64>,
    /// Completions that did not end do not train; they do if absent.
    #[serde(default)]
    #[schemars(with = "bool", extend("default" = false))]
    pub mask_truncated_completions: Option<bool>,
    /// Dynamic sampling (DAPO): prompts whose completions are all as good are replaced by others.
    #[serde(default)]
    #[schemars(with = "FilterGroups")]
    pub filter_groups: Option<FilterGroups>,
    /// What to watch, and what to do when it goes wrong; all of them warn if nothing is said.
    #[serde(default)]
    pub sentinels: Sentinels,
    /// How sentinels roll back.
    #[serde(default)]
    pub rollback: Rollback,
    /// Whether the completions of every generation are kept in the history, with rewards and advantages.
    #[serde(default)]
    pub log_completions: bool,
    #[serde(default = "defaults::once")]
    pub logging_steps: u64,
    #[serde(default = "defaults::save_steps")]
    pub save_steps: u64,
    #[serde(default = "defaults::save_total_limit")]
    pub save_total_limit: usize,
}

/// What the KL is to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Reference {
    /// The policy as it starts, with the adapter that is given.
    #[default]
    Adapter,
    /// The base model, its adapter off.
    Base,
}

/// verl's `filter_groups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct FilterGroups {
    #[serde(default = "defaults::yes")]
    pub enable: bool,
    /// What the completions of a prompt must differ in: `reward`, which is the weighted sum, or one of `reward_funcs`
    /// by its name.
    #[serde(default = "defaults::filter_metric")]
    pub metric: String,
    /// Batches of prompts that are drawn at most for a generation. If they do not bring enough, prompts without
    /// differences fill it up.
    #[serde(default = "defaults::max_num_gen_batches")]
    pub max_num_gen_batches: u64,
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Params, D::Error> {
        Params::deserialize(deserializer).map(Params::filled)
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Params::serialize(self, serializer)
    }
}

impl Params {
    /// Micro-batches of a generation.
    pub fn steps_per_generation(&self) -> usize {
        self.steps_per_generation.unwrap_or(self.gradient_accumulation_steps)
    }

    pub fn prompts_per_generation(&self) -> usize {
        self.per_device_train_batch_size * self.steps_per_generation() / self.num_generations
    }

    /// Optimizer steps that go once through a generation.
    pub fn windows(&self) -> usize {
        (self.steps_per_generation() / self.gradient_accumulation_steps.max(1)).max(1)
    }

    /// Optimizer steps on a generation.
    pub fn updates_per_generation(&self) -> u64 {
        self.windows() as u64 * self.num_iterations
    }

    pub fn optimization(&self) -> Optimization {
        optimization!(self, loraplus_lr_ratio: self.loraplus_lr_ratio)
    }

    pub fn peft(&self) -> Peft<'_> {
        peft!(self)
    }

    pub fn policy_config(&self) -> PolicyConfig {
        let standard = PolicyConfig::default();
        let epsilon = self.epsilon.unwrap_or(standard.epsilon);
        PolicyConfig {
            loss_type: self.loss_type.unwrap_or_default(),
            importance_sampling_level: self.importance_sampling_level.unwrap_or_default(),
            epsilon,
            epsilon_high: self.epsilon_high.unwrap_or(epsilon),
            delta: self.delta,
            clip_ratio_c: self.clip_ratio_c,
            beta: self.beta.unwrap_or(standard.beta),
            kl_estimator: self.kl_loss_type,
            use_bias_correction_kl: self.use_bias_correction_kl,
            entropy_coef: self.entropy_coef,
            top_entropy_quantile: self.top_entropy_quantile,
            max_completion_length: self.max_completion_length,
        }
    }

    pub fn advantage_config(&self) -> AdvantageConfig {
        AdvantageConfig {
            group_size: self.num_generations,
            scale_rewards: self.scale_rewards.unwrap_or_default(),
            multi_objective_aggregation: self.multi_objective_aggregation,
        }
    }

    pub fn masks_truncated_completions(&self) -> bool {
        self.mask_truncated_completions.unwrap_or_default()
    }

    /// The filter, where it is on.
    pub fn filter(&self) -> Option<&FilterGroups> {
        self.filter_groups.as_ref().filter(|filter| filter.enable)
    }
}
