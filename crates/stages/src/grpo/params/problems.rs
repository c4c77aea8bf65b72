//! What is wrong with the parameters of `grpo`, by field, and what is only likely to be.

use gazal_stage_api::Problem;
use gazal_train::{ImportanceSampling, LossType};

use super::{Params, Reference};
use crate::defaults::check_positive;
use crate::grpo::{completions, rewards};

impl Params {
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = check_positive(&[
            ("temperature", self.temperature),
            ("max_steps", self.max_steps as f64),
            ("num_iterations", self.num_iterations as f64),
            ("max_completion_length", self.max_completion_length as f64),
            ("per_device_train_batch_size", self.per_device_train_batch_size as f64),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps as f64),
            ("steps_per_generation", self.steps_per_generation() as f64),
            ("logging_steps", self.logging_steps as f64),
        ]);
        problems.extend(self.peft().problems());
        problems.extend(self.optimization().problems(false));
        problems.extend(self.generation_problems());
        problems.extend(self.loss_problems());
        problems.extend(self.reference_problems());
        problems.extend(self.reward_problems());
        problems.extend(rewards::problems(&self.reward_funcs, self.max_completion_length));
        problems.extend(self.sentinels.problems());
        problems.extend(self.rollback.problems());
        problems
    }

    fn generation_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(size) = self.generation_batch_size {
            problems.push(match self.steps_per_generation {
                Some(_) => Problem::new("generation_batch_size", "excludes `steps_per_generation`")
                    .with_help("keep one of them"),
                None => Problem::new(
                    "generation_batch_size",
                    format!(
                        "{size} is no multiple of `per_device_train_batch_size` {}",
                        self.per_device_train_batch_size
                    ),
                ),
            });
        }
        let completions = self.per_device_train_batch_size * self.steps_per_generation();
        if self.num_generations < 2 {
            let problem = Problem::new("num_generations", format!("is {}, must be at least 2", self.num_generations));
            problems.push(problem.with_help("an advantage is relative to the other completions of a prompt"));
        } else if !completions.is_multiple_of(self.num_generations) {
            let message = format!(
                "{} × {} completions a generation are not a multiple of `num_generations` {}",
                self.per_device_train_batch_size,
                self.steps_per_generation(),
                self.num_generations
            );
            problems.push(Problem::new("per_device_train_batch_size", message));
        }
        let accumulation = self.gradient_accumulation_steps.max(1);
        if !self.steps_per_generation().is_multiple_of(accumulation) {
            let message = format!("must be a multiple of `gradient_accumulation_steps` {accumulation}");
            let problem = Problem::new("steps_per_generation", message);
            problems.push(problem.with_help("an optimizer step learns from one generation"));
        }
        let updates = self.updates_per_generation();
        if updates > 0 && !self.max_steps.is_multiple_of(updates) {
            let message = format!("must be a multiple of the {updates} optimizer steps on each generation");
            let problem = Problem::new("max_steps", message);
            problems.push(problem.with_help("see `num_iterations` and `steps_per_generation`"));
        }
        problems
    }

    fn loss_problems(&self) -> Vec<Problem> {
        let config = self.policy_config();
        let checks = [
            ("epsilon", config.epsilon > 0.0, "must be above 0"),
            ("epsilon_high", config.epsilon_high > 0.0, "must be above 0"),
            ("delta", self.delta.is_none_or(|delta| delta > 1.0), "must be above 1, the ratio of an unmoved policy"),
            ("clip_ratio_c", self.clip_ratio_c.is_none_or(|most| most > 1.0), "must be above 1"),
            ("entropy_coef", self.entropy_coef >= 0.0, "must not be negative"),
            (
                "top_entropy_quantile",
                self.top_entropy_quantile > 0.0 && self.top_entropy_quantile <= 1.0,
                "must be above 0, and at most 1",
            ),
        ];
        let wrong = checks.into_iter().filter(|(_, holds, _)| !holds);
        let mut problems: Vec<Problem> = wrong.map(|(field, _, message)| Problem::new(field, message)).collect();
        if config.loss_type == LossType::Cispo {
            if config.epsilon_high < 1.0 {
                let problem = Problem::new("epsilon_high", "of `cispo` bounds the ratio itself: it must be at least 1");
                problems.push(problem.with_help("5.0 is usual"));
            }
            for (field, given) in [("delta", self.delta), ("clip_ratio_c", self.clip_ratio_c)] {
                if given.is_some() {
                    problems.push(Problem::new(field, "is nothing that `loss_type = \"cispo\"` has"));
                }
            }
        }
        problems
    }

    fn reference_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let beta = self.policy_config().beta;
        if beta.is_nan() || beta < 0.0 {
            problems.push(Problem::new("beta", "must not be negative"));
        }
        if self.sync_ref_model && beta == 0.0 {
            let problem = Problem::new("sync_ref_model", "needs a reference");
            problems.push(problem.with_help("set `beta` above 0"));
        }
        if self.sync_ref_model && self.use_peft && self.reference == Reference::Base {
            let problem = Problem::new("sync_ref_model", "mixes adapters, and the base model has none");
            problems.push(problem.with_help("leave out `reference = \"base\"`"));
        }
        if !(0.0..=1.0).contains(&self.ref_model_mixup_alpha) {
            problems.push(Problem::new("ref_model_mixup_alpha", "must be in [0, 1]"));
        }
        if self.ref_model_sync_steps == 0 {
            problems.push(Problem::new("ref_model_sync_steps", "must be above 0"));
        }
        problems
    }

    fn reward_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.reward_funcs.is_empty() {
            problems.push(Problem::new("reward_funcs", "must name at least one reward"));
        }
        if !self.reward_weights.is_empty() && self.reward_weights.len() != self.reward_funcs.len() {
            problems.push(Problem::new("reward_weights", "must have one weight for each of `reward_funcs`"));
        }
        let taken = |name: &str| self.log_completions && completions::COLUMNS.contains(&name);
        for (at, reward) in self.reward_funcs.iter().enumerate().filter(|(_, reward)| taken(reward.name())) {
            let message = format!("`{}` is another column of the completions that are logged", reward.name());
            let problem = Problem::new(&format!("reward_funcs[{at}].label"), message);
            problems.push(problem.with_help("give it another `label`, or leave out `log_completions`"));
        }
        let Some(filter) = self.filter() else { return problems };
        let names: Vec<&str> = self.reward_funcs.iter().map(|function| function.name()).chain(["reward"]).collect();
        if !names.contains(&filter.metric.as_str()) {
            let problem = Problem::new("filter_groups.metric", format!("`{}` is no reward here", filter.metric));
            problems.push(problem.with_help(format!("use one of {}", names.join(", "))));
        }
        if filter.max_num_gen_batches == 0 {
            problems.push(Problem::new("filter_groups.max_num_gen_batches", "must be above 0"));
        }
        problems
    }

    /// What can be meant but seldom is.
    pub fn warnings(&self) -> Vec<String> {
        let config = self.policy_config();
        let of_completions = config.importance_sampling_level != ImportanceSampling::Token;
        let by_tokens = !matches!(config.loss_type, LossType::Grpo | LossType::Luspo);
        let mut warnings = self.peft().warnings();
        if of_completions && by_tokens {
            warnings.push(
                "`importance_sampling_level` gives one ratio to a completion, but `loss_type` weighs completions by \
                 their lengths: GSPO is `loss_type = \"grpo\"`"
                    .into(),
            );
        }
        if of_completions && self.updates_per_generation() == 1 {
            warnings.push(
                "`importance_sampling_level` has no effect: with one optimizer step a generation every ratio is 1. Set \
                 `steps_per_generation` or `num_iterations`"
                    .into(),
            );
        }
        warnings
    }
}
