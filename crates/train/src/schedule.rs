//! Learning-rate schedules as transformers defines them, under its names.
//!
//! All but one are functions of the step. `reduce_lr_on_plateau` is one of the evaluation losses: its state is a
//! [`Plateau`], which a stage feeds and keeps in its checkpoints.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `lr_scheduler_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// The rate itself, without warm-up.
    Constant,
    ConstantWithWarmup,
    /// Down to 0.
    Linear,
    /// Down to 0 along half a cosine.
    #[default]
    Cosine,
    /// Down to `min_lr` or `min_lr_rate` times the rate.
    CosineWithMinLr,
    /// WSD (arXiv:2404.06395): warm-up, a stable phase, and a decay over the last `num_decay_steps`.
    WarmupStableDecay,
    /// Times `factor` when the evaluation loss has not fallen for `patience` evaluations.
    ReduceLrOnPlateau,
}

/// The shape of WSD's decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DecayType {
    #[serde(rename = "linear")]
    Linear,
    #[default]
    #[serde(rename = "cosine")]
    Cosine,
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

/// `lr_scheduler_kwargs`: what only some schedules have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulerArgs {
    /// Of `cosine_with_min_lr`: the last rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    /// Of `cosine_with_min_lr`: the last rate over `learning_rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_lr_rate: Option<f64>,
    /// Of `warmup_stable_decay`, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_decay_steps: Option<u64>,
    /// Of `warmup_stable_decay`; `cosine` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay_type: Option<DecayType>,
    /// Of `warmup_stable_decay`: first and last rate over `learning_rate`; 0 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_lr_ratio: Option<f64>,
    /// Of `reduce_lr_on_plateau`; 0.1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Of `reduce_lr_on_plateau`: evaluations without a lower loss that are borne; 10 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Of `reduce_lr_on_plateau`: how much lower, as a share of the best loss, counts as lower; 1e-4 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

impl SchedulerArgs {
    /// Those that are given and that the schedule does not have.
    pub fn unused(&self, kind: SchedulerType) -> Vec<&'static str> {
        use SchedulerType::{CosineWithMinLr, ReduceLrOnPlateau, WarmupStableDecay};
        let all = [
            ("min_lr", self.min_lr.is_some(), CosineWithMinLr),
            ("min_lr_rate", self.min_lr_rate.is_some(), CosineWithMinLr),
            ("num_decay_steps", self.num_decay_steps.is_some(), WarmupStableDecay),
            ("decay_type", self.decay_type.is_some(), WarmupStableDecay),
            ("min_lr_ratio", self.min_lr_ratio.is_some(), WarmupStableDecay),
            ("factor", self.factor.is_some(), ReduceLrOnPlateau),
            ("patience", self.patience.is_some(), ReduceLrOnPlateau),
            ("threshold", self.threshold.is_some(), ReduceLrOnPlateau),
        ];
        all.into_iter().filter(|(_, given, of)| *given && *of != kind).map(|(name, ..)| name).collect()
    }
}

/// The rate of every step of a run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub kind: SchedulerType,
    pub learning_rate: f64,
    pub warmup_steps: u64,
    pub total_steps: u64,
    pub args: SchedulerArgs,
}

impl Schedule {
    /// `warmup_ratio` of a number of steps, rounded up.
    pub fn warmup_of(warmup_ratio: f64, total_steps: u64) -> u64 {
        (warmup_ratio * total_steps as f64).ceil() as u64
    }

    /// The rate of the step with this number, counted from 0; of `reduce_lr_on_plateau` the first one, which a
    /// [`Plateau`] then lowers.
    pub fn rate(&self, step: u64) -> f64 {
        let warms_up = !matches!(self.kind, SchedulerType::Constant | SchedulerType::ReduceLrOnPlateau);
        if warms_up && step < self.warmup_steps {
            let least = self.args.min_lr_ratio.unwrap_or(0.0);
            let rising = self.learning_rate * step as f64 / self.warmup_steps.max(1) as f64;
            return rising * (1.0 - least) + self.learning_rate * least;
        }
        self.learning_rate
            * match self.kind {
                SchedulerType::Constant | SchedulerType::ConstantWithWarmup | SchedulerType::ReduceLrOnPlateau => 1.0,
                SchedulerType::Linear => 1.0 - self.progress(step),
                SchedulerType::Cosine => 0.5 * (1.0 + (PI * self.progress(step)).cos()),
                SchedulerType::CosineWithMinLr => above(self.least(), 0.5 * (1.0 + (PI * self.progress(step)).cos())),
                SchedulerType::WarmupStableDecay => self.stable_decay(step),
            }
    }

    /// How far a step is from the end of the warm-up to that of the run.
    fn progress(&self, step: u64) -> f64 {
        let after = (step - self.warmup_steps) as f64;
        (after / (self.total_steps.saturating_sub(self.warmup_steps)).max(1) as f64).min(1.0)
    }

    /// Last over first rate of `cosine_with_min_lr`.
    fn least(&self) -> f64 {
        let by_rate = self.args.min_lr.map(|least| least / self.learning_rate);
        by_rate.or(self.args.min_lr_rate).unwrap_or(0.0)
    }

    fn stable_decay(&self, step: u64) -> f64 {
        let decay = self.args.num_decay_steps.unwrap_or(0);
        let first = self.total_steps.saturating_sub(decay).max(self.warmup_steps);
        let least = self.args.min_lr_ratio.unwrap_or(0.0);
        if step < first {
            return 1.0;
        }
        if step >= first + decay {
            return least;
        }
        let progress = (step - first) as f64 / decay.max(1) as f64;
        let falling = match self.args.decay_type.unwrap_or_default() {
            DecayType::Linear => 1.0 - progress,
            DecayType::Cosine => 0.5 * (1.0 + (PI * progress).cos()),
            DecayType::OneMinusSqrt => 1.0 - progress.sqrt(),
        };
        above(least, falling)
    }
}

/// What falls from 1 to 0, falling from 1 to `least`.
fn above(least: f64, falling: f64) -> f64 {
    falling * (1.0 - least) + least
}

/// The state of `reduce_lr_on_plateau`, as PyTorch's `ReduceLROnPlateau` with a relative threshold and without
/// cooldown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The rate now.
    pub rate: f64,
    best: Option<f64>,
    waited: u64,
}

impl Plateau {
    /// The state before the first evaluation; none for other schedules.
    pub fn new(schedule: &Schedule) -> Option<Plateau> {
        let plateau = schedule.kind == SchedulerType::ReduceLrOnPlateau;
        plateau.then_some(Plateau { rate: schedule.learning_rate, best: None, waited: 0 })
    }

    /// Takes an evaluation loss into account.
    pub fn observe(&mut self, schedule: &Schedule, loss: f64) {
        let args = schedule.args;
        let lower = self.best.is_none_or(|best| loss < best * (1.0 - args.threshold.unwrap_or(1e-4)));
        if lower {
            self.best = Some(loss);
        }
        self.waited = if lower { 0 } else { self.waited + 1 };
        if self.waited > args.patience.unwrap_or(10) {
            self.rate *= args.factor.unwrap_or(0.1);
            self.waited = 0;
        }
    }
}

#[cfg(test)]
mod tests;
