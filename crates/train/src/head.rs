//! The loss over the vocabulary, a few rows at a time and with its own backward pass.
//!
//! Of `n` hidden states and a vocabulary of `V`, autodiff would keep several tensors `[n, V]` until the backward pass. But
//! the gradient of `log p(y|h) = (Wh)_y − log Σ_v exp (Wh)_v` is known as soon as the softmax `p` is:
//! `∂/∂h = W_y − Wᵀp` and `∂/∂W = (1_y − p)hᵀ`. So both are computed at once for some rows, their `[rows, V]` let go of,
//! and the graph below is given the gradient through a surrogate whose gradient it is: `Σ h · sg[∂L/∂h]`.

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use gazal_lm::weights::to_host;
use gazal_lm::{Decoder, Weight, device, indices};

/// Logits that exist at once, at most (256 MiB in float32), whatever the vocabulary.
const LOGITS: usize = 1 << 26;

/// A loss that is linear in the log-probabilities of targets.
pub(crate) struct Scored {
    /// `slope · Σ log p`.
    pub value: f64,
    /// A scalar with the gradient of the loss.
    pub surrogate: Tensor<1>,
}

/// `slope` times the sum of the log-probabilities of `targets` after `hidden` `[n, hidden]`, which is tracked.
pub(crate) fn score(decoder: &Decoder, hidden: Tensor<2>, targets: &[u32], slope: f64) -> Scored {
    let rows = LOGITS / decoder.config.vocab_size;
    score_by(decoder, hidden, targets, (slope, rows.max(1)))
}

/// [`score`], so many rows at a time.
pub(crate) fn score_by(decoder: &Decoder, hidden: Tensor<2>, targets: &[u32], (slope, rows): (f64, usize)) -> Scored {
    let head = Head::of(decoder.head());
    let states = hidden.clone().inner();
    let (mut value, mut toward_hidden, mut toward_head) = (0.0, Vec::new(), None);
    for (index, targets) in targets.chunks(rows).enumerate() {
        let states = states.clone().narrow(0, index * rows, targets.len());
        let part = head.part(states, targets, slope);
        value += slope * part.log_probs;
        toward_hidden.push(part.toward_hidden);
        toward_head = match (toward_head, part.toward_head) {
            (Some(sum), Some(more)) => Some(sum + more),
            (sum, more) => more.or(sum),
        };
    }
    let mut surrogate = match toward_hidden.is_empty() {
        true => hidden.sum().mul_scalar(0.0),
        false => (hidden * Tensor::cat(toward_hidden, 0).autodiff()).sum(),
    };
    if let (Some(tracked), Some(gradient)) = (head.tracked, toward_head) {
        surrogate = surrogate + (tracked * gradient.autodiff()).sum();
    }
    Scored { value, surrogate }
}

struct Head {
    /// `[vocab, hidden]`.
    plain: Tensor<2>,
    /// The same under autodiff, where it trains.
    tracked: Option<Tensor<2>>,
}

/// What some rows give.
struct Part {
    /// Sum of the log-probabilities.
    log_probs: f64,
    /// `[rows, hidden]`.
    toward_hidden: Tensor<2>,
    /// `[vocab, hidden]`.
    toward_head: Option<Tensor<2>>,
}

impl Head {
    fn of(weight: &Weight) -> Head {
        let tensor = weight.tensor();
        let trains = tensor.is_autodiff() && tensor.is_require_grad();
        Head { plain: tensor.clone().inner(), tracked: trains.then_some(tensor) }
    }

    fn part(&self, states: Tensor<2>, targets: &[u32], slope: f64) -> Part {
        let device = states.device();
        let ids: Tensor<1, Int> = indices(targets.iter().map(|&id| id as usize), &device);
        let logits = states.clone().matmul(self.plain.clone().transpose());
        let (softmax, log_probs) = match device::is_cpu(&device) {
            true => softmax_on_host(logits, targets),
            false => softmax(logits, ids.clone()),
        };
        let toward_hidden =
            (self.plain.clone().select(0, ids.clone()) - softmax.clone().matmul(self.plain.clone())).mul_scalar(slope);
        let toward_head = self.tracked.is_some().then(|| {
            let missed = softmax.transpose().matmul(states.clone()).neg();
            missed.select_assign(0, ids, states, IndexingUpdateOp::Add).mul_scalar(slope)
        });
        Part { log_probs, toward_hidden, toward_head }
    }
}

/// Softmax of `logits` `[n, vocab]`, and the sum of the targets' log-probabilities.
fn softmax(logits: Tensor<2>, targets: Tensor<1, Int>) -> (Tensor<2>, f64) {
    let logits = logits.clone() - logits.max_dim(1);
    let chosen = logits.clone().gather(1, targets.unsqueeze_dim(1));
    let weights = logits.exp();
    let sums = weights.clone().sum_dim(1);
    let log_probs = to_host(chosen - sums.clone().log()).into_iter().map(f64::from).sum();
    (weights / sums, log_probs)
}

/// [`softmax`] in the logits' own memory.
fn softmax_on_host(logits: Tensor<2>, targets: &[u32]) -> (Tensor<2>, f64) {
    let ([rows, vocab], device) = (logits.dims(), logits.device());
    let mut values = to_host(logits);
    let chosen = values.chunks_exact(vocab).zip(targets).map(|(row, &id)| f64::from(row[id as usize]));
    let chosen: f64 = chosen.sum();
    let sums = gazal_kernels::softmax(&mut values, vocab).into_iter().map(f64::from).sum::<f64>();
    (Tensor::from_data(TensorData::new(values, [rows, vocab]), &device), chosen - sums)
}
