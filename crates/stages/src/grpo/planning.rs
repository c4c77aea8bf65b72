//! What a training with rollouts needs of memory: see [`crate::memory`]. How long completions get nobody knows; so there
//! is what is needed if each ends at once, and what is needed where they are as long as they may be.

use gazal_lm::{Config, Tokenizer};
use gazal_stage_api::{Asks, Backend, Context, Forecast, Foresight, Precision, StageError};

use super::Params;
use super::rollout::PARTS;
use crate::memory::{self, Estimate, Lengths, Need, Rollout, Training};
use crate::peft::Learner;
use crate::rows::Question;
use crate::{device, forecast};

/// Refuses, before any weight is read, what cannot fit into memory.
///
/// # Errors
/// See [`memory::check`].
pub fn plan(
    params: &Params,
    learner: &Learner,
    context: &mut Context,
    (questions, tokenizer): (&[Question], &Tokenizer),
) -> Result<(), StageError> {
    let config = Config::load(context.input("model")?).map_err(StageError::failed)?;
    let length = |question: &Question| tokenizer.encode(&question.prompt).map(|ids| ids.len());
    let prompts = questions.iter().map(length).collect::<Result<Vec<_>, _>>().map_err(StageError::failed)?;
    let generations = params.max_steps / params.updates_per_generation().max(1);
    let drawn = generations.saturating_mul(params.prompts_per_generation() as u64);
    let prompts = Lengths::of(prompts.into_iter(), 0, usize::try_from(drawn).unwrap_or(usize::MAX));
    let policy = Policy { params, config: &config, learner, prompts };
    let machine = Machine {
        is_cpu: context.device.backend == Backend::Cpu,
        precision: context.device.precision,
        at_once: &|most| device::at_once(context, most),
    };
    let need =
        Need { least: policy.estimate(&machine, 1), most: policy.estimate(&machine, params.max_completion_length) };
    memory::check(context, &need)
}

/// What the stage will take and make, before prompts and machine are known.
pub fn forecast(params: &Params, inputs: &Foresight) -> Forecast {
    let window = params.per_device_train_batch_size * params.gradient_accumulation_steps;
    let work = Some(params.max_steps as f64 * window as f64);
    let asks = asks(params);
    let shapes = forecast::config(inputs, "model").zip(params.peft().foresee(inputs));
    let Some((config, learner)) = shapes else { return Forecast { work, asks, ..Forecast::default() } };
    let prompts = Lengths { shortest: 1, longest: 1, targets: 0 };
    let policy = Policy { params, config: &config, learner: &learner, prompts };
    let machine = Machine { is_cpu: false, precision: inputs.precision, at_once: &|_| 1 };
    Forecast { work, peak_bytes: Some(policy.estimate(&machine, 1).total()), asks, outputs: learner.foreseen(&config) }
}

/// What judges are asked: each about every completion, which is what they read besides the question.
fn asks(params: &Params) -> Option<Asks> {
    let generations = params.max_steps.div_ceil(params.updates_per_generation().max(1));
    let completions = generations * (params.per_device_train_batch_size * params.steps_per_generation()) as u64;
    let judges = params.reward_funcs.iter().filter_map(|reward| reward.judge());
    let each = judges.map(|judge| {
        let lengths = [params.max_completion_length as u64, u64::from(judge.max_tokens)];
        judge.reach().foresee(completions, lengths)
    });
    each.reduce(Asks::and)
}

struct Machine<'a> {
    is_cpu: bool,
    precision: Precision,
    /// How many of so many pieces of work run side by side.
    at_once: &'a dyn Fn(usize) -> usize,
}

struct Policy<'a> {
    params: &'a Params,
    config: &'a Config,
    learner: &'a Learner,
    /// Lengths of the prompts.
    prompts: Lengths,
}

impl Policy<'_> {
    /// The worst moment if every completion has so many tokens. If they have few, so have those that nothing is learnt
    /// from and whose micro-batches are passed over.
    fn estimate(&self, machine: &Machine, completion: usize) -> Estimate {
        let Policy { params, prompts, .. } = *self;
        let config = params.policy_config();
        let all_learn = completion > 1 || config.learns_without_advantage();
        let micro_batches = if all_learn { params.gradient_accumulation_steps } else { 1 };
        let training = Training {
            config: self.config,
            precision: device::kept_in(machine.precision),
            adapter: self.learner.adapter(),
            optim: params.optim,
            per_device_train_batch_size: params.per_device_train_batch_size,
            gradient_accumulation_steps: micro_batches,
            gradient_checkpointing: params.gradient_checkpointing,
            lengths: Lengths {
                shortest: prompts.shortest.saturating_add(completion),
                longest: prompts.longest.saturating_add(completion),
                targets: completion,
            },
            has_reference: config.beta > 0.0,
            at_once: (machine.at_once)(micro_batches),
        };
        if !machine.is_cpu {
            return training.estimate();
        }
        let part = params.per_device_train_batch_size.saturating_mul(params.steps_per_generation()).div_ceil(PARTS);
        let rollout = Rollout {
            completions: part.saturating_mul((machine.at_once)(PARTS)),
            tokens: prompts.shortest.saturating_add(completion),
        };
        Estimate::worst([training.estimate(), training.sampling(rollout)])
    }
}
