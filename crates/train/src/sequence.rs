//! Supervised sequences: which tokens are learnt, documents that share a row, and the loss over them.

use burn::tensor::Tensor;
use gazal_lm::{Decoder, TokenBatch, Trainable, indices};

use crate::head;
use crate::noise::noisy;
use crate::{Gradients, Noise, layers};

/// A row to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    pub ids: Vec<u32>,
    /// Whether each token is to be predicted. Where a document begins, none is: nothing before it says what comes.
    learn: Vec<bool>,
    /// Where further documents begin that share the row.
    documents: Vec<usize>,
}

impl Sequence {
    /// Learns the ids from `learn_from` on.
    pub fn new(ids: Vec<u32>, learn_from: usize) -> Sequence {
        let learn = (0..ids.len()).map(|at| at >= learn_from).collect();
        Sequence::masked(ids, learn)
    }

    /// Learns the ids that `learn` marks, which has one mark for each.
    pub fn masked(ids: Vec<u32>, mut learn: Vec<bool>) -> Sequence {
        learn.resize(ids.len(), false);
        learn.iter_mut().take(1).for_each(|first| *first = false);
        Sequence { ids, learn, documents: Vec::new() }
    }

    /// One row of several documents, which do not see one another.
    pub fn packed<'a>(documents: impl IntoIterator<Item = &'a Sequence>) -> Sequence {
        let mut row = Sequence { ids: Vec::new(), learn: Vec::new(), documents: Vec::new() };
        for document in documents {
            let first = row.ids.len();
            row.documents.extend((first > 0).then_some(first));
            row.documents.extend(document.documents.iter().map(|start| first + start));
            row.ids.extend_from_slice(&document.ids);
            row.learn.extend_from_slice(&document.learn);
        }
        row
    }

    /// The first `length` ids, or all.
    #[must_use]
    pub fn cut(mut self, length: usize) -> Sequence {
        self.ids.truncate(length);
        self.learn.truncate(length);
        self.documents.retain(|&start| start < length);
        self
    }

    /// Ids from `from` to `to` of a row, as a row: a document that is cut in two goes on as one of its own.
    #[must_use]
    pub fn part(&self, from: usize, to: usize) -> Sequence {
        let mut part = Sequence::masked(self.ids[from..to].to_vec(), self.learn[from..to].to_vec());
        part.documents =
            self.documents.iter().filter(|&&start| start > from && start < to).map(|start| start - from).collect();
        part
    }

    /// The ids that are learnt.
    pub fn learnt(&self) -> impl Iterator<Item = u32> {
        self.ids.iter().zip(&self.learn).filter(|(_, learnt)| **learnt).map(|(&id, _)| id)
    }

    /// Number of targets.
    pub fn targets(&self) -> usize {
        self.learn.iter().filter(|&&learnt| learnt).count()
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
        let mut batch = TokenBatch::right_padded(&rows, pad);
        if sequences.iter().any(|sequence| !sequence.documents.is_empty()) {
            batch.documents = sequences.iter().map(|sequence| sequence.documents.clone()).collect();
        }
        let (mut positions, mut ids) = (Vec::new(), Vec::new());
        for (row, sequence) in sequences.iter().enumerate() {
            for at in (0..sequence.ids.len()).filter(|&at| sequence.learn[at]) {
                positions.push(row * batch.width + at - 1);
                ids.push(sequence.ids[at]);
            }
        }
        Targets { batch, positions, ids }
    }
}

/// What the loss of one step depends on besides the sequences.
#[derive(Clone, Copy, Debug)]
pub struct LossSettings {
    pub trainable: Trainable,
    pub pad: u32,
    /// Added to the embeddings, if any.
    pub noise: Option<Noise>,
    /// Keeps what goes into each layer only, and computes the rest a second time.
    pub gradient_checkpointing: bool,
}

impl LossSettings {
    pub fn new(trainable: Trainable, pad: u32) -> LossSettings {
        LossSettings { trainable, pad, noise: None, gradient_checkpointing: false }
    }
}

/// Loss and gradients of a window of micro-batches, summed in their order.
///
/// On the CPU the micro-batches run side by side, since most of a small model's operations do not split; the sums
/// do not depend on the number of threads.
pub fn window_gradients(
    decoder: &Decoder,
    micro_batches: &[&[&Sequence]],
    settings: &LossSettings,
) -> (f64, Gradients) {
    let targets = micro_batches.iter().flat_map(|rows| rows.iter()).map(|sequence| sequence.targets()).sum();
    let part = |rows: &&[&Sequence]| loss_and_gradients(decoder, rows, targets, settings);
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
    sequences: &[&Sequence],
    window_targets: usize,
    settings: &LossSettings,
) -> (f64, Gradients) {
    let (device, trainable) = (decoder.device(), settings.trainable);
    let Targets { batch, positions, ids } = Targets::new(sequences, settings.pad);
    let noise = settings.noise.map(|noise| noise.like(sequences, &batch, decoder.config.hidden_size));
    let with_noise = |embedded| match noise {
        Some(noise) => noisy(embedded, noise, &device),
        None => embedded,
    };
    let positions = indices(positions.into_iter(), &device);
    let slope = -1.0 / window_targets.max(1) as f64;
    let loss =
        |tracked: &Decoder, hidden: Tensor<2>| head::score(tracked, hidden.select(0, positions.clone()), &ids, slope);
    if settings.gradient_checkpointing {
        return layers::gradients(decoder, trainable, (&batch, with_noise(decoder.embed(&batch))), &loss);
    }
    let mut tracked = decoder.tracked(trainable);
    let scored = loss(&tracked, tracked.hidden_from(with_noise(tracked.embed(&batch)), &batch, None));
    let gradients = scored.surrogate.backward();
    (scored.value, Gradients::collect(&mut tracked, trainable, &gradients))
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
