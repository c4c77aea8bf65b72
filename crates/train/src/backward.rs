//! The backward pass of a model, from a loss over the vocabulary that has its own: through the whole graph at once, or one
//! layer after the other.

use burn::tensor::Tensor;
use gazal_lm::{Decoder, Labels, Scores, TokenBatch, Trainable, indices};

use crate::Gradients;
use crate::head::{Head, Scored, Slopes};

/// How gradients come about.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    pub trainable: Trainable,
    /// Keeps what goes into each decoder layer only, and computes the rest a second time. Results are the same.
    pub gradient_checkpointing: bool,
}

impl Backward {
    /// Scores of targets under a temperature, and the gradients of a loss that depends on these scores in any way.
    pub fn gradients(
        self,
        decoder: &Decoder,
        (labels, temperature): (&Labels, f64),
        slopes: impl FnOnce(&Scores) -> Slopes,
    ) -> (Scores, Gradients) {
        self.through(decoder, labels, None, |head| head.at(temperature).any(slopes))
    }

    /// The same of any loss over the head, with noise `[rows × width, hidden]` on the embeddings.
    pub(crate) fn through(
        self,
        decoder: &Decoder,
        labels: &Labels,
        noise: Option<Tensor<2>>,
        loss: impl FnOnce(Head) -> Scored,
    ) -> (Scores, Gradients) {
        let positions = indices(labels.positions.iter().copied(), &decoder.device());
        let loss =
            |tracked: &Decoder, hidden: Tensor<2>| loss(Head::new(tracked, hidden.select(0, positions), &labels.ids));
        if self.gradient_checkpointing {
            let embedded = decoder.embed(&labels.batch);
            let embedded = noise.into_iter().fold(embedded, |embedded, noise| embedded + noise);
            return by_layer(decoder, self.trainable, (&labels.batch, embedded), loss);
        }
        let mut tracked = decoder.tracked(self.trainable);
        let embedded = tracked.embed(&labels.batch);
        let embedded = noise.into_iter().fold(embedded, |embedded, noise| embedded + noise.autodiff());
        let scored = loss(&tracked, tracked.hidden_from(embedded, &labels.batch, None));
        let graph = scored.surrogate.backward();
        (scored.scores, Gradients::collect(&mut tracked, self.trainable, &graph))
    }
}

/// Gradient checkpointing: the backward pass runs one layer after the other again, from the last to the first, each in a
/// graph of its own.
fn by_layer(
    decoder: &Decoder,
    trainable: Trainable,
    (batch, embedded): (&TokenBatch, Tensor<2>),
    loss: impl FnOnce(&Decoder, Tensor<2>) -> Scored,
) -> (Scores, Gradients) {
    let frame = decoder.frame(batch);
    let (mut inputs, mut x) = (Vec::with_capacity(decoder.layers.len()), embedded);
    for layer in &decoder.layers {
        inputs.push(x.clone());
        x = layer.forward(x, &frame, None);
    }
    let mut tracked = decoder.tracked(trainable);
    let top = x.autodiff().require_grad();
    let scored = loss(&tracked, tracked.norm.forward(top.clone()));
    let graph = scored.surrogate.backward();
    let mut sum = Gradients::collect(&mut tracked, trainable, &graph);
    let mut toward = gradient(&top, &graph);
    for (index, input) in inputs.into_iter().enumerate().rev() {
        let input = input.autodiff().require_grad();
        let mut tracked = decoder.tracked(trainable);
        let output = tracked.layers[index].forward(input.clone(), &frame, None);
        let graph = (output * toward.autodiff()).sum().backward();
        sum.add(Gradients::collect(&mut tracked, trainable, &graph));
        toward = gradient(&input, &graph);
    }
    if trainable == Trainable::Base {
        let mut tracked = decoder.tracked(trainable);
        let graph = (tracked.embed(batch) * toward.autodiff()).sum().backward();
        sum.add(Gradients::collect(&mut tracked, trainable, &graph));
    }
    (scored.scores, sum)
}

fn gradient(tensor: &Tensor<2>, graph: &burn::tensor::Gradients) -> Tensor<2> {
    tensor.grad(graph).map_or_else(|| tensor.clone().inner().zeros_like(), Tensor::inner)
}
