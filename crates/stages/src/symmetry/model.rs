//! Many small networks at once: 2 → 32 → 32 → 1 with ReLU, each with weights, data and an optimizer's state of its own,
//! as the slices of one batched product. What one computes does not depend on the others.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use gazal_data::Stream;
use gazal_lm::indices;
use gazal_lm::weights::to_host;
use gazal_tasks::symmetry::HIDDEN;

/// Rows and columns of each weight and each bias, in the order in which they are kept.
const SHAPES: [[usize; 2]; 6] = [[2, HIDDEN], [1, HIDDEN], [HIDDEN, HIDDEN], [1, HIDDEN], [HIDDEN, 1], [1, 1]];

/// Adam's.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// `[networks, rows, columns]` each.
type Tensors = [Tensor<3>; 6];

pub struct Networks {
    weights: Tensors,
    /// Of gradients, and of their squares.
    moments: [Tensors; 2],
    /// `[networks, 1, 1]`
    weight_decay: Tensor<3>,
    steps: i32,
    device: Device,
}

/// Points as a batch of networks sees them.
pub struct Batch {
    /// Each network's points under each rotation: `[networks, rotations, points, 2]`.
    pub points: Vec<f32>,
    /// `[networks, points]`
    pub labels: Vec<f32>,
    pub rotations: usize,
}

/// How a network is begun and held back.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Networks with equal seeds begin with equal weights.
    pub seed: u64,
    /// Added to the gradient as an L2 term.
    pub weight_decay: f64,
}

impl Networks {
    /// With PyTorch's initial weights and biases: uniform within ±1/√(inputs).
    pub fn new(starts: &[Start], device: &Device) -> Networks {
        let begin = |part: usize| {
            let [rows, columns] = SHAPES[part];
            // A bias has as many inputs as the weight before it.
            let inputs = if part.is_multiple_of(2) { rows } else { SHAPES[part - 1][0] };
            let bound = 1.0 / (inputs as f64).sqrt();
            let values = starts.iter().flat_map(|start| {
                let numbers = Stream::new(start.seed, "symmetry: initial weights").quick(part as u64, 0);
                (0..rows * columns).map(move |index| (bound * (2.0 * numbers.uniform(index as u64) - 1.0)) as f32)
            });
            Tensor::from_data(TensorData::new(values.collect(), [starts.len(), rows, columns]), device)
        };
        let weights = std::array::from_fn(begin);
        let zeros = || weights.each_ref().map(Tensor::zeros_like);
        let decay: Vec<f32> = starts.iter().map(|start| start.weight_decay as f32).collect();
        let weight_decay = Tensor::from_data(TensorData::new(decay, [starts.len(), 1, 1]), device);
        Networks { moments: [zeros(), zeros()], weights, weight_decay, steps: 0, device: device.clone() }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Only some of them, in this order.
    pub fn keep(&mut self, networks: &[usize]) {
        let kept = self.only(networks);
        self.weights = self.weights.each_ref().map(&kept);
        self.moments = self.moments.each_ref().map(|moments| moments.each_ref().map(&kept));
        self.weight_decay = kept(&self.weight_decay);
    }

    /// One step of Adam down the binary cross-entropy, the mean over each network's points; these means.
    pub fn learn(&mut self, batch: &Batch, learning_rate: f64) -> Vec<f64> {
        let tracked = self.weights.each_ref().map(|weight| weight.clone().autodiff().require_grad());
        let networks = self.weight_decay.dims()[0];
        let logits = forward(&tracked, self.points(batch, networks).autodiff(), batch.rotations);
        let points = logits.dims()[1];
        let values = to_host(logits.clone().inner());
        let slopes: Vec<f32> = values
            .iter()
            .zip(&batch.labels)
            .map(|(&logit, &label)| (probability(logit) - label) / points as f32)
            .collect();
        let slopes = Tensor::<2>::from_data(TensorData::new(slopes, [networks, points]), &self.device);
        // Its gradient is the loss's.
        let graph = (logits * slopes.autodiff()).sum().backward();
        let gradients = tracked.each_ref().map(|weight| weight.grad(&graph).map(Tensor::inner));
        self.step(gradients, learning_rate);
        losses(&values, &batch.labels, points)
    }

    /// PyTorch's Adam with its `weight_decay`.
    fn step(&mut self, gradients: [Option<Tensor<3>>; 6], learning_rate: f64) {
        self.steps += 1;
        let [corrected, squared] = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        for (part, gradient) in gradients.into_iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            let weight = self.weights[part].clone();
            let gradient = gradient + weight.clone() * self.weight_decay.clone();
            let moment =
                |old: &Tensor<3>, new: Tensor<3>, beta: f64| old.clone().mul_scalar(beta) + new.mul_scalar(1.0 - beta);
            let [first, second] = &mut self.moments;
            first[part] = moment(&first[part], gradient.clone(), BETAS[0]);
            second[part] = moment(&second[part], gradient.clone() * gradient, BETAS[1]);
            let spread = second[part].clone().div_scalar(squared).sqrt().add_scalar(EPSILON);
            self.weights[part] = weight - first[part].clone().div(spread).mul_scalar(learning_rate / corrected);
        }
    }

    /// The logits of all points by some of the networks, `[networks, points]`.
    pub fn evaluate(&self, networks: &[usize], batch: &Batch) -> Vec<f32> {
        let weights = self.weights.each_ref().map(self.only(networks));
        to_host(forward(&weights, self.points(batch, networks.len()), batch.rotations))
    }

    /// What takes the slices of some networks.
    fn only(&self, networks: &[usize]) -> impl Fn(&Tensor<3>) -> Tensor<3> + use<> {
        let places = indices(networks.iter().copied(), &self.device);
        move |tensor| tensor.clone().select(0, places.clone())
    }

    /// `[networks, rotations × points, 2]`
    fn points(&self, batch: &Batch, networks: usize) -> Tensor<3> {
        let shape = [networks, batch.points.len() / (2 * networks), 2];
        Tensor::from_data(TensorData::new(batch.points.clone(), shape), &self.device)
    }
}

/// The mean logit over rotations, `[networks, points]`.
fn forward(weights: &Tensors, points: Tensor<3>, rotations: usize) -> Tensor<2> {
    let [networks, rows, _] = points.dims();
    let layer = |x: Tensor<3>, at: usize| x.matmul(weights[at].clone()) + weights[at + 1].clone();
    let logits = layer(relu(layer(relu(layer(points, 0)), 2)), 4);
    logits.reshape([networks, rotations, rows / rotations]).mean_dim(1).reshape([networks, rows / rotations])
}

fn probability(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Each network's mean of `max(z, 0) − z·y + log(1 + e^{−|z|})`.
pub fn losses(logits: &[f32], labels: &[f32], points: usize) -> Vec<f64> {
    let loss = |(&logit, &label): (&f32, &f32)| {
        f64::from(logit.max(0.0) - logit * label) + f64::from((-logit.abs()).exp()).ln_1p()
    };
    let of_network = logits.chunks(points).zip(labels.chunks(points));
    of_network.map(|(logits, labels)| logits.iter().zip(labels).map(loss).sum::<f64>() / points as f64).collect()
}
