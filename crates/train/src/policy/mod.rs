//! Policy losses of GRPO (arXiv:2402.03300), DAPO (2503.14476), Dr. GRPO (2503.20783), GSPO (2507.18071), CISPO
//! (2506.13585) and LUSPO, with TRL's normalisers.
//!
//! Everything here is a few numbers per token, so it is done on the host in float64 with its gradient written out:
//! [`policy_loss`] gives `∂loss/∂log π` and `∂loss/∂H` for every token, and a trainer chains them to the model by the
//! surrogate `Σ log π · sg[∂loss/∂log π] + Σ H · sg[∂loss/∂H]`, which has the same gradient.

mod advantages;
mod config;
mod entropy;
mod kl;
mod metrics;
mod surrogate;
#[cfg(test)]
mod tests;

pub use advantages::{AdvantageConfig, advantages, deviation, mean, totals};
pub use config::{ImportanceSampling, KlEstimator, LossType, MultiObjectiveAggregation, PolicyConfig, ScaleRewards};
pub use metrics::PolicyMetrics;

/// Rows of equal width, row-major; `mask` is true on completion tokens up to and including the eos.
#[derive(Clone, Copy)]
pub struct PolicyBatch<'a> {
    pub width: usize,
    pub log_probs: &'a [f64],
    pub old_log_probs: &'a [f64],
    /// Needed unless `beta` is 0.
    pub reference_log_probs: Option<&'a [f64]>,
    /// Of the policy's distributions, in nats; needed by `entropy_coef` and `top_entropy_quantile`.
    pub entropies: Option<&'a [f64]>,
    /// Constant factors of the tokens' surrogates, which correct for tokens that another policy sampled.
    pub importance_weights: Option<&'a [f64]>,
    pub mask: &'a [bool],
    /// One per row.
    pub advantages: &'a [f64],
}

/// What a micro-batch must know of the optimizer step that it is part of.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Micro-batches in the step (`gradient_accumulation_steps`).
    pub accumulation: usize,
    /// Completion tokens in the step; of a generation that several steps share, their mean.
    pub tokens: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyLoss {
    /// With the entropy bonus.
    pub loss: f64,
    /// What the entropy bonus took off the loss.
    pub bonus: f64,
    /// `∂loss/∂log_probs`, zero outside the mask.
    pub gradient: Vec<f64>,
    /// `∂loss/∂entropies`, zero outside the mask and without a bonus.
    pub entropy_gradient: Vec<f64>,
    pub metrics: PolicyMetrics,
}

/// A micro-batch as its parts see it.
struct Scope<'a> {
    config: &'a PolicyConfig,
    batch: &'a PolicyBatch<'a>,
    window: Window,
    /// Which tokens the surrogate learns from.
    kept: Vec<bool>,
}

/// A completion inside a batch.
struct Row<'a> {
    /// Its tokens' places in the batch.
    cells: &'a [usize],
    /// Of each of its tokens.
    ratios: Vec<surrogate::Ratio>,
    advantage: f64,
    /// What a token's loss is multiplied by.
    weight: f64,
}

/// The loss of a micro-batch and its gradient with respect to the log-probs and entropies.
pub fn policy_loss(config: &PolicyConfig, batch: &PolicyBatch, window: Window) -> PolicyLoss {
    let count = batch.log_probs.len();
    let mut out =
        PolicyLoss { gradient: vec![0.0; count], entropy_gradient: vec![0.0; count], ..PolicyLoss::default() };
    let rows: Vec<Vec<usize>> = (0..batch.advantages.len()).map(|row| cells(batch, row)).collect();
    let tokens = rows.iter().map(Vec::len).sum::<usize>().max(1);
    let scope = Scope { config, batch, window, kept: entropy::kept(config, batch) };
    for (cells, &advantage) in rows.iter().zip(batch.advantages) {
        let weight = weight(config, window, [rows.len(), cells.len(), tokens]);
        let row = Row { cells, ratios: surrogate::ratios(config, batch, cells), advantage, weight };
        surrogate::add(&scope, &row, &mut out);
        kl::add(&scope, &row, &mut out);
    }
    entropy::add(&scope, &mut out);
    out
}

fn cells(batch: &PolicyBatch, row: usize) -> Vec<usize> {
    (row * batch.width..(row + 1) * batch.width).filter(|&cell| batch.mask[cell]).collect()
}

/// What a token's loss is multiplied by, in a micro-batch of so many rows and tokens and a row of such a length.
fn weight(config: &PolicyConfig, window: Window, [rows, length, tokens]: [usize; 3]) -> f64 {
    let accumulation = window.accumulation as f64;
    match config.loss_type {
        LossType::Grpo => 1.0 / (rows as f64 * length.max(1) as f64 * accumulation),
        LossType::Bnpo => 1.0 / (tokens as f64 * accumulation),
        LossType::DrGrpo => 1.0 / (rows as f64 * config.max_completion_length as f64 * accumulation),
        LossType::Dapo | LossType::Cispo => 1.0 / window.tokens.max(1.0),
        LossType::Luspo => 1.0 / (rows as f64 * accumulation),
    }
}
