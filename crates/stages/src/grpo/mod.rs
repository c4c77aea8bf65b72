//! `grpo`: group relative policy optimisation (arXiv:2402.03300) of an adapter or of a whole model, with rollouts from the
//! same process and the same weights.
//!
//! A step draws prompts, completes each `num_generations` times with the current policy, scores the completions with
//! TRL's rewards, and moves the policy by the policy loss of its group-relative advantages. Departures from TRL: no
//! second set of weights (sampler and trainer are one, and their largest difference is a metric), micro-batches without
//! an advantage are left out of the forward and backward pass when neither a KL nor an entropy bonus needs them (their
//! gradient is zero), and prompts may be drawn until their completions differ (`filter_groups`). Sentinels look at every
//! step.

mod answers;
mod completions;
mod filter;
mod judge;
mod params;
mod planning;
mod reference;
mod replicas;
mod rewards;
mod rollback;
mod rollout;
mod scoring;
mod sentinels;
mod step;

use gazal_data::Stream;
use gazal_lm::Tokenizer;
use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, Kind, Level, OutPort, PortType, Problem, StageError, Traits,
};
use gazal_train::{Checkpoint, Optimizer, Snapshot, latest_checkpoint, save_checkpoint};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::history::{Entry, History};
use crate::peft::Peft;
use crate::rows::{Question, read_split};
use crate::supervised::rows_of_step;
use crate::{defaults, device};

use completions::CompletionLog;
use filter::Generation;
pub use params::Params;
use replicas::Replicas;
use rollback::{Alarm, Next, Watcher};
use scoring::Scorer;

pub struct Grpo;

/// What a resume needs beside tensors, and what the history is made of.
#[derive(Default, Serialize, Deserialize)]
struct Progress {
    log_history: Vec<Entry>,
    /// Batches of prompts drawn.
    draws: u64,
    /// What sentinels have said.
    alarms: Vec<Alarm>,
}

impl Progress {
    /// The record of a training at its end.
    fn history(self, params: &Params) -> History {
        let mut stateful_callbacks = Map::new();
        if !self.alarms.is_empty() {
            stateful_callbacks.insert("sentinels".into(), json!(self.alarms));
        }
        let epoch = self.log_history.last().and_then(|entry| entry.get("epoch")).and_then(Value::as_f64);
        History {
            max_steps: params.max_steps,
            train_batch_size: params.per_device_train_batch_size,
            epoch: epoch.unwrap_or_default(),
            num_input_tokens_seen: tokens_so_far(&self.log_history),
            stateful_callbacks,
            log_history: self.log_history,
            ..History::default()
        }
    }
}

/// All that moves while the stage trains.
struct Training {
    policy: Replicas,
    reference: Option<Replicas>,
    /// Whether the reference moves too.
    follows: bool,
    optimizer: Optimizer,
    progress: Progress,
    /// Optimizer steps.
    done: u64,
}

impl Training {
    fn take_up(&mut self, checkpoint: &Checkpoint) -> Result<(), StageError> {
        let Training { policy, reference, optimizer, .. } = self;
        checkpoint.restore(&mut policy.decoder, policy.trainable, optimizer).map_err(StageError::failed)?;
        policy.changed();
        if let Some(reference) = reference.as_mut().filter(|_| self.follows) {
            checkpoint.restore_reference(&mut reference.decoder, policy.trainable).map_err(StageError::failed)?;
            reference.changed();
        }
        self.progress = serde_json::from_value(checkpoint.extra.clone()).map_err(StageError::failed)?;
        self.done = checkpoint.step;
        Ok(())
    }

    fn snapshot<'a>(&'a self, progress: &'a Value) -> Snapshot<'a> {
        Snapshot {
            decoder: &self.policy.decoder,
            trainable: self.policy.trainable,
            optimizer: &self.optimizer,
            reference: self.reference.as_ref().filter(|_| self.follows).map(|reference| &reference.decoder),
            extra: progress,
        }
    }
}

impl Kind for Grpo {
    type Params = Params;
    const NAME: &'static str = "grpo";
    // 2: what completions answer and how many rewards are missing are in the history; the policy is sampled packed.
    // 3: the gradient of the loss is written out, which rounds otherwise.
    // 4: the history has TensorBoard's events, epochs, and all that transformers' `TrainerState` has.
    // 5: completions of equal rewards have no advantage at all, where rounding had left 1e-13.
    const REVISION: u32 = 5;
    const DOC: &'static str =
        "Group relative policy optimisation of an adapter or a model with checkable or asked rewards.";
    const TRAITS: Traits = Traits {
        network: true,
        memo: true,
        secrets: true,
        programs: true,
        paths: &[rewards::SOURCES],
        ..defaults::LEARNING
    };

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::one("model", PortType::Model, "the base"),
            Peft::input("the stage-1 adapter: start of the policy, and its reference; without it a new one trains"),
            InPort::one("prompts", PortType::Dataset, "rows of `prompt` and `item`"),
        ]
    }

    fn outputs(&self, params: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            params.peft().output(),
            OutPort::value(
                "history",
                PortType::Files,
                "`trainer_state.json` with TRL's metrics, TensorBoard's events, `completions/*.parquet` if they are logged",
            ),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        params.problems()
    }

    fn misplaced(&self, params: &Params, inputs: &[&str]) -> Vec<Problem> {
        params.peft().misplaced(inputs)
    }

    fn forecast(&self, params: &Params, inputs: &Foresight) -> Forecast {
        planning::forecast(params, inputs)
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let device = device::open(context)?;
        let folder = context.input("model")?.to_path_buf();
        let tokenizer = Tokenizer::load(&folder).map_err(StageError::failed)?;
        let questions: Vec<Question> = read_split(&[context.input("prompts")?], "train")?;
        if questions.is_empty() {
            return Err(StageError::failed("the data set `prompts` has no rows in its split `train`"));
        }
        for warning in params.warnings() {
            context.say(Level::Warning, warning);
        }
        let learner = params.peft().learner(context)?;
        planning::plan(&params, &learner, context, (&questions, &tokenizer))?;
        let others = device::others(context, params.gradient_accumulation_steps)?;
        let policy = Replicas::new(learner.load(&folder, &device, context)?, params.peft().trainable(), &others);
        let scorer = Scorer::open(&params.reward_funcs, context)?;
        let mut training = Training {
            reference: reference::of(&params, &policy),
            policy,
            follows: params.sync_ref_model,
            optimizer: Optimizer::new(params.optimization().optim_config()),
            progress: Progress::default(),
            done: 0,
        };
        if let Some(checkpoint) = latest_checkpoint(context.wip()).map_err(StageError::failed)? {
            training.take_up(&checkpoint)?;
            context.say(Level::Info, format!("resumed from step {}", training.done));
        }
        let order = Stream::new(context.seed, "prompt order");
        let sampling = Stream::new(context.seed, "sampling");
        let log = params.log_completions.then(|| CompletionLog::open(context.wip())).transpose()?;
        let mut watcher = Watcher::new(&params, context, std::mem::take(&mut training.progress.alarms));
        // Several updates may share one generation; a checkpoint is only taken after the last of them.
        while training.done < params.max_steps {
            if watcher.wants_good(training.done) {
                watcher.keep_good(training.done, &training.snapshot(&json!(training.progress)))?;
            }
            let policy = &training.policy;
            let generation = filter::generation(&params, training.progress.draws, |number| {
                let rows = rows_of_step(Some(&order), questions.len(), number, params.prompts_per_generation());
                let asked: Vec<&Question> = rows.iter().map(|&row| &questions[row]).collect();
                let mut rollout = rollout::generate(policy, &tokenizer, &params, &asked, &sampling, number)?;
                rollout.reward(&params, (&asked, &tokenizer), &scorer, context)?;
                Ok((rows, rollout))
            })?;
            training.progress.draws += generation.draws;
            if let Some(log) = &log {
                log.add(training.done + 1, &params, &generation.rollout, &tokenizer)?;
            }
            let drawn = training.progress.draws as f64 * params.prompts_per_generation() as f64;
            let from = Drawn {
                generation: &generation,
                epoch: drawn / questions.len() as f64,
                rate_factor: watcher.rate_factor(),
                pad: tokenizer.pad,
            };
            train_on(&params, context, &mut training, &from)?;
            let back = match watcher.look(&training.progress.log_history, context)? {
                Next::Go => false,
                Next::Back(to) => {
                    training.take_up(&watcher.go_back(to)?)?;
                    true
                }
            };
            let cancelled = context.cancelled();
            let generations = training.done / params.updates_per_generation();
            let due = params.save_steps > 0 && generations.saturating_sub(1).is_multiple_of(params.save_steps);
            if back || cancelled || due {
                training.progress.alarms.clone_from(&watcher.alarms);
                let progress = json!(training.progress);
                save_checkpoint(context.wip(), &training.snapshot(&progress), params.save_total_limit)
                    .map_err(StageError::failed)?;
            }
            if cancelled {
                return Err(StageError::Cancelled);
            }
        }
        learner.save(&training.policy.decoder, &tokenizer, context)?;
        training.progress.alarms = watcher.alarms;
        let history = context.output("history")?;
        if let Some(log) = log {
            log.publish(history)?;
        }
        training.progress.history(&params).write(history)
    }
}

/// What the updates of a generation are made of.
struct Drawn<'a> {
    generation: &'a Generation,
    /// How often all prompts have been drawn.
    epoch: f64,
    /// What the schedule's learning rate is multiplied by.
    rate_factor: f64,
    pad: u32,
}

/// All updates on a generation.
fn train_on(params: &Params, context: &mut Context, training: &mut Training, drawn: &Drawn) -> Result<(), StageError> {
    let &Drawn { generation, epoch, rate_factor, pad } = drawn;
    let schedule = params.optimization().schedule(params.max_steps);
    let models = step::Models { policy: &training.policy, reference: training.reference.as_ref(), pad };
    let mut batch = step::Batch::new(params, &generation.rollout, models);
    for index in 0..params.updates_per_generation() as usize {
        let step = step::Step { index, rate: schedule.rate(training.done) * rate_factor };
        let mut entry = step::update(params, &mut training.policy, &mut training.optimizer, &mut batch, step)
            .map_err(|what| stopped(context, training.done, &what, &generation.rows))?;
        training.done += 1;
        reference::follow(params, training.reference.as_mut(), &training.policy, training.done);
        entry.insert("step".into(), json!(training.done));
        let new = if index == 0 { batch.all_tokens } else { 0 };
        entry.insert("num_tokens".into(), json!(tokens_so_far(&training.progress.log_history) + new as u64));
        entry.insert("epoch".into(), json!(epoch));
        entry.extend(generation.metrics(params));
        show(context, params, &entry, training.done);
        training.progress.log_history.push(entry);
    }
    Ok(())
}

/// Tokens of all completed steps.
fn tokens_so_far(history: &[Entry]) -> u64 {
    let last = history.last().and_then(|entry| entry.get("num_tokens")).and_then(Value::as_u64);
    last.unwrap_or(0)
}

fn show(context: &mut Context, params: &Params, entry: &Entry, done: u64) {
    let number = |name: &str| entry.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
    if done == params.max_steps || done.is_multiple_of(params.logging_steps) {
        let metrics = [
            ("reward", number("reward")),
            ("accuracy", number("rewards/accuracy_reward/mean")),
            ("length", number("completions/mean_length")),
            ("tokens", number("num_tokens")),
        ];
        context.progress(done, params.max_steps, "steps", &metrics);
    }
}

fn stopped(context: &Context, step: u64, what: &str, rows: &[usize]) -> StageError {
    let kept = match latest_checkpoint(context.wip()) {
        Ok(Some(checkpoint)) => format!("checkpoint-{} is kept in {}", checkpoint.step, context.wip().display()),
        _ => "there is no checkpoint yet".into(),
    };
    StageError::failed(format!("step {}: {what}; prompt rows {rows:?}; {kept}. Lower `learning_rate`.", step + 1))
}
