//! The network of [`super::design`] in tensors: forward, loss and gradients, evaluation.
//!
//! Batch norm is PyTorch's: momentum 0.1, and the running variance is the unbiased one.

use std::collections::BTreeMap;

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::module::{batch_norm, batch_norm_train, conv2d, linear, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use gazal_data::Quick;
use gazal_lm::weights::{Named, to_host};
use gazal_train::{Gradients, Vector};

use super::design::Architecture;
use crate::parameters::{Parameters, Part, Start};

const EPSILON: f64 = 1e-5;
/// How much of the running statistics a batch replaces.
const MOMENTUM: f64 = 0.1;
const DROPOUT: f64 = 0.25;

#[derive(Clone)]
pub struct Network {
    architecture: Architecture,
    /// `[channels, height, width]`
    image: [usize; 3],
    classes: usize,
    parameters: Parameters,
    /// Running means and variances.
    running: Parameters,
    device: Device,
}

/// Images as they are shown, and their classes.
pub struct Batch {
    /// `[batch, channels, height, width]`
    pub pixels: Vec<f32>,
    pub labels: Vec<usize>,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scored {
    /// The sum of the cross-entropies.
    pub loss: f64,
    pub correct: usize,
}

impl Network {
    /// With initial weights from `numbers`, uniform in `[0, 1)`, by a parameter's name and an index.
    pub fn new(
        architecture: Architecture,
        (image, classes): ([usize; 3], usize),
        device: &Device,
        numbers: impl Fn(&str, u64) -> f64,
    ) -> Network {
        let parts = architecture.parts(image, classes);
        let norms = parts.iter().filter_map(|part| match (part.start, part.name.strip_suffix(".weight")) {
            (Start::Constant(_), Some(norm)) => Some((norm, &part.shape)),
            _ => None,
        });
        let running: Vec<Part> = norms.flat_map(|(norm, shape)| statistics(norm, shape)).collect();
        let [parameters, running] = [parts, running].map(|parts| Parameters::new(&parts, device, &numbers));
        Network { architecture, image, classes, parameters, running, device: device.clone() }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Loss and gradients of the mean cross-entropy of a batch, in training: the batch's own statistics normalise and
    /// move the running ones, and features are dropped by the numbers of `dropout`, one generator for each width.
    pub fn learn(&mut self, batch: &Batch, dropout: impl Fn(u64) -> Quick) -> (Scored, Gradients) {
        let tracked = self.parameters.tracked();
        let mut pass = Pass { network: self, parameters: &tracked, training: Some(Training::new(&dropout)) };
        let likelihoods = log_softmax(pass.forward(self.tensor(batch).autodiff()), 1);
        let seen = pass.training.map(|training| training.seen).unwrap_or_default();
        let chosen = likelihoods.clone() * self.one_hot(&batch.labels).autodiff();
        let graph = chosen.sum().div_scalar(-(batch.labels.len() as f64)).backward();
        let gradients = tracked.gradients(&graph);
        seen.into_iter().for_each(|(name, values)| self.run_along(&name, values));
        (score(&to_host(likelihoods.inner()), self.classes, &batch.labels), gradients)
    }

    /// The log-likelihoods of the classes, `[batch, classes]`, by the running statistics and without dropout.
    pub fn evaluate(&self, batch: &Batch) -> Vec<f32> {
        let mut pass = Pass { network: self, parameters: &self.parameters, training: None };
        to_host(log_softmax(pass.forward(self.tensor(batch)), 1))
    }

    pub fn vectors(&mut self) -> impl Iterator<Item = Vector<'_>> {
        self.parameters.vectors()
    }

    /// Parameters and running statistics, for a checkpoint.
    pub fn named(&self) -> Vec<Named> {
        [self.parameters.named(), self.running.named()].concat()
    }

    /// Takes up what [`Network::named`] gave; the name of a vector that is missing or has another length otherwise.
    pub fn restore(&mut self, saved: &BTreeMap<String, Vec<f32>>) -> Result<(), String> {
        self.parameters.restore(saved)?;
        self.running.restore(saved)
    }

    fn tensor(&self, batch: &Batch) -> Tensor<4> {
        let [channels, height, width] = self.image;
        let shape = [batch.labels.len(), channels, height, width];
        Tensor::from_data(TensorData::new(batch.pixels.clone(), shape), &self.device)
    }

    /// `[batch, classes]`
    fn one_hot(&self, labels: &[usize]) -> Tensor<2> {
        let mut values = vec![0.0_f32; labels.len() * self.classes];
        labels.iter().enumerate().for_each(|(row, &label)| values[row * self.classes + label] = 1.0);
        Tensor::from_data(TensorData::new(values, [labels.len(), self.classes]), &self.device)
    }

    fn run_along(&mut self, name: &str, new: Tensor<1>) {
        let moved = self.running.get(name).mul_scalar(1.0 - MOMENTUM) + new.mul_scalar(MOMENTUM);
        self.running.set(name, moved);
    }
}

/// The running statistics of a norm as they begin.
fn statistics(norm: &str, shape: &[usize]) -> [Part; 2] {
    let part =
        |(which, value)| Part { name: statistic(norm, which), shape: shape.into(), start: Start::Constant(value) };
    [("mean", 0.0), ("var", 1.0)].map(part)
}

/// The name of a norm's running statistic, as PyTorch's.
fn statistic(norm: &str, which: &str) -> String {
    format!("{norm}.running_{which}")
}

/// The cross-entropies of log-likelihoods, and how many labels are the likeliest class.
pub fn score(likelihoods: &[f32], classes: usize, labels: &[usize]) -> Scored {
    let mut scored = Scored::default();
    for (row, &label) in likelihoods.chunks_exact(classes).zip(labels) {
        scored.loss -= f64::from(row[label]);
        scored.correct += usize::from(likeliest(row) == label);
    }
    scored
}

/// The first of the largest.
pub fn likeliest(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
}

/// What only a pass in training does.
struct Training<'a> {
    dropout: &'a dyn Fn(u64) -> Quick,
    /// Statistics of the batch, by the names of the running ones.
    seen: Vec<(String, Tensor<1>)>,
}

impl<'a> Training<'a> {
    fn new(dropout: &'a dyn Fn(u64) -> Quick) -> Training<'a> {
        Training { dropout, seen: Vec::new() }
    }
}

/// One pass through the network.
struct Pass<'a> {
    network: &'a Network,
    parameters: &'a Parameters,
    training: Option<Training<'a>>,
}

impl Pass<'_> {
    /// `[batch, channels, height, width]` to `[batch, classes]`.
    fn forward(&mut self, mut x: Tensor<4>) -> Tensor<2> {
        for index in 0..self.network.architecture.widths().len() {
            let (number, block) = (2 * index + 1, format!("res_block{}", index + 1));
            x = relu(self.convolved(x, &format!("conv{number}"), &format!("bn{number}")));
            let inner = relu(self.convolved(x.clone(), &format!("{block}.conv1"), &format!("{block}.bn1")));
            x = relu(self.convolved(inner, &format!("{block}.conv2"), &format!("{block}.bn2")) + x);
            x = self.dropped(max_pool2d(x, MaxPoolOptions::new([2, 2])), index as u64);
        }
        let [batch, channels, height, width] = x.dims();
        let x = relu(self.linear(x.reshape([batch, channels * height * width]), "fc1"));
        self.linear(x, "fc2")
    }

    /// A 3×3 convolution that keeps height and width, and its norm.
    fn convolved(&mut self, x: Tensor<4>, convolution: &str, norm: &str) -> Tensor<4> {
        let [_, inputs, ..] = x.dims();
        let bias = self.parameters.get(&format!("{convolution}.bias"));
        let weight = self.parameters.get(&format!("{convolution}.weight")).reshape([bias.dims()[0], inputs, 3, 3]);
        let x = conv2d(x, weight, Some(bias), ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
        self.normalised(x, norm)
    }

    fn normalised(&mut self, x: Tensor<4>, norm: &str) -> Tensor<4> {
        let [weight, bias] = ["weight", "bias"].map(|which| self.parameters.get(&format!("{norm}.{which}")));
        let [mean, variance] = ["mean", "var"].map(|which| statistic(norm, which));
        let Some(training) = &mut self.training else {
            let [mean, variance] = [mean, variance].map(|name| self.network.running.get(&name));
            return batch_norm(x, weight, bias, mean, variance, EPSILON);
        };
        let [batch, _, height, width] = x.dims();
        let count = (batch * height * width) as f64;
        let normalised = batch_norm_train(x, weight, bias, EPSILON);
        let unbiased = normalised.variance.inner().mul_scalar(count / (count - 1.0).max(1.0));
        training.seen.extend([(mean, normalised.mean.inner()), (variance, unbiased)]);
        normalised.output
    }

    /// A quarter of the numbers, whichever they are, becomes 0, the others grow by as much.
    fn dropped(&self, x: Tensor<4>, layer: u64) -> Tensor<4> {
        let Some(training) = &self.training else { return x };
        let (numbers, shape) = ((training.dropout)(layer), x.dims());
        let kept = (1.0 / (1.0 - DROPOUT)) as f32;
        let factor = |index: u64| if numbers.uniform(index) < DROPOUT { 0.0 } else { kept };
        let factors: Vec<f32> = (0..shape.iter().product::<usize>() as u64).map(factor).collect();
        x * Tensor::<4>::from_data(TensorData::new(factors, shape), &self.network.device).autodiff()
    }

    fn linear(&self, x: Tensor<2>, name: &str) -> Tensor<2> {
        let bias = self.parameters.get(&format!("{name}.bias"));
        let weight = self.parameters.matrix(&format!("{name}.weight"));
        linear(x, weight.transpose(), Some(bias))
    }
}
