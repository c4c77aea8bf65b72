//! Completions of a step with their rewards and advantages.
//!
//! A reward that is missing is NaN here: it adds nothing to its completion's total, and a completion without any has
//! the total NaN and so no part in its group.

use gazal_data::Stream;
use gazal_lm::{Decoder, Form, Generated, GenerationConfig, SamplingParams, Tokenizer};
use gazal_stage_api::{Context, Level, StageError};
use gazal_tasks::Completion;
use gazal_train::{advantages, deviation, mean, totals};
use serde_json::{Map, Value, json};

use super::Params;
use super::answers::Answers;
use super::replicas::Replicas;
use super::scoring::{Scored, Scorer};
use crate::rows::Question;

/// Row `p × num_generations + g` is completion `g` of prompt `p`.
#[derive(Default)]
pub struct Rollout {
    pub prompts: Vec<Vec<u32>>,
    pub completions: Vec<Generated>,
    /// By reward function, then by row; NaN for a missing one.
    pub(super) rewards: Vec<Vec<f64>>,
    /// Weighted sums, by row; NaN where no function judged.
    pub(super) totals: Vec<f64>,
    pub advantages: Vec<f64>,
    pub(super) answers: Answers,
}

/// Completes the questions with the policy as it is; nothing is rewarded yet. The prompts are split into fixed parts
/// that run side by side on the CPU, and are dealt to GPUs.
pub fn generate(
    policy: &Replicas,
    tokenizer: &Tokenizer,
    params: &Params,
    questions: &[&Question],
    sampling: &Stream,
    generation: u64,
) -> Result<Rollout, StageError> {
    let encode = |question: &&Question| tokenizer.encode(&question.prompt).map_err(StageError::failed);
    let prompts = questions.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
    let config = GenerationConfig {
        sampling: SamplingParams { temperature: params.temperature, ..SamplingParams::default() },
        max_new_tokens: params.max_completion_length,
        eos: tokenizer.eos_ids.clone(),
        pad: tokenizer.pad,
        num_generations: params.num_generations,
    };
    // A number belongs to generation, row and position: a row does not depend on its neighbours.
    let first_step = generation * params.max_completion_length as u64;
    let part = prompts.len().div_ceil(PARTS.max(policy.devices()));
    let parts: Vec<(usize, &[Vec<u32>])> = prompts
        .chunks(part)
        .enumerate()
        .map(|(index, prompts)| (index * part * params.num_generations, prompts))
        .collect();
    let completions = policy.map(sampler).each(&parts, |sampler, (first_row, prompts)| {
        gazal_lm::generate(sampler, prompts, &config, &|row, step| {
            sampling.uniform(first_step + step as u64, (first_row + row) as u64)
        })
    });
    let completions: Vec<Generated> = completions.into_iter().flatten().collect();
    Ok(Rollout { prompts, completions, ..Rollout::default() })
}

/// The policy as it is sampled from. On the CPU its adapters are folded in and its weights packed: that costs less than
/// two products more in every projection of every token, and by how much its log-probs differ from the trainer's is a
/// metric. Elsewhere memory is what is short, and the policy samples as it is.
fn sampler(policy: &Decoder) -> Decoder {
    match gazal_lm::device::is_cpu(&policy.device()) {
        true => policy.merged().packed(Form::F32),
        false => policy.clone(),
    }
}

/// Parts of a rollout on the CPU; fixed, so that results do not depend on the machine.
pub(super) const PARTS: usize = 2;

impl Rollout {
    /// Scores the completions, of the same questions, and compares each with its group.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn reward(
        &mut self,
        params: &Params,
        (questions, tokenizer): (&[&Question], &Tokenizer),
        scorer: &Scorer,
        context: &mut Context,
    ) -> Result<(), StageError> {
        let decode = |generated: &Generated| tokenizer.decode(&generated.ids).map_err(StageError::failed);
        let texts = self.completions.iter().map(decode).collect::<Result<Vec<String>, _>>()?;
        let limit = params.max_completion_length;
        let rows: Vec<Scored> = (self.completions.iter().zip(&texts).enumerate())
            .map(|(row, (generated, text))| Scored {
                question: questions[row / params.num_generations],
                completion: Completion { text, ids: &generated.ids, finished: generated.finished, limit },
            })
            .collect();
        self.rewards = scorer.score(&rows, context)?;
        rows.iter().for_each(|row| self.answers.add(row.completion.text, &row.question.item));
        self.totals = totals(&self.rewards, &params.reward_weights);
        self.advantages = advantages(&params.advantage_config(), &self.rewards, &params.reward_weights);
        let unjudged = self.totals.iter().filter(|total| total.is_nan()).count();
        if unjudged > 0 {
            let all = self.totals.len();
            let text =
                format!("{unjudged} of {all} completions were judged by no reward function: they have no advantage");
            context.say(Level::Warning, text);
        }
        Ok(())
    }

    /// Completion tokens that count for a row.
    pub fn length(&self, params: &Params, row: usize) -> usize {
        let generated = &self.completions[row];
        if params.masks_truncated_completions() && !generated.finished { 0 } else { generated.ids.len() }
    }

    /// TRL's metrics of a generation.
    pub fn metrics(&self, params: &Params) -> Map<String, Value> {
        let length = |generated: &Generated| generated.ids.len() as f64;
        let lengths: Vec<f64> = self.completions.iter().map(length).collect();
        let terminated: Vec<f64> = self.completions.iter().filter(|generated| generated.finished).map(length).collect();
        let groups = self.totals.chunks(params.num_generations);
        let flat = groups.clone().filter(|group| is_flat(group)).count();
        let mut metrics = self.answers.metrics();
        // What no function has judged has no mean.
        let mut put = |name: &str, value: f64| {
            if !value.is_nan() {
                metrics.insert(name.into(), json!(value));
            }
        };
        put("reward", mean(&self.totals));
        put("reward_std", deviation(&self.totals));
        put("frac_reward_zero_std", flat as f64 / groups.len() as f64);
        for (function, rewards) in params.reward_funcs.iter().zip(&self.rewards) {
            put(&format!("rewards/{}/mean", function.name()), mean(rewards));
            put(&format!("rewards/{}/std", function.name()), deviation(rewards));
            let missing = rewards.iter().filter(|reward| reward.is_nan()).count();
            put(&format!("rewards/{}/missing", function.name()), missing as f64);
        }
        for (name, lengths) in [("length", &lengths), ("terminated_length", &terminated)] {
            let least = lengths.iter().copied().reduce(f64::min).unwrap_or(0.0);
            put(&format!("completions/mean_{name}"), if lengths.is_empty() { 0.0 } else { mean(lengths) });
            put(&format!("completions/min_{name}"), least);
            put(&format!("completions/max_{name}"), lengths.iter().copied().fold(0.0, f64::max));
        }
        put("completions/clipped_ratio", 1.0 - terminated.len() as f64 / self.completions.len() as f64);
        metrics
    }

    /// The groups whose completions differ in a reward, or in `reward`, the weighted sum of all.
    pub fn informative(&self, params: &Params, metric: &str) -> Vec<usize> {
        let named = params.reward_funcs.iter().position(|function| function.name() == metric);
        let values = named.map_or(&self.totals, |index| &self.rewards[index]);
        let groups = values.chunks(params.num_generations).enumerate();
        groups.filter(|(_, group)| deviation(group) > 0.0).map(|(group, _)| group).collect()
    }

    /// Takes in the groups of another rollout after its own; the advantages are then those of neither.
    pub fn extend(&mut self, other: Rollout) {
        self.prompts.extend(other.prompts);
        self.completions.extend(other.completions);
        for (own, other) in self.rewards.iter_mut().zip(other.rewards) {
            own.extend(other);
        }
        self.totals.extend(other.totals);
        self.answers.extend(&other.answers);
    }

    /// Some of its groups in a new order, with advantages anew; what was answered is still that of all.
    pub fn with_groups(self, params: &Params, groups: &[usize]) -> Rollout {
        let size = params.num_generations;
        let rows: Vec<usize> = groups.iter().flat_map(|group| group * size..(group + 1) * size).collect();
        let pick = |values: &Vec<f64>| rows.iter().map(|&row| values[row]).collect::<Vec<f64>>();
        let rewards: Vec<Vec<f64>> = self.rewards.iter().map(pick).collect();
        Rollout {
            prompts: groups.iter().map(|&group| self.prompts[group].clone()).collect(),
            completions: rows.iter().map(|&row| self.completions[row].clone()).collect(),
            advantages: advantages(&params.advantage_config(), &rewards, &params.reward_weights),
            rewards,
            totals: pick(&self.totals),
            answers: self.answers,
        }
    }
}

/// Whether all rewards that are there are the same.
fn is_flat(group: &[f64]) -> bool {
    let mut there = group.iter().filter(|reward| !reward.is_nan());
    let first = there.next();
    there.all(|reward| Some(reward) == first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use gazal_stage_api::{Backend, DeviceRequest, Event, Folders, Precision, parse};
    use gazal_tasks::Item;

    use super::*;

    /// Two completions of each of two questions whose right option this is, rewarded; and what was said of it.
    fn rewarded(reward_funcs: &Value, reward_weights: &Value, answer: usize) -> (Params, Rollout, Vec<String>) {
        let table = json!({"max_steps": 1, "max_completion_length": 64, "learning_rate": 1e-3, "num_generations": 2,
            "per_device_train_batch_size": 4, "reward_funcs": reward_funcs, "reward_weights": reward_weights});
        let params = parse::<Params>(table.as_object().unwrap()).unwrap();
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/models/qwen3"));
        let tokenizer = Tokenizer::load(folder).unwrap();
        let generated =
            |text| Generated { ids: tokenizer.encode(text).unwrap(), finished: true, ..Generated::default() };
        let completions = [
            "<think>a</think>The answer is A.",
            "The answer is A.",
            "<think>b</think>The answer is B.",
            "<think>c</think>The answer is B.",
        ]
        .map(generated);
        let item = Item {
            id: "1".into(),
            benchmark: "mini_medqa".into(),
            question: "Why?".into(),
            context: None,
            options: vec!["yes".into(), "no".into()],
            answer,
            cluster: "1".into(),
            open: false,
        };
        let question = Question { prompt: "Why?".into(), item, columns: Map::new() };
        let mut said = Vec::new();
        let mut report = |event| {
            if let Event::Message { text, .. } = event {
                said.push(text);
            }
        };
        let device = DeviceRequest { backend: Backend::Cpu, precision: Precision::F32 };
        let never = || false;
        let mut context = Context::new(Folders::default(), 7, device, &mut report, &never);
        let scorer = Scorer::open(&params.reward_funcs, &context).unwrap();
        let mut rollout = Rollout { completions: completions.into(), ..Rollout::default() };
        rollout.reward(&params, (&[&question, &question], &tokenizer), &scorer, &mut context).unwrap();
        (params, rollout, said)
    }

    #[test]
    fn the_reward_of_a_step_is_the_mean_of_the_weighted_sums() {
        let (params, rollout, said) = rewarded(&json!(["accuracy", "format"]), &json!([2.0, 0.5]), 0);
        assert_eq!(rollout.totals, [2.5, 2.0, 0.5, 0.5]);
        let metrics = rollout.metrics(&params);
        let number = |name: &str| metrics[name].as_f64().unwrap();
        assert_eq!((number("reward"), number("frac_reward_zero_std")), (1.375, 0.5));
        assert!((number("reward_std") - 1.0625_f64.sqrt()).abs() < 1e-12);
        assert_eq!((number("rewards/accuracy_reward/mean"), number("rewards/think_format_reward/mean")), (0.5, 0.75));
        assert!((number("rewards/accuracy_reward/std") - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(said.is_empty(), "{said:?}");
    }

    /// A right option that no question has: accuracy cannot tell.
    #[test]
    fn what_no_function_judged_is_said_and_has_no_advantage() {
        let (params, rollout, said) = rewarded(&json!(["accuracy", "format"]), &json!([2.0, 0.5]), 9);
        assert_eq!(rollout.totals, [0.5, 0.0, 0.5, 0.5], "the other function decides alone");
        assert!(rollout.advantages[0] > 0.0 && rollout.advantages[2..] == [0.0, 0.0] && said.is_empty(), "{said:?}");
        let metrics = rollout.metrics(&params);
        assert_eq!(metrics["rewards/accuracy_reward/missing"], 4.0);
        assert!(!metrics.contains_key("rewards/accuracy_reward/mean"));

        let (params, rollout, said) = rewarded(&json!(["accuracy"]), &json!([]), 9);
        assert!(rollout.totals.iter().all(|total| total.is_nan()) && rollout.advantages == [0.0; 4]);
        assert!(!rollout.metrics(&params).contains_key("reward"), "no reward is not a reward of 0");
        assert!(said.len() == 1 && said[0].starts_with("4 of 4 completions were judged by no"), "{said:?}");
    }

    /// The mean of eight times 0.1 is not 0.1 where their sum is rounded.
    #[test]
    fn equal_rewards_are_no_difference_that_a_filter_keeps() {
        let table = json!({"max_steps": 1, "max_completion_length": 8, "learning_rate": 1e-3,
            "per_device_train_batch_size": 16, "reward_funcs": ["accuracy"]});
        let params = parse::<Params>(table.as_object().unwrap()).unwrap();
        let mut totals = vec![0.1; 16];
        totals[15] = 0.2;
        let rollout = Rollout { rewards: vec![totals.clone()], totals, ..Rollout::default() };
        assert_eq!(params.num_generations, 8);
        assert_eq!(rollout.informative(&params, "reward"), [1]);
    }

    #[test]
    fn a_group_is_flat_by_those_that_were_judged() {
        assert!(is_flat(&[1.0, f64::NAN, 1.0]) && is_flat(&[f64::NAN, 2.0]) && is_flat(&[f64::NAN; 2]));
        assert!(!is_flat(&[1.0, f64::NAN, 0.0]));
    }
}
