//! Learning-rate schedules with linear warm-up, as transformers defines them.

use serde::{Deserialize, Serialize};

/// `lr_scheduler_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    Constant,
    Linear,
    #[default]
    Cosine,
}

/// The rate of every step of a run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub kind: SchedulerType,
    pub learning_rate: f64,
    pub warmup_steps: u64,
    pub total_steps: u64,
}

impl Schedule {
    /// `warmup_ratio` of `total_steps`, rounded up.
    pub fn new(kind: SchedulerType, learning_rate: f64, warmup_ratio: f64, total_steps: u64) -> Schedule {
        let warmup_steps = (warmup_ratio * total_steps as f64).ceil() as u64;
        Schedule { kind, learning_rate, warmup_steps, total_steps }
    }

    /// The rate of the step with this number, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * step as f64 / self.warmup_steps.max(1) as f64;
        }
        let after = (step - self.warmup_steps) as f64;
        let progress = (after / (self.total_steps.saturating_sub(self.warmup_steps)).max(1) as f64).min(1.0);
        self.learning_rate
            * match self.kind {
                SchedulerType::Constant => 1.0,
                SchedulerType::Linear => 1.0 - progress,
                SchedulerType::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_rises_over_the_warm_up_and_falls_to_zero() {
        let schedule = Schedule::new(SchedulerType::Cosine, 2.0, 0.1, 100);
        assert_eq!(schedule.rate(0), 0.0);
        assert_eq!(schedule.rate(5), 1.0);
        assert_eq!(schedule.rate(10), 2.0);
        assert!((schedule.rate(55) - 1.0).abs() < 1e-12);
        assert!(schedule.rate(100).abs() < 1e-12);
    }

    #[test]
    fn linear_and_constant_agree_with_their_names() {
        assert_eq!(Schedule::new(SchedulerType::Linear, 1.0, 0.0, 10).rate(5), 0.5);
        assert_eq!(Schedule::new(SchedulerType::Constant, 1.0, 0.0, 10).rate(9), 1.0);
    }
}
