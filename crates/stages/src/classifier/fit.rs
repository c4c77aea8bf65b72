//! The training loop: epochs in a seeded order, a held-out loss after each, exact resume.

use gazal_data::Stream;
use gazal_lm::device::within;
use gazal_stage_api::{Context, StageError};
use gazal_train::{OptimConfig, Optimizer, Plateau, Schedule};
use serde::{Deserialize, Serialize};

use super::augmentation::{Augmentation, shown};
use super::images::Images;
use super::model::{Batch, Network, Scored, score};
use crate::checkpoints::{Saving, finite, resume};

/// Images that are evaluated at a time.
const AT_ONCE: usize = 500;

pub struct Settings {
    pub optim: OptimConfig,
    pub schedule: Schedule,
    pub per_device_train_batch_size: usize,
    pub augmentation: Vec<Augmentation>,
    /// Whether the images to validate on are augmented too, each time anew.
    pub augments_validation: bool,
    /// Steps between progress reports.
    pub logging_steps: u64,
    pub saving: Saving,
}

/// Which images are trained on, and which validated on.
pub struct Split<'a> {
    pub images: &'a Images,
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
}

impl<'a> Split<'a> {
    /// Holds `validation` images out, drawn by the seed.
    pub fn new(images: &'a Images, validation: usize, seed: u64) -> Split<'a> {
        let mut order = Stream::new(seed, "validation split").permutation(0, images.len());
        let train = order.split_off(validation.min(images.len()));
        Split { images, train, validation: order }
    }
}

/// An entry of the log: one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    pub step: u64,
    pub epoch: f64,
    /// Means over the epoch, of the network as it was trained: with dropout, each batch before its step.
    pub loss: f64,
    pub accuracy: f64,
    /// Of the epoch's last step.
    pub learning_rate: f64,
    pub eval_loss: f64,
    pub eval_accuracy: f64,
}

/// What a resume needs beside tensors, and what the history is made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub log_history: Vec<Epoch>,
    /// Of the epoch that has begun.
    loss: f64,
    correct: usize,
    shown: usize,
    plateau: Option<Plateau>,
}

impl Progress {
    fn add(&mut self, scored: Scored, images: usize) {
        self.loss += scored.loss;
        self.correct += scored.correct;
        self.shown += images;
    }

    /// The epoch with the highest accuracy on held-out images, the first of several.
    pub fn best(&self) -> Option<&Epoch> {
        self.log_history
            .iter()
            .reduce(|best, epoch| if epoch.eval_accuracy > best.eval_accuracy { epoch } else { best })
    }
}

/// Trains `network` in place.
///
/// # Errors
/// [`StageError::Cancelled`] after a checkpoint, and a loss that is no number.
pub fn fit(
    context: &mut Context,
    network: &mut Network,
    split: &Split,
    settings: &Settings,
) -> Result<Progress, StageError> {
    let device = network.device().clone();
    let [order, augmentation, dropout] =
        ["data order", "augmentation", "dropout"].map(|purpose| Stream::new(context.seed, purpose));
    let mut optimizer = Optimizer::new(settings.optim);
    let mut progress = Progress { plateau: Plateau::new(&settings.schedule), ..Progress::default() };
    let mut step = 0;
    if let Some(resumed) = resume(context, (&mut optimizer, &device), |saved| network.restore(saved))? {
        (step, progress) = resumed;
    }
    let steps = steps_of_epoch(split.train.len(), settings.per_device_train_batch_size);
    let mut places = Vec::new();
    while step < settings.schedule.total_steps {
        let epoch = step / steps;
        if places.is_empty() || step.is_multiple_of(steps) {
            places = order.permutation(epoch, split.train.len());
        }
        let first = (step % steps) as usize * settings.per_device_train_batch_size;
        let shown = places.iter().skip(first).take(settings.per_device_train_batch_size);
        let rows: Vec<usize> = shown.map(|&place| split.train[place]).collect();
        let batch = batch(split.images, &rows, Some((&settings.augmentation, &augmentation, epoch)));
        let (scored, gradients) = within(&device, || network.learn(&batch, |layer| dropout.quick(step, layer)));
        finite(scored.loss, step + 1)?;
        let rate = progress.plateau.map_or_else(|| settings.schedule.rate(step), |plateau| plateau.rate);
        within(&device, || optimizer.step_vectors(network.vectors(), &gradients, rate));
        step += 1;
        progress.add(scored, rows.len());
        if step.is_multiple_of(steps) {
            close_epoch(&mut progress, network, split, settings, (context.seed, step, rate));
        }
        if step == settings.schedule.total_steps || step.is_multiple_of(settings.logging_steps) {
            show(context, settings, &progress, step, scored.loss / rows.len() as f64);
        }
        settings.saving.after(step, context, || network.named(), (&optimizer, &progress))?;
    }
    Ok(progress)
}

/// Batches of an epoch; the last one may be smaller.
pub fn steps_of_epoch(images: usize, batch: usize) -> u64 {
    images.div_ceil(batch.max(1)).max(1) as u64
}

fn batch(images: &Images, rows: &[usize], augmented: Option<(&[Augmentation], &Stream, u64)>) -> Batch {
    Batch { pixels: shown(images, rows, augmented), labels: rows.iter().map(|&row| images.label(row)).collect() }
}

/// The log-likelihoods of every image's classes, and what they come to.
pub fn evaluate(
    network: &Network,
    images: &Images,
    rows: &[usize],
    augmented: Option<(&[Augmentation], &Stream, u64)>,
) -> (Vec<f32>, Scored) {
    let (mut all, mut scored) = (Vec::new(), Scored::default());
    for rows in rows.chunks(AT_ONCE) {
        let batch = batch(images, rows, augmented);
        let likelihoods = within(network.device(), || network.evaluate(&batch));
        let Scored { loss, correct } = score(&likelihoods, images.description.classes, &batch.labels);
        scored = Scored { loss: scored.loss + loss, correct: scored.correct + correct };
        all.extend(likelihoods);
    }
    (all, scored)
}

fn close_epoch(
    progress: &mut Progress,
    network: &Network,
    split: &Split,
    settings: &Settings,
    (seed, step, learning_rate): (u64, u64, f64),
) {
    let numbers = Stream::new(seed, "augmentation of the validation");
    let epoch = progress.log_history.len() as u64;
    let augmented = settings.augments_validation.then_some((settings.augmentation.as_slice(), &numbers, epoch));
    let (_, held_out) = evaluate(network, split.images, &split.validation, augmented);
    let (shown, validated) = (progress.shown as f64, split.validation.len() as f64);
    let closed = Epoch {
        step,
        epoch: (epoch + 1) as f64,
        loss: progress.loss / shown,
        accuracy: progress.correct as f64 / shown,
        learning_rate,
        eval_loss: held_out.loss / validated,
        eval_accuracy: held_out.correct as f64 / validated,
    };
    if let Some(plateau) = &mut progress.plateau {
        plateau.observe(&settings.schedule, closed.eval_loss);
    }
    progress.log_history.push(closed);
    (progress.loss, progress.correct, progress.shown) = (0.0, 0, 0);
}

fn show(context: &mut Context, settings: &Settings, progress: &Progress, step: u64, loss: f64) {
    let mut metrics = vec![("loss", loss)];
    if let Some(last) = progress.log_history.last() {
        metrics.push(("eval_accuracy", last.eval_accuracy));
    }
    context.progress(step, settings.schedule.total_steps, "steps", &metrics);
}
