//! Supervised sequences: which tokens are learnt, and the loss over them.

use gazal_lm::{Decoder, TokenBatch, Trainable};

use crate::Gradients;

/// Token ids of which those from `learn_from` on are targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    pub ids: Vec<u32>,
    /// At least 1: the first token has nothing before it to be predicted from.
    pub learn_from: usize,
}

impl Sequence {
    /// Number of targets.
    pub fn targets(&self) -> usize {
        self.ids.len().saturating_sub(self.learn_from.max(1))
    }
}

/// A batch of sequences with the flattened positions that predict, and what they should predict.
struct Targets {
    batch: TokenBatch,
    positions: Vec<usize>,
    ids: Vec<u32>,
}

impl Targets {
    fn new(sequences: &[&Sequence], pad: u32) -> Targets {
        let rows: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.ids.as_slice()).collect();
        let batch = TokenBatch::right_padded(&rows, pad);
        let (mut positions, mut ids) = (Vec::new(), Vec::new());
        for (row, sequence) in sequences.iter().enumerate() {
            for at in sequence.learn_from.max(1)..sequence.ids.len() {
                positions.push(row * batch.width + at - 1);
                ids.push(sequence.ids[at]);
            }
        }
        Targets { batch, positions, ids }
    }
}

/// Loss and gradients of a window of micro-batches, summed in their order.
///
/// On the CPU the micro-batches run side by side, since most of a small model's operations do not split; the sums
/// do not depend on the number of threads.
pub fn window_gradients(
    decoder: &Decoder,
    trainable: Trainable,
    micro_batches: &[&[&Sequence]],
    pad: u32,
) -> (f64, Gradients) {
    let targets = micro_batches.iter().flat_map(|rows| rows.iter()).map(|sequence| sequence.targets()).sum();
    let part = |rows: &&[&Sequence]| loss_and_gradients(decoder, trainable, rows, targets, pad);
    let mut sum = (0.0, Gradients::default());
    for (loss, gradients) in crate::side_by_side(decoder, micro_batches, part) {
        sum.0 += loss;
        sum.1.add(gradients);
    }
    sum
}

/// Cross-entropy of a micro-batch divided by the targets of the whole accumulation window, and its gradients; so the
/// sum over micro-batches does not depend on how the window is cut.
pub fn loss_and_gradients(
    decoder: &Decoder,
    trainable: Trainable,
    sequences: &[&Sequence],
    window_targets: usize,
    pad: u32,
) -> (f64, Gradients) {
    let targets = Targets::new(sequences, pad);
    let mut tracked = decoder.tracked(trainable);
    let log_probs = tracked.log_probs(&targets.batch, &targets.positions, &targets.ids, 1.0);
    let loss = log_probs.sum().neg().div_scalar(window_targets.max(1) as f64);
    let gradients = loss.backward();
    let value = gazal_lm::weights::to_host(loss.inner()).first().copied().unwrap_or(f32::NAN);
    (f64::from(value), Gradients::collect(&mut tracked, trainable, &gradients))
}

/// Mean cross-entropy per target, without gradients, `batch` sequences at a time.
pub fn mean_loss(decoder: &Decoder, sequences: &[Sequence], batch: usize, pad: u32) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for chunk in sequences.chunks(batch.max(1)) {
        let chunk: Vec<&Sequence> = chunk.iter().collect();
        let targets = Targets::new(&chunk, pad);
        let log_probs = decoder.log_probs(&targets.batch, &targets.positions, &targets.ids, 1.0);
        sum -= gazal_lm::weights::to_host(log_probs).into_iter().map(f64::from).sum::<f64>();
        count += targets.ids.len();
    }
    sum / count.max(1) as f64
}
