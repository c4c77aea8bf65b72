//! Gradients by parameter name: accumulated over micro-batches, clipped by their global norm.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use gazal_lm::{Decoder, Trainable};

/// The sum of the gradients of parts of a batch, in their order: of micro-batches, or of the shards that several devices
/// computed. Each part has divided by what the whole batch has (targets, completions), so the sum is the batch's gradient
/// however it was cut.
///
/// All that is summed over data goes through here. Parts on several devices, each what a device has summed of its own, are
/// summed on the first, parameter after parameter in the order of their names: see [`gazal_lm::device::sum`].
pub fn reduce(gradients: Vec<Gradients>) -> Gradients {
    let mut vectors: BTreeMap<String, Vec<Tensor<1>>> = BTreeMap::new();
    for (name, gradient) in gradients.into_iter().flat_map(|part| part.0) {
        vectors.entry(name).or_default().push(gradient);
    }
    Gradients(vectors.into_iter().filter_map(|(name, parts)| Some((name, gazal_lm::device::sum(parts)?))).collect())
}

/// Parameter name to gradient, each as a vector. The order is the names', so that sums do not depend on anything
/// else.
#[derive(Clone, Default)]
pub struct Gradients(BTreeMap<String, Tensor<1>>);

impl Gradients {
    /// The gradients of everything that is trainable in `decoder`, which is tracked.
    pub fn collect(decoder: &mut Decoder, trainable: Trainable, gradients: &burn::tensor::Gradients) -> Gradients {
        let mut found = BTreeMap::new();
        decoder.visit_trainable(trainable, &mut |name, slot| {
            if let Some(gradient) = slot.gradient(gradients) {
                found.insert(name.to_string(), gradient.inner());
            }
        });
        Gradients(found)
    }

    /// Of vectors that are no decoder's, by name.
    pub fn of(vectors: impl Iterator<Item = (String, Tensor<1>)>) -> Gradients {
        Gradients(vectors.collect())
    }

    pub fn get(&self, name: &str) -> Option<&Tensor<1>> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Adds those of another part.
    pub(crate) fn add(&mut self, other: Gradients) {
        for (name, gradient) in other.0 {
            let sum = match self.0.remove(&name) {
                Some(own) => own + gradient,
                None => gradient,
            };
            self.0.insert(name, sum);
        }
    }

    /// The Euclidean norm over all parameters.
    pub fn global_norm(&self) -> f64 {
        let squares: Vec<Tensor<1>> = self.0.values().map(|gradient| gradient.clone().powi_scalar(2).sum()).collect();
        if squares.is_empty() {
            return 0.0;
        }
        let squares = gazal_lm::weights::to_host(Tensor::cat(squares, 0));
        squares.into_iter().map(f64::from).sum::<f64>().sqrt()
    }

    /// Scales all gradients so that their global norm is at most `max_norm` (as PyTorch's `clip_grad_norm_`); gives
    /// the norm before.
    pub fn clip(&mut self, max_norm: f64) -> f64 {
        let norm = self.global_norm();
        let factor = max_norm / (norm + 1e-6);
        if factor < 1.0 {
            for gradient in self.0.values_mut() {
                *gradient = gradient.clone().mul_scalar(factor);
            }
        }
        norm
    }
}
