//! What a model says of the targets of some positions, without gradients.

use burn::tensor::{Int, Tensor, TensorData};

use crate::weights::to_host;
use crate::{Config, Decoder, TokenBatch, device, indices};

/// Logits that exist at once, at most (256 MiB in float32), whatever the vocabulary.
const LOGITS: usize = 1 << 26;

/// Tokens to predict, and from where.
#[derive(Clone, Debug)]
pub struct Labels {
    pub batch: TokenBatch,
    /// Rows of the flattened batch that predict.
    pub positions: Vec<usize>,
    /// The token that each of them is to predict.
    pub ids: Vec<u32>,
}

/// One value a target, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Log-probabilities of the targets.
    pub log_probs: Vec<f32>,
    /// Of the whole distributions, in nats.
    pub entropies: Vec<f32>,
    /// Whether nothing was likelier than the target.
    pub hits: Vec<bool>,
}

impl Scores {
    /// Takes in those of further targets.
    pub fn extend(&mut self, other: Scores) {
        self.log_probs.extend(other.log_probs);
        self.entropies.extend(other.entropies);
        self.hits.extend(other.hits);
    }
}

impl Config {
    /// How many rows of logits may exist at once.
    pub fn rows_at_once(&self) -> usize {
        (LOGITS / self.vocab_size).max(1)
    }
}

impl Decoder {
    /// Scores of targets under a temperature. Logits are computed at their positions only, and for some of them at a time.
    pub fn score(&self, labels: &Labels, temperature: f64) -> Scores {
        let Labels { batch, positions, ids } = labels;
        let hidden = self.hidden(batch, None).select(0, indices(positions.iter().copied(), &self.device()));
        let rows = self.rows_at_once();
        let mut scores = Scores::default();
        for (index, ids) in ids.chunks(rows).enumerate() {
            let hidden = hidden.clone().narrow(0, index * rows, ids.len());
            scores.extend(self.distributions(hidden, ids, temperature).1);
        }
        scores
    }

    /// See [`Config::rows_at_once`].
    pub fn rows_at_once(&self) -> usize {
        self.config.rows_at_once()
    }

    /// Distributions `[n, vocab]` after `hidden` `[n, hidden]` under a temperature, and the scores of the `ids`
    /// that they are to predict. Neither has a graph, whether or not the model is tracked.
    pub fn distributions(&self, hidden: Tensor<2>, ids: &[u32], temperature: f64) -> (Tensor<2>, Scores) {
        let logits = self.head().untracked().product(hidden.inner());
        let logits = if temperature == 1.0 { logits } else { logits.div_scalar(temperature) };
        match device::is_cpu(&logits.device()) {
            true => on_host(logits, ids),
            false => on_device(logits, ids),
        }
    }
}

/// In the logits' own memory.
fn on_host(logits: Tensor<2>, ids: &[u32]) -> (Tensor<2>, Scores) {
    let ([rows, vocab], device) = (logits.dims(), logits.device());
    let mut values = to_host(logits);
    let chosen: Vec<f32> = values.chunks_exact(vocab).zip(ids).map(|(row, &id)| row[id as usize]).collect();
    let mut scores = Scores::default();
    for (chosen, row) in chosen.into_iter().zip(gazal_kernels::softmax(&mut values, vocab)) {
        scores.log_probs.push(chosen - row.log_sum);
        scores.entropies.push(row.entropy);
        scores.hits.push(chosen >= row.largest);
    }
    (Tensor::from_data(TensorData::new(values, [rows, vocab]), &device), scores)
}

fn on_device(logits: Tensor<2>, ids: &[u32]) -> (Tensor<2>, Scores) {
    let ids: Tensor<1, Int> = indices(ids.iter().map(|&id| id as usize), &logits.device());
    let below = logits.clone() - logits.max_dim(1);
    let chosen = below.clone().gather(1, ids.unsqueeze_dim(1));
    let weights = below.clone().exp();
    let sums = weights.clone().sum_dim(1);
    let weighted = (weights.clone() * below).sum_dim(1);
    let entropies = sums.clone().log() - weighted / sums.clone();
    let log_probs = to_host(chosen.clone() - sums.clone().log());
    let hits = to_host(chosen).into_iter().map(|chosen| chosen >= 0.0).collect();
    (weights / sums, Scores { log_probs, entropies: to_host(entropies), hits })
}
