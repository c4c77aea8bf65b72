//! Supervised sequences: which tokens are learnt, documents that share a row, and the loss over them.

use gazal_lm::{Decoder, Labels, Scores, TokenBatch, Trainable};

use crate::{Backward, Followers, Gradients, Noise};

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

/// What some sequences are to learn, as a batch.
fn labels(sequences: &[&Sequence], pad: u32) -> Labels {
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
    Labels { batch, positions, ids }
}

/// What the loss of one step depends on besides the sequences.
#[derive(Clone, Copy, Debug)]
pub struct LossSettings {
    pub backward: Backward,
    pub pad: u32,
    /// Added to the embeddings, if any.
    pub noise: Option<Noise>,
}

impl LossSettings {
    pub fn new(trainable: Trainable, pad: u32) -> LossSettings {
        LossSettings { backward: Backward { trainable, gradient_checkpointing: false }, pad, noise: None }
    }
}

/// Means over the targets of an accumulation window, or what a micro-batch adds to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenMeans {
    /// Cross-entropy in nats.
    pub loss: f64,
    /// Of the model's distributions, in nats.
    pub entropy: f64,
    /// Share of the targets that were likeliest.
    pub accuracy: f64,
}

impl TokenMeans {
    fn new(scores: &Scores, targets: usize) -> TokenMeans {
        let mean = |values: &[f32]| values.iter().copied().map(f64::from).sum::<f64>() / targets as f64;
        let hits = scores.hits.iter().filter(|hit| **hit).count();
        let accuracy = hits as f64 / targets as f64;
        TokenMeans { loss: -mean(&scores.log_probs), entropy: mean(&scores.entropies), accuracy }
    }

    fn add(&mut self, other: TokenMeans) {
        self.loss += other.loss;
        self.entropy += other.entropy;
        self.accuracy += other.accuracy;
    }
}

/// Means and gradients of a window of micro-batches, summed in their order.
///
/// On the CPU the micro-batches run side by side, since most of a small model's operations do not split; the sums
/// do not depend on the number of threads.
pub fn window_gradients(
    (decoder, followers): (&Decoder, &Followers),
    micro_batches: &[&[&Sequence]],
    settings: &LossSettings,
) -> (TokenMeans, Gradients) {
    let targets = micro_batches.iter().flat_map(|rows| rows.iter()).map(|sequence| sequence.targets()).sum();
    let part = |decoder: &Decoder, rows: &&[&Sequence]| loss_and_gradients(decoder, rows, targets, settings);
    let (parts, gradients) = followers.gradients(decoder, micro_batches, part);
    let mut means = TokenMeans::default();
    parts.into_iter().for_each(|part| means.add(part));
    (means, gradients)
}

/// Cross-entropy of a micro-batch divided by the targets of the whole accumulation window, and its gradients; so the
/// sum over micro-batches does not depend on how the window is cut.
pub fn loss_and_gradients(
    decoder: &Decoder,
    sequences: &[&Sequence],
    window_targets: usize,
    settings: &LossSettings,
) -> (TokenMeans, Gradients) {
    let (own, all) = (labels(sequences, settings.pad), window_targets.max(1));
    let noise = settings.noise.map(|noise| noise.tensor(sequences, &own.batch, decoder));
    let (scores, gradients) = settings.backward.through(decoder, &own, noise, |head| head.linear(-1.0 / all as f64));
    (TokenMeans::new(&scores, all), gradients)
}

/// Means over all targets, without gradients, `batch` sequences at a time.
pub fn evaluate(decoder: &Decoder, sequences: &[Sequence], batch: usize, pad: u32) -> TokenMeans {
    let all = sequences.iter().map(Sequence::targets).sum::<usize>().max(1);
    let chunks: Vec<&[Sequence]> = sequences.chunks(batch.max(1)).collect();
    let means = crate::side_by_side(decoder, &chunks, |chunk| {
        let chunk: Vec<&Sequence> = chunk.iter().collect();
        TokenMeans::new(&decoder.score(&labels(&chunk, pad), 1.0), all)
    });
    let mut sum = TokenMeans::default();
    means.into_iter().for_each(|means| sum.add(means));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In one row or in two, the same tokens are predicted, each from the one before it in its document.
    #[test]
    fn targets_of_packed_documents_are_those_of_the_documents() {
        let [one, two] = [[1, 2, 3].as_slice(), &[4, 5]].map(|ids| Sequence::new(ids.to_vec(), 1));
        let packed = Sequence::packed([&one, &two]);
        let found = labels(&[&packed], 9);
        assert_eq!((found.positions, found.ids), (vec![0, 1, 3], vec![2, 3, 5]));
        assert_eq!((found.batch.ids, found.batch.documents), (vec![1, 2, 3, 4, 5], vec![vec![3]]));
        let padded = labels(&[&one, &two], 9);
        assert_eq!((padded.positions, padded.ids), (vec![0, 1, 3], vec![2, 3, 5]));
        assert_eq!(padded.batch.ids, [1, 2, 3, 4, 5, 9]);
        assert!(padded.batch.documents.is_empty());
    }

    /// Only what is marked is predicted, and never the first token, whatever the mark and however the row was cut.
    #[test]
    fn what_is_not_marked_is_no_target() {
        let completion = Sequence::new(vec![1, 2, 3, 4], 2);
        assert_eq!(labels(&[&completion], 0).positions, [1, 2]);
        let marked = Sequence::masked(vec![1, 2, 3, 4, 5], vec![true, false, true, false, true]);
        assert_eq!(marked.learnt().collect::<Vec<_>>(), [3, 5]);
        assert_eq!(marked.part(2, 5).learnt().collect::<Vec<_>>(), [5]);
        assert_eq!(marked.cut(3).learnt().collect::<Vec<_>>(), [3]);
        assert_eq!(Sequence::new(vec![1, 2, 3], 2).cut(2).targets(), 0);
    }
}
