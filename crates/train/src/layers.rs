//! Gradient checkpointing by decoder layer: of the forward pass only what goes into each layer is kept, and the backward
//! pass runs one layer after the other again, from the last to the first, each in a graph of its own.

use burn::tensor::Tensor;
use gazal_lm::{Decoder, TokenBatch, Trainable};

use crate::Gradients;
use crate::head::Scored;

/// Value and gradients of a loss of the final hidden states, from the embeddings of a batch. What is let go of meanwhile
/// is computed a second time; results are the same.
pub(crate) fn gradients(
    decoder: &Decoder,
    trainable: Trainable,
    (batch, embedded): (&TokenBatch, Tensor<2>),
    loss: &dyn Fn(&Decoder, Tensor<2>) -> Scored,
) -> (f64, Gradients) {
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
    (scored.value, sum)
}

fn gradient(tensor: &Tensor<2>, graph: &burn::tensor::Gradients) -> Tensor<2> {
    tensor.grad(graph).map_or_else(|| tensor.clone().inner().zeros_like(), Tensor::inner)
}
