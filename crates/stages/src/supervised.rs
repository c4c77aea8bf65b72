//! The supervised loop that pre-training and SFT share: batches in a seeded order, accumulation normalised by the
//! targets of the window, clipping, a schedule, held-out loss with early stopping, exact resume.

use std::path::Path;

use gazal_data::Stream;
use gazal_lm::{AdapterConfig, Config, Decoder, Trainable};
use gazal_stage_api::{Context, Level, Precision, StageError};
use gazal_train::{
    Backward, Followers, Gradients, LossSettings, Noise, OptimConfig, Optimizer, Plateau, Schedule, Sequence, Snapshot,
    TokenMeans, latest_checkpoint, save_checkpoint,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::device;
use crate::history::History;
use crate::memory::{self, Lengths, Need, Training};

/// What the loop needs of a stage's parameters; fields as TRL names them.
pub struct Settings {
    pub trainable: Trainable,
    pub optim: OptimConfig,
    pub schedule: Schedule,
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    pub max_grad_norm: f64,
    /// Steps between progress reports; the history has every step.
    pub logging_steps: u64,
    pub save_steps: u64,
    pub save_total_limit: usize,
    /// 0 never evaluates.
    pub eval_steps: u64,
    /// Evaluations without a better held-out loss before the loop ends; 0 never ends it.
    pub early_stopping_patience: u64,
    /// How much lower a held-out loss must be to count as better.
    pub early_stopping_threshold: f64,
    pub train_sampling_strategy: SamplingStrategy,
    pub gradient_checkpointing: bool,
    pub neftune_noise_alpha: Option<f64>,
    pub pad: u32,
}

/// The order of the training rows, as transformers names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingStrategy {
    /// Another permutation each epoch.
    #[default]
    Random,
    /// As the data set has them: a curriculum.
    Sequential,
}

impl Settings {
    /// Sequences of one optimizer step.
    fn window(&self) -> usize {
        self.per_device_train_batch_size * self.gradient_accumulation_steps
    }

    /// How often so many steps went through so many rows.
    fn epochs(&self, steps: u64, rows: usize) -> f64 {
        steps as f64 * self.window() as f64 / rows.max(1) as f64
    }
}

/// An entry of the log, see [`History`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    pub step: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Means over the step's targets: of the distributions' entropies in nats, and of how many were the likeliest token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_token_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_entropy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_mean_token_accuracy: Option<f64>,
    pub num_tokens: u64,
    pub epoch: f64,
}

/// What a resume needs beside tensors, and what the history file is made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub log_history: Vec<Entry>,
    pub num_input_tokens_seen: u64,
    /// Lowest held-out loss and the step that reached it.
    pub best: Option<(f64, u64)>,
    /// Held-out evaluations since then.
    pub waited: u64,
    stopped: bool,
    /// Of `reduce_lr_on_plateau`.
    #[serde(default)]
    plateau: Option<Plateau>,
}

impl Progress {
    /// An entry of nothing but where it stands.
    fn entry(&self, step: u64, epoch: f64) -> Entry {
        Entry { step, epoch, num_tokens: self.num_input_tokens_seen, ..Entry::default() }
    }
}

/// Trains `decoder` in place; ends with the parameters of the lowest held-out loss where there is one.
///
/// # Errors
/// [`StageError::Cancelled`] after a checkpoint; a non-finite loss, with the step, the rows and the last checkpoint.
pub fn fit(
    context: &mut Context,
    decoder: &mut Decoder,
    train: &[Sequence],
    validation: &[Sequence],
    settings: &Settings,
) -> Result<Progress, StageError> {
    let trainable = settings.trainable;
    let others = device::others(context, settings.gradient_accumulation_steps)?;
    let order = match settings.train_sampling_strategy {
        SamplingStrategy::Random => Some(Stream::new(context.seed, "data order")),
        SamplingStrategy::Sequential => None,
    };
    let mut optimizer = Optimizer::new(settings.optim);
    let mut progress = Progress { plateau: Plateau::new(&settings.schedule), ..Progress::default() };
    let mut step = 0;
    if let Some(checkpoint) = latest_checkpoint(context.wip()).map_err(StageError::failed)? {
        checkpoint.restore(decoder, trainable, &mut optimizer).map_err(StageError::failed)?;
        progress = serde_json::from_value(checkpoint.extra.clone()).map_err(StageError::failed)?;
        step = checkpoint.step;
        context.say(Level::Info, format!("resumed from step {step}"));
    }
    let mut followers = Followers::new(decoder, &others);
    while step < settings.schedule.total_steps && !progress.stopped {
        let rows = rows_of_step(order.as_ref(), train.len(), step, settings.window());
        let noise = settings.neftune_noise_alpha.map(|alpha| Noise { alpha, seed: context.seed, step });
        let (means, mut gradients, tokens) = window_gradients((decoder, &followers), train, &rows, (settings, noise));
        let norm = gradients.clip(settings.max_grad_norm);
        if !means.loss.is_finite() || !norm.is_finite() {
            return Err(non_finite(context.wip(), step, means.loss, norm, &rows));
        }
        let rate = progress.plateau.map_or_else(|| settings.schedule.rate(step), |plateau| plateau.rate);
        optimizer.step(decoder, trainable, &gradients, rate);
        followers.follow(decoder, trainable);
        step += 1;
        progress.num_input_tokens_seen += tokens;
        let epoch = settings.epochs(step, train.len());
        progress.log_history.push(Entry {
            loss: Some(means.loss),
            grad_norm: Some(norm),
            learning_rate: Some(rate),
            entropy: Some(means.entropy),
            mean_token_accuracy: Some(means.accuracy),
            ..progress.entry(step, epoch)
        });
        let last = step == settings.schedule.total_steps;
        let evaluates = settings.eval_steps > 0 && !validation.is_empty();
        if evaluates && (last || step.is_multiple_of(settings.eval_steps)) {
            evaluate(context.wip(), decoder, validation, settings, &mut progress, (step, epoch))?;
        }
        if last || step.is_multiple_of(settings.logging_steps) {
            show(context, settings, &progress, step, means.loss);
        }
        let cancelled = context.cancelled();
        if cancelled || (settings.save_steps > 0 && step.is_multiple_of(settings.save_steps)) {
            let extra = json!(progress);
            let snapshot = Snapshot { decoder, trainable, optimizer: &optimizer, reference: None, extra: &extra };
            save_checkpoint(context.wip(), &snapshot, settings.save_total_limit).map_err(StageError::failed)?;
        }
        if cancelled {
            return Err(StageError::Cancelled);
        }
    }
    restore_best(context.wip(), decoder, trainable, &progress)?;
    Ok(progress)
}

/// The rows of a step: consecutive in the permutations of the epochs (or, without `order`, as they lie), so every row
/// comes once an epoch.
pub fn rows_of_step(order: Option<&Stream>, rows: usize, step: u64, window: usize) -> Vec<usize> {
    let first = step as usize * window;
    let mut epoch = usize::MAX;
    let mut permutation = Vec::new();
    let pick = |at: usize| {
        if at / rows != epoch {
            epoch = at / rows;
            permutation = order.map_or_else(|| (0..rows).collect(), |order| order.permutation(epoch as u64, rows));
        }
        permutation[at % rows]
    };
    (first..first + window).map(pick).collect()
}

/// Loss and gradients of a window, and its tokens. Rows of similar length share a micro-batch, which saves padding
/// and changes nothing else: the loss is normalised by the targets of the whole window.
fn window_gradients(
    decoders: (&Decoder, &Followers),
    train: &[Sequence],
    rows: &[usize],
    (settings, noise): (&Settings, Option<Noise>),
) -> (TokenMeans, Gradients, u64) {
    let mut sequences: Vec<&Sequence> = rows.iter().map(|&row| &train[row]).collect();
    sequences.sort_by_key(|sequence| sequence.ids.len());
    let tokens = sequences.iter().map(|sequence| sequence.ids.len() as u64).sum();
    let micro_batches: Vec<&[&Sequence]> = sequences.chunks(settings.per_device_train_batch_size).collect();
    let Settings { trainable, gradient_checkpointing, pad, .. } = *settings;
    let how = LossSettings { backward: Backward { trainable, gradient_checkpointing }, pad, noise };
    let (means, gradients) = gazal_train::window_gradients(decoders, &micro_batches, &how);
    (means, gradients, tokens)
}

/// Held-out loss; the parameters of the best one are kept in `wip/best.safetensors`.
fn evaluate(
    wip: &Path,
    decoder: &Decoder,
    validation: &[Sequence],
    settings: &Settings,
    progress: &mut Progress,
    (step, epoch): (u64, f64),
) -> Result<(), StageError> {
    let means = gazal_train::evaluate(decoder, validation, settings.per_device_train_batch_size, settings.pad);
    let loss = means.loss;
    progress.log_history.push(Entry {
        eval_loss: Some(loss),
        eval_entropy: Some(means.entropy),
        eval_mean_token_accuracy: Some(means.accuracy),
        ..progress.entry(step, epoch)
    });
    if let Some(plateau) = &mut progress.plateau {
        plateau.observe(&settings.schedule, loss);
    }
    let best = progress.best.map_or(f64::INFINITY, |(best, _)| best);
    let better = loss < best - settings.early_stopping_threshold;
    progress.waited = if better { 0 } else { progress.waited + 1 };
    let patience = settings.early_stopping_patience;
    progress.stopped = patience > 0 && progress.waited >= patience;
    if loss < best {
        progress.best = Some((loss, step));
        gazal_train::save_parameters(&wip.join("best.safetensors"), decoder, settings.trainable)
            .map_err(StageError::failed)?;
    }
    Ok(())
}

fn restore_best(
    wip: &Path,
    decoder: &mut Decoder,
    trainable: Trainable,
    progress: &Progress,
) -> Result<(), StageError> {
    if progress.best.is_some() {
        gazal_train::load_parameters(&wip.join("best.safetensors"), decoder, trainable).map_err(StageError::failed)?;
    }
    Ok(())
}

fn show(context: &mut Context, settings: &Settings, progress: &Progress, step: u64, loss: f64) {
    let mut metrics = vec![("loss", loss), ("tokens", progress.num_input_tokens_seen as f64)];
    if let Some((best, _)) = progress.best {
        metrics.push(("best_eval_loss", best));
    }
    context.progress(step, settings.schedule.total_steps, "steps", &metrics);
}

fn non_finite(wip: &Path, step: u64, loss: f64, norm: f64, rows: &[usize]) -> StageError {
    let kept = match latest_checkpoint(wip) {
        Ok(Some(checkpoint)) => format!("checkpoint-{} is kept in {}", checkpoint.step, wip.display()),
        _ => "there is no checkpoint yet".into(),
    };
    let shown: Vec<String> = rows.iter().take(16).map(ToString::to_string).collect();
    StageError::failed(format!(
        "step {}: the loss is {loss} and the gradient norm {norm}; training rows {}{}; {kept}. \
         Lower `learning_rate`, or look at these rows.",
        step + 1,
        shown.join(", "),
        if rows.len() > shown.len() { ", …" } else { "" },
    ))
}

/// Refuses, before any weight is read, what cannot fit into memory: of a model of this shape, or of an adapter of it, on
/// these rows.
///
/// # Errors
/// See [`memory::check`].
pub fn plan(
    context: &mut Context,
    (config, adapter): (&Config, Option<&AdapterConfig>),
    rows: &[Sequence],
    settings: &Settings,
) -> Result<(), StageError> {
    // Evaluations that may end the training early leave it at least as many steps.
    let patience = settings.early_stopping_patience.saturating_mul(settings.eval_steps);
    let steps = settings.schedule.total_steps.min(if patience > 0 { patience } else { u64::MAX });
    let drawn = steps.saturating_mul(settings.window() as u64);
    let targets = rows.iter().map(Sequence::targets).min().unwrap_or_default();
    let lengths = rows.iter().map(|row| row.ids.len());
    let lengths = Lengths::of(lengths, targets, usize::try_from(drawn).unwrap_or(usize::MAX));
    let at_once = device::at_once(context, settings.gradient_accumulation_steps);
    let precision = context.device.precision;
    let estimate = Training { at_once, ..training((config, adapter, precision), settings, lengths) }.estimate();
    memory::check(context, &Need { least: estimate.clone(), most: estimate })
}

/// The memory that [`plan`] will come to at least, in bytes, before rows and machine are known.
pub fn least_bytes(of: (&Config, Option<&AdapterConfig>, Precision), settings: &Settings, lengths: Lengths) -> u64 {
    training(of, settings, lengths).estimate().total()
}

/// Of micro-batches one after another.
fn training<'a>(
    (config, adapter, precision): (&'a Config, Option<&'a AdapterConfig>, Precision),
    settings: &Settings,
    lengths: Lengths,
) -> Training<'a> {
    Training {
        config,
        precision: device::kept_in(precision),
        adapter,
        optim: settings.optim.kind,
        per_device_train_batch_size: settings.per_device_train_batch_size,
        gradient_accumulation_steps: settings.gradient_accumulation_steps,
        gradient_checkpointing: settings.gradient_checkpointing,
        lengths,
        has_reference: false,
        at_once: 1,
    }
}

/// The record of a training on so many rows.
///
/// # Errors
/// Entries that are no JSON objects, of which there are none.
pub fn history(progress: &Progress, settings: &Settings, rows: usize) -> Result<History, StageError> {
    let log_history = serde_json::from_value(json!(progress.log_history)).map_err(StageError::failed)?;
    let steps = progress.log_history.last().map_or(0, |entry| entry.step);
    Ok(History {
        log_history,
        max_steps: settings.schedule.total_steps,
        train_batch_size: settings.per_device_train_batch_size,
        epoch: settings.epochs(steps, rows),
        num_input_tokens_seen: progress.num_input_tokens_seen,
        eval_steps: settings.eval_steps,
        best: progress.best,
        ..History::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of steps on three of seven.
    fn drawn(order: Option<&Stream>, steps: std::ops::Range<u64>) -> Vec<usize> {
        steps.flat_map(|step| rows_of_step(order, 7, step, 3)).collect()
    }

    #[test]
    fn every_epoch_has_every_row_once() {
        let all = drawn(Some(&Stream::new(1, "data order")), 0..14);
        let epochs: Vec<&[usize]> = all.chunks(7).collect();
        for epoch in &epochs {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..7).collect::<Vec<_>>());
        }
        assert!(epochs.windows(2).any(|pair| pair[0] != pair[1]), "every epoch has the same order: {epochs:?}");
        assert_ne!(all, drawn(Some(&Stream::new(2, "data order")), 0..14));
        assert_eq!(drawn(None, 0..7), (0..21).map(|at| at % 7).collect::<Vec<_>>());
    }

    /// From a later epoch than the first too, and from within one.
    #[test]
    fn i19_rows_after_a_resume_are_those_of_a_run_that_goes_on() {
        let whole = drawn(Some(&Stream::new(1, "data order")), 0..14);
        for done in 0..14_u64 {
            assert_eq!(drawn(Some(&Stream::new(1, "data order")), done..14), whole[3 * done as usize..]);
        }
    }
}
