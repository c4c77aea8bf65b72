//! What every training stage is told of its optimizer and its schedule: from parameters to configurations, and what is
//! wrong with them.

use gazal_stage_api::Problem;
use gazal_train::{OptimArgs, OptimConfig, OptimKind, Schedule, SchedulerArgs, SchedulerType};

/// Parameters as transformers names them; a stage has each of them under the same name.
#[derive(Clone, Copy)]
pub struct Optimization {
    pub optim: OptimKind,
    pub optim_args: OptimArgs,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub weight_decay: f64,
    pub loraplus_lr_ratio: Option<f64>,
    pub learning_rate: f64,
    pub lr_scheduler_type: SchedulerType,
    pub lr_scheduler_kwargs: SchedulerArgs,
    pub warmup_ratio: f64,
    pub warmup_steps: u64,
}

/// The fields of a stage's parameters as an [`Optimization`]; what not every stage has is given beside them. Parameters
/// are one table, in which unknown names are mistakes, and serde does not find those around a struct that is flattened
/// into it: so the fields themselves are in every stage.
macro_rules! optimization {
    ($params:expr, loraplus_lr_ratio: $ratio:expr) => {
        $crate::optimization::Optimization {
            optim: $params.optim,
            optim_args: $params.optim_args,
            adam_beta1: $params.adam_beta1,
            adam_beta2: $params.adam_beta2,
            adam_epsilon: $params.adam_epsilon,
            weight_decay: $params.weight_decay,
            learning_rate: $params.learning_rate,
            lr_scheduler_type: $params.lr_scheduler_type,
            lr_scheduler_kwargs: $params.lr_scheduler_kwargs,
            warmup_ratio: $params.warmup_ratio,
            warmup_steps: $params.warmup_steps,
            loraplus_lr_ratio: $ratio,
        }
    };
}
pub(crate) use optimization;

impl Optimization {
    pub fn optim_config(&self) -> OptimConfig {
        OptimConfig {
            kind: self.optim,
            beta1: self.adam_beta1,
            beta2: self.adam_beta2,
            epsilon: self.adam_epsilon,
            weight_decay: self.weight_decay,
            decays_vectors: false,
            loraplus_lr_ratio: self.loraplus_lr_ratio,
            args: self.optim_args,
        }
    }

    pub fn schedule(&self, total_steps: u64) -> Schedule {
        let warmup_steps = match self.warmup_steps {
            0 => Schedule::warmup_of(self.warmup_ratio, total_steps),
            steps => steps,
        };
        Schedule {
            kind: self.lr_scheduler_type,
            learning_rate: self.learning_rate,
            warmup_steps,
            total_steps,
            args: self.lr_scheduler_kwargs,
        }
    }

    /// What is wrong, by field; a plateau needs a stage that evaluates as it trains.
    pub fn problems(&self, evaluates: bool) -> Vec<Problem> {
        let mut problems = self.out_of_range();
        problems.extend(self.misplaced());
        problems.extend(self.schedule_problems(evaluates));
        problems
    }

    fn out_of_range(&self) -> Vec<Problem> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let (args, kwargs) = (&self.optim_args, &self.lr_scheduler_kwargs);
        let given = |value: Option<f64>, holds: fn(f64) -> bool| value.is_none_or(holds);
        let checks = [
            ("learning_rate", self.learning_rate > 0.0, "must be above 0"),
            ("adam_beta1", share(self.adam_beta1), "must be in [0, 1)"),
            ("adam_beta2", share(self.adam_beta2), "must be in [0, 1)"),
            ("adam_epsilon", self.adam_epsilon > 0.0, "must be above 0"),
            ("weight_decay", self.weight_decay >= 0.0, "must not be negative"),
            ("loraplus_lr_ratio", given(self.loraplus_lr_ratio, |ratio| ratio > 0.0), "must be above 0"),
            ("warmup_ratio", (0.0..=1.0).contains(&self.warmup_ratio), "must be in [0, 1]"),
            ("optim_args.momentum", given(args.momentum, |share| (0.0..1.0).contains(&share)), "must be in [0, 1)"),
            ("optim_args.ns_steps", args.ns_steps != Some(0), "must be above 0"),
            ("optim_args.clip_threshold", given(args.clip_threshold, |most| most > 0.0), "must be above 0"),
            ("optim_args.decay_rate", given(args.decay_rate, |rate| rate < 0.0), "must be below 0"),
            ("optim_args.alpha", given(args.alpha, |share| (0.0..1.0).contains(&share)), "must be in [0, 1)"),
            ("optim_args.rho", given(args.rho, |share| (0.0..1.0).contains(&share)), "must be in [0, 1)"),
            ("optim_args.eps", given(args.eps, |epsilon| epsilon > 0.0), "must be above 0"),
            ("lr_scheduler_kwargs.min_lr", given(kwargs.min_lr, |least| least >= 0.0), "must not be negative"),
            (
                "lr_scheduler_kwargs.min_lr_rate",
                given(kwargs.min_lr_rate, |least| (0.0..=1.0).contains(&least)),
                "must be in [0, 1]",
            ),
            (
                "lr_scheduler_kwargs.min_lr_ratio",
                given(kwargs.min_lr_ratio, |least| (0.0..=1.0).contains(&least)),
                "must be in [0, 1]",
            ),
            (
                "lr_scheduler_kwargs.factor",
                given(kwargs.factor, |factor| factor > 0.0 && factor < 1.0),
                "must be between 0 and 1",
            ),
            (
                "lr_scheduler_kwargs.threshold",
                given(kwargs.threshold, |share| (0.0..1.0).contains(&share)),
                "must be in [0, 1)",
            ),
        ];
        let wrong = checks.into_iter().filter(|(_, holds, _)| !holds);
        wrong.map(|(field, _, message)| Problem::new(field, message)).collect()
    }

    /// Arguments that the chosen optimizer or schedule does not have.
    fn misplaced(&self) -> Vec<Problem> {
        let problem = |field: &str, name: &str, of: &str| {
            let message = format!("is nothing that this `{of}` has");
            Problem::new(&format!("{field}.{name}"), message).with_help(format!("leave it out, or change `{of}`"))
        };
        let args = self.optim_args.unused(self.optim).into_iter();
        let kwargs = self.lr_scheduler_kwargs.unused(self.lr_scheduler_type).into_iter();
        args.map(|name| problem("optim_args", name, "optim"))
            .chain(kwargs.map(|name| problem("lr_scheduler_kwargs", name, "lr_scheduler_type")))
            .collect()
    }

    fn schedule_problems(&self, evaluates: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let kwargs = &self.lr_scheduler_kwargs;
        let warms_up = self.warmup_steps > 0 || self.warmup_ratio > 0.0;
        if self.warmup_steps > 0 && self.warmup_ratio > 0.0 {
            problems.push(Problem::new("warmup_steps", "excludes `warmup_ratio`").with_help("keep one of them"));
        }
        match self.lr_scheduler_type {
            SchedulerType::Constant if warms_up => {
                let problem = Problem::new("lr_scheduler_type", "`constant` has no warm-up");
                problems.push(problem.with_help("use `constant_with_warmup`"));
            }
            SchedulerType::ReduceLrOnPlateau if warms_up => {
                let problem = Problem::new("lr_scheduler_type", "`reduce_lr_on_plateau` has no warm-up");
                problems.push(problem.with_help("leave out `warmup_ratio` and `warmup_steps`"));
            }
            SchedulerType::ReduceLrOnPlateau if !evaluates => {
                let problem = Problem::new("lr_scheduler_type", "`reduce_lr_on_plateau` needs evaluations");
                problems.push(problem.with_help("set `eval_steps` where the stage has it, else use another schedule"));
            }
            SchedulerType::CosineWithMinLr if kwargs.min_lr.is_some() == kwargs.min_lr_rate.is_some() => {
                let message = "needs one of `min_lr` and `min_lr_rate`";
                problems.push(Problem::new("lr_scheduler_kwargs", message));
            }
            SchedulerType::WarmupStableDecay if kwargs.num_decay_steps.is_none() => {
                let problem = Problem::new("lr_scheduler_kwargs.num_decay_steps", "is missing");
                problems.push(problem.with_help("say over how many of the last steps the rate falls"));
            }
            _ => {}
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard() -> Optimization {
        Optimization {
            optim: OptimKind::Exadam,
            optim_args: OptimArgs::default(),
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            loraplus_lr_ratio: None,
            learning_rate: 1e-3,
            lr_scheduler_type: SchedulerType::Cosine,
            lr_scheduler_kwargs: SchedulerArgs::default(),
            warmup_ratio: 0.0,
            warmup_steps: 0,
        }
    }

    fn fields(optimization: Optimization, evaluates: bool) -> Vec<String> {
        optimization.problems(evaluates).into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        assert!(fields(standard(), false).is_empty());
        let wrong = Optimization { adam_beta2: 1.0, loraplus_lr_ratio: Some(0.0), adam_epsilon: 0.0, ..standard() };
        assert_eq!(fields(wrong, false), ["adam_beta2", "adam_epsilon", "loraplus_lr_ratio"]);
        let both = Optimization { warmup_steps: 3, warmup_ratio: 0.1, ..standard() };
        assert_eq!(fields(both, false), ["warmup_steps"]);
        let warm = Optimization { warmup_steps: 3, lr_scheduler_type: SchedulerType::Constant, ..standard() };
        assert_eq!(fields(warm, false), ["lr_scheduler_type"]);
        let plateau = Optimization { lr_scheduler_type: SchedulerType::ReduceLrOnPlateau, ..standard() };
        assert_eq!(fields(plateau, false), ["lr_scheduler_type"]);
        assert!(fields(plateau, true).is_empty());
        let decay = Optimization { lr_scheduler_type: SchedulerType::WarmupStableDecay, ..standard() };
        assert_eq!(fields(decay, false), ["lr_scheduler_kwargs.num_decay_steps"]);
    }

    #[test]
    fn arguments_of_another_optimizer_or_schedule_are_refused() {
        let optim_args = OptimArgs { momentum: Some(0.9), ..OptimArgs::default() };
        let lr_scheduler_kwargs = SchedulerArgs { factor: Some(0.5), ..SchedulerArgs::default() };
        let wrong = Optimization { optim_args, lr_scheduler_kwargs, ..standard() };
        assert_eq!(fields(wrong, false), ["optim_args.momentum", "lr_scheduler_kwargs.factor"]);
        let lr_scheduler_kwargs =
            SchedulerArgs { min_lr: Some(0.0), min_lr_rate: Some(0.1), ..SchedulerArgs::default() };
        let both =
            Optimization { lr_scheduler_kwargs, lr_scheduler_type: SchedulerType::CosineWithMinLr, ..standard() };
        assert_eq!(fields(both, false), ["lr_scheduler_kwargs"]);
    }

    #[test]
    fn warm_up_is_steps_or_a_share_of_all() {
        assert_eq!(Optimization { warmup_ratio: 0.05, ..standard() }.schedule(110).warmup_steps, 6);
        assert_eq!(Optimization { warmup_steps: 9, ..standard() }.schedule(110).warmup_steps, 9);
    }
}
