//! The training loop: batches from anywhere in the text, an evaluation every few steps, exact resume.
//!
//! What is evaluated is drawn once, by the seed: trainings of one seed are evaluated on the same batches, each time. The
//! notebook draws others at each evaluation.

use gazal_data::Stream;
use gazal_lm::device::within;
use gazal_stage_api::{Context, StageError};
use gazal_train::{OptimConfig, Optimizer, Plateau, Schedule};
use serde::{Deserialize, Serialize};

use super::model::Network;
use super::text::{Batch, Text};
use crate::checkpoints::{Saving, finite, resume};

pub struct Settings {
    pub optim: OptimConfig,
    pub schedule: Schedule,
    /// Rows of a batch, and the characters of a row.
    pub batch: [usize; 2],
    /// Steps between evaluations; the last step is followed by one in any case.
    pub eval_steps: u64,
    /// Batches of each of the text's two parts.
    pub eval_batches: u64,
    /// Steps between progress reports.
    pub logging_steps: u64,
    pub saving: Saving,
}

/// An entry of the log: one evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub step: u64,
    /// The mean over the steps since the entry before, of the model as it was trained: with dropout, each batch before its
    /// step.
    pub loss: f64,
    /// Of the last of them.
    pub learning_rate: f64,
    /// Means without dropout: of text that is trained on, and of text that is held out.
    pub eval_train_loss: f64,
    pub eval_loss: f64,
}

/// What a resume needs beside tensors, and what the history is made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub log_history: Vec<Evaluation>,
    /// The sum since the last evaluation, and its steps.
    loss: f64,
    steps: u64,
    plateau: Option<Plateau>,
}

impl Progress {
    /// The evaluation with the lowest loss on held-out text, the first of several.
    pub fn best(&self) -> Option<&Evaluation> {
        self.log_history.iter().reduce(|best, one| if one.eval_loss < best.eval_loss { one } else { best })
    }
}

/// What is evaluated: batches of the text's two parts.
struct Evaluated([Vec<Batch>; 2]);

impl Evaluated {
    fn new(text: &Text, settings: &Settings, seed: u64) -> Evaluated {
        let parts = [("evaluation of the training", text.train()), ("evaluation", text.validation())];
        Evaluated(parts.map(|(purpose, part)| {
            let places = Stream::new(seed, purpose);
            (0..settings.eval_batches).map(|index| Batch::drawn(part, settings.batch, &places, index)).collect()
        }))
    }

    /// The mean losses of both parts.
    fn losses(&self, network: &Network) -> [f64; 2] {
        let loss = |batch: &Batch| within(network.device(), || network.evaluate(batch));
        self.0.each_ref().map(|batches| batches.iter().map(loss).sum::<f64>() / batches.len() as f64)
    }
}

/// Trains `network` in place.
///
/// # Errors
/// [`StageError::Cancelled`] after a checkpoint, and a loss that is no number.
pub fn fit(
    context: &mut Context,
    network: &mut Network,
    text: &Text,
    settings: &Settings,
) -> Result<Progress, StageError> {
    let device = network.device().clone();
    let [places, dropout] = ["batches", "dropout"].map(|purpose| Stream::new(context.seed, purpose));
    let evaluated = Evaluated::new(text, settings, context.seed);
    let mut optimizer = Optimizer::new(settings.optim);
    let mut progress = Progress { plateau: Plateau::new(&settings.schedule), ..Progress::default() };
    let mut step = 0;
    if let Some(resumed) = resume(context, (&mut optimizer, &device), |saved| network.restore(saved))? {
        (step, progress) = resumed;
    }
    while step < settings.schedule.total_steps {
        let batch = Batch::drawn(text.train(), settings.batch, &places, step);
        let (loss, gradients) = within(&device, || network.learn(&batch, |place| dropout.quick(step, place)));
        finite(loss, step + 1)?;
        let rate = progress.plateau.map_or_else(|| settings.schedule.rate(step), |plateau| plateau.rate);
        within(&device, || optimizer.step_vectors(network.vectors(), &gradients, rate));
        step += 1;
        (progress.loss, progress.steps) = (progress.loss + loss, progress.steps + 1);
        let is_last = step == settings.schedule.total_steps;
        if is_last || step.is_multiple_of(settings.eval_steps) {
            let losses = evaluated.losses(network);
            losses.iter().try_for_each(|loss| finite(*loss, step))?;
            close(&mut progress, settings, losses, (step, rate));
        }
        if is_last || step.is_multiple_of(settings.logging_steps) {
            show(context, settings, &progress, step, loss);
        }
        settings.saving.after(step, context, || network.named(), (&optimizer, &progress))?;
    }
    Ok(progress)
}

fn close(progress: &mut Progress, settings: &Settings, losses: [f64; 2], (step, learning_rate): (u64, f64)) {
    let [eval_train_loss, eval_loss] = losses;
    let loss = progress.loss / progress.steps as f64;
    if let Some(plateau) = &mut progress.plateau {
        plateau.observe(&settings.schedule, eval_loss);
    }
    progress.log_history.push(Evaluation { step, loss, learning_rate, eval_train_loss, eval_loss });
    (progress.loss, progress.steps) = (0.0, 0);
}

fn show(context: &mut Context, settings: &Settings, progress: &Progress, step: u64, loss: f64) {
    let mut metrics = vec![("loss", loss)];
    if let Some(last) = progress.log_history.last() {
        metrics.push(("eval_loss", last.eval_loss));
    }
    context.progress(step, settings.schedule.total_steps, "steps", &metrics);
}
