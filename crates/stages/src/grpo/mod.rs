//! `grpo`: group relative policy optimisation (arXiv:2402.03300) of an adapter, with rollouts from the same process
//! and the same weights.
//!
//! A step draws prompts, completes each `num_generations` times with the current policy, scores the completions with
//! TRL's rewards, and moves the adapter by the policy loss of its group-relative advantages. Departures from TRL: no
//! second set of weights (sampler and trainer are one, and their largest difference is a metric), micro-batches without
//! an advantage are left out of the forward and backward pass when neither a KL nor an entropy bonus needs them (their
//! gradient is zero), and prompts may be drawn until their completions differ (`filter_groups`).

mod filter;
mod params;
mod reference;
mod rollout;
mod step;

use gazal_data::Stream;
use gazal_lm::{AdapterConfig, Decoder, Tokenizer, Trainable, load_adapter, save_adapter};
use gazal_stage_api::{Context, Declared, InPort, Kind, Level, OutPort, PortType, Problem, StageError, Traits};
use gazal_train::{Optimizer, Snapshot, latest_checkpoint, save_checkpoint};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::rows::{Question, read_split};
use crate::supervised::rows_of_step;
use crate::{defaults, device};

pub use params::Params;

pub struct Grpo;

/// What a resume needs beside tensors, and what the history is made of.
#[derive(Default, Serialize, Deserialize)]
struct Progress {
    log_history: Vec<Map<String, Value>>,
    /// Batches of prompts drawn.
    draws: u64,
}

impl Kind for Grpo {
    type Params = Params;
    const NAME: &'static str = "grpo";
    const REVISION: u32 = 2;
    const DOC: &'static str = "Group relative policy optimisation of an adapter with checkable rewards.";
    const TRAITS: Traits = defaults::LEARNING;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::one("model", PortType::Model, "the base, frozen"),
            InPort::one("adapter", PortType::Adapter, "the stage-1 adapter: start of the policy, and its reference"),
            InPort::one("prompts", PortType::Dataset, "rows of `prompt` and `item`"),
        ]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("adapter", PortType::Adapter, "the trained policy, a PEFT folder"),
            OutPort::value("history", PortType::Files, "`trainer_state.json` with TRL's metrics"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        params.problems()
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let device = device::open(context)?;
        let folder = context.input("model")?.to_path_buf();
        let tokenizer = Tokenizer::load(&folder).map_err(StageError::failed)?;
        let mut policy = Decoder::load(&folder, &device).map_err(StageError::failed)?;
        let adapter: AdapterConfig =
            load_adapter(&mut policy, context.input("adapter")?).map_err(StageError::failed)?;
        let mut reference = reference::of(&params, &policy);
        let questions: Vec<Question> = read_split(&[context.input("prompts")?], "train")?;
        if questions.is_empty() {
            return Err(StageError::failed("the data set `prompts` has no rows in its split `train`"));
        }
        for warning in params.warnings() {
            context.say(Level::Warning, warning);
        }

        let mut optimizer = Optimizer::new(params.optimization().optim_config());
        let mut progress = Progress::default();
        let mut done = 0;
        if let Some(checkpoint) = latest_checkpoint(context.wip()).map_err(StageError::failed)? {
            checkpoint.restore(&mut policy, Trainable::Adapters, &mut optimizer).map_err(StageError::failed)?;
            if let Some(reference) = reference.as_mut().filter(|_| params.sync_ref_model) {
                checkpoint.restore_reference(reference, Trainable::Adapters).map_err(StageError::failed)?;
            }
            progress = serde_json::from_value(checkpoint.extra.clone()).map_err(StageError::failed)?;
            done = checkpoint.step;
            context.say(Level::Info, format!("resumed from step {done}"));
        }
        let order = Stream::new(context.seed, "prompt order");
        let sampling = Stream::new(context.seed, "sampling");
        let schedule = params.optimization().schedule(params.max_steps);
        // Several updates may share one generation; a checkpoint is only taken after the last of them.
        while done < params.max_steps {
            let generation = filter::generation(&params, progress.draws, |number| {
                let rows = rows_of_step(Some(&order), questions.len(), number, params.prompts_per_generation());
                let asked: Vec<&Question> = rows.iter().map(|&row| &questions[row]).collect();
                Ok((rows, rollout::generate(&policy, &tokenizer, &params, &asked, &sampling, number)?))
            })?;
            progress.draws += generation.draws;
            let models = step::Models { policy: &policy, reference: reference.as_ref(), pad: tokenizer.pad };
            let mut batch = step::Batch::new(&params, &generation.rollout, models);
            for index in 0..params.updates_per_generation() as usize {
                let step = step::Step { index, rate: schedule.rate(done) };
                let mut entry = step::update(&params, &mut policy, &mut optimizer, &mut batch, step)
                    .map_err(|what| stopped(context, done, &what, &generation.rows))?;
                done += 1;
                reference::follow(&params, reference.as_mut(), &policy, done);
                entry.insert("step".into(), json!(done));
                let new = if index == 0 { batch.all_tokens } else { 0 };
                entry.insert("num_tokens".into(), json!(tokens_so_far(&progress.log_history) + new));
                entry.extend(generation.metrics(&params));
                show(context, &params, &entry, done);
                progress.log_history.push(entry);
            }
            let cancelled = context.cancelled();
            let generations = done / params.updates_per_generation();
            if cancelled || (params.save_steps > 0 && (generations - 1).is_multiple_of(params.save_steps)) {
                let snapshot = Snapshot {
                    decoder: &policy,
                    trainable: Trainable::Adapters,
                    optimizer: &optimizer,
                    reference: reference.as_ref().filter(|_| params.sync_ref_model),
                    extra: &json!(progress),
                };
                save_checkpoint(context.wip(), &snapshot, params.save_total_limit).map_err(StageError::failed)?;
            }
            if cancelled {
                return Err(StageError::Cancelled);
            }
        }
        save_adapter(&policy, &adapter, context.output("adapter")?).map_err(StageError::failed)?;
        let path = context.output("history")?.join("trainer_state.json");
        let state = json!({ "global_step": done, "max_steps": params.max_steps, "log_history": progress.log_history });
        std::fs::write(&path, format!("{state:#}\n")).map_err(StageError::io(&path))
    }
}

/// Tokens of all completed steps.
fn tokens_so_far(history: &[Map<String, Value>]) -> usize {
    let last = history.last().and_then(|entry| entry.get("num_tokens")).and_then(Value::as_u64);
    last.unwrap_or(0) as usize
}

fn show(context: &mut Context, params: &Params, entry: &Map<String, Value>, done: u64) {
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
