//! Losses over the vocabulary, a few rows at a time and with a backward pass of their own.
//!
//! Of `n` hidden states and a vocabulary of `V`, autodiff would keep several tensors `[n, V]` until the backward pass. But
//! with the softmax `p` of the logits `Wh / T`, the gradients of `log p_y` and of the entropy `H = −Σ_v p_v log p_v` with
//! respect to the logits are known: `1_y − p` and `−p (log p + H)`. So what goes to `h` and `W` is computed at once for
//! some rows, their `[rows, V]` let go of, and the graph below is given it through a surrogate whose gradient it is:
//! `Σ h · sg[∂L/∂h]`.

use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use gazal_lm::{Decoder, Scores, indices, product};

/// A loss of scores by its derivatives: of the log-probability of each target, and of the entropy if it is part of it.
#[derive(Clone, Debug, Default)]
pub struct Slopes {
    pub log_probs: Vec<f64>,
    pub entropies: Option<Vec<f64>>,
}

/// Scores of targets, and a scalar with the gradient of a loss of them.
pub(crate) struct Scored {
    pub scores: Scores,
    pub surrogate: Tensor<1>,
}

/// Targets after hidden states, and the way back from them.
pub(crate) struct Head<'a> {
    decoder: &'a Decoder,
    /// `[n, hidden]`, tracked.
    hidden: Tensor<2>,
    targets: &'a [u32],
    temperature: f64,
    /// Rows of logits that exist at once.
    rows: usize,
    /// `∂L/∂h` of the parts so far, and `∂L/∂W` where the head trains.
    toward_hidden: Vec<Tensor<2>>,
    toward_head: Option<Tensor<2>>,
}

impl<'a> Head<'a> {
    /// Of a tracked model.
    pub fn new(decoder: &'a Decoder, hidden: Tensor<2>, targets: &'a [u32]) -> Head<'a> {
        let rows = decoder.rows_at_once();
        Head { decoder, hidden, targets, temperature: 1.0, rows, toward_hidden: Vec::new(), toward_head: None }
    }

    pub fn at(self, temperature: f64) -> Head<'a> {
        Head { temperature, ..self }
    }

    #[cfg(test)]
    pub fn rows_at_once(self, rows: usize) -> Head<'a> {
        Head { rows, ..self }
    }

    /// A loss that is `slope` times the sum of the log-probabilities.
    pub fn linear(mut self, slope: f64) -> Scored {
        let mut scores = Scores::default();
        for from in (0..self.targets.len()).step_by(self.rows) {
            let (distributions, part) = self.part(from);
            let slopes = Slopes { log_probs: vec![slope; part.log_probs.len()], entropies: None };
            self.learn(from, distributions, &slopes);
            scores.extend(part);
        }
        Scored { scores, surrogate: self.surrogate() }
    }

    /// A loss that depends on the scores in any way. What does not fit at once is computed a second time, since no slope is
    /// known before all scores are.
    pub fn any(mut self, slopes: impl FnOnce(&Scores) -> Slopes) -> Scored {
        let (mut scores, mut kept) = (Scores::default(), None);
        for from in (0..self.targets.len()).step_by(self.rows) {
            let (distributions, part) = self.part(from);
            scores.extend(part);
            kept = (self.targets.len() <= self.rows).then_some(distributions);
        }
        let slopes = slopes(&scores);
        for from in (0..self.targets.len()).step_by(self.rows) {
            let distributions = kept.take().unwrap_or_else(|| self.part(from).0);
            let own = from..self.targets.len().min(from + self.rows);
            let log_probs = slopes.log_probs[own.clone()].to_vec();
            let entropies = slopes.entropies.as_ref().map(|slopes| slopes[own.clone()].to_vec());
            self.learn(from, distributions, &Slopes { log_probs, entropies });
        }
        Scored { scores, surrogate: self.surrogate() }
    }

    fn targets_from(&self, from: usize) -> &'a [u32] {
        &self.targets[from..self.targets.len().min(from + self.rows)]
    }

    fn states(&self, from: usize) -> Tensor<2> {
        self.hidden.clone().inner().narrow(0, from, self.targets_from(from).len())
    }

    /// Distributions and scores of the rows from there.
    fn part(&self, from: usize) -> (Tensor<2>, Scores) {
        self.decoder.distributions(self.states(from), self.targets_from(from), self.temperature)
    }

    /// What the slopes of the rows from there are for their hidden states and the head.
    fn learn(&mut self, from: usize, distributions: Tensor<2>, slopes: &Slopes) {
        let (head, states) = (self.decoder.head().untracked(), self.states(from));
        let device = states.device();
        let column = |slopes: &[f64]| {
            let slopes: Vec<f32> = slopes.iter().map(|slope| (slope / self.temperature) as f32).collect();
            let count = slopes.len();
            Tensor::<2>::from_data(TensorData::new(slopes, [count, 1]), &device)
        };
        let slope = column(&slopes.log_probs);
        let missed = head.rows(self.targets_from(from)) - head.product_back(distributions.clone());
        let mut toward_hidden = missed * slope.clone();
        let bonus = slopes.entropies.as_ref().map(|slopes| (unlikeliness(&distributions), column(slopes)));
        if let Some((unlikely, slope)) = &bonus {
            toward_hidden = toward_hidden - head.product_back(unlikely.clone()) * slope.clone();
        }
        self.toward_hidden.push(toward_hidden);
        if !self.decoder.head().is_trained() {
            return;
        }
        let ids = indices(self.targets_from(from).iter().map(|&id| id as usize), &device);
        let weighted = states.clone() * slope;
        let mut toward_head = product([distributions, weighted.clone()], [true, false]).neg();
        toward_head = toward_head.select_assign(0, ids, weighted, IndexingUpdateOp::Add);
        if let Some((unlikely, slope)) = bonus {
            toward_head = toward_head - product([unlikely, states * slope], [true, false]);
        }
        self.toward_head = Some(match self.toward_head.take() {
            Some(sum) => sum + toward_head,
            None => toward_head,
        });
    }

    fn surrogate(self) -> Tensor<1> {
        let surrogate = match self.toward_hidden.is_empty() {
            true => self.hidden.sum().mul_scalar(0.0),
            false => (self.hidden * Tensor::cat(self.toward_hidden, 0).autodiff()).sum(),
        };
        match self.toward_head {
            Some(gradient) => surrogate + (self.decoder.head().tensor() * gradient.autodiff()).sum(),
            None => surrogate,
        }
    }
}

/// `p (log p + H)` of distributions `[n, vocab]`.
fn unlikeliness(distributions: &Tensor<2>) -> Tensor<2> {
    // What is less likely than this adds nothing that float32 could tell from 0, and has a logarithm.
    let log_probs = distributions.clone().clamp_min(1e-30).log();
    let entropies = (distributions.clone() * log_probs.clone()).sum_dim(1).neg();
    distributions.clone() * (log_probs + entropies)
}
