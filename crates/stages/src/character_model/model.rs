//! The model of [`super::design`] in tensors: forward, loss and gradients.
//!
//! One thing is the notebook's own: attention's scores are divided by the root of the model's width, where the paper
//! (arXiv:1706.03762) has that of a head's. So they begin smaller, by the root of the number of heads.

use std::collections::BTreeMap;

use burn::tensor::activation::{log_softmax, relu, softmax};
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Int, Tensor, TensorData};
use gazal_data::Quick;
use gazal_lm::weights::{Named, to_host};
use gazal_lm::{indices, product};
use gazal_train::{Gradients, Vector};

use super::design::{Design, KEY, QUERY, VALUE, head};
use super::text::Batch;
use crate::parameters::Parameters;

const EPSILON: f64 = 1e-5;
/// What is added to the scores of characters that are still to come.
const MASKED: f32 = -1e9;

#[derive(Clone)]
pub struct Network {
    design: Design,
    parameters: Parameters,
    device: Device,
}

impl Network {
    /// With initial weights from `numbers`, uniform in `[0, 1)`, by a parameter's name and an index.
    pub fn new(design: Design, device: &Device, numbers: impl Fn(&str, u64) -> f64) -> Network {
        Network { design, parameters: Parameters::new(&design.parts(), device, &numbers), device: device.clone() }
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The mean cross-entropy of a batch and its gradients, in training: what is dropped says `dropout`, with a generator
    /// for each place where something is.
    pub fn learn(&self, batch: &Batch, dropout: impl Fn(u64) -> Quick) -> (f64, Gradients) {
        let tracked = self.parameters.tracked();
        let pass = Pass { network: self, parameters: &tracked, dropout: Some(&dropout) };
        let likelihoods = pass.likelihoods(batch);
        let graph = likelihoods.clone().mean().neg().backward();
        (loss(likelihoods.inner()), tracked.gradients(&graph))
    }

    /// The mean cross-entropy of a batch, without dropout.
    pub fn evaluate(&self, batch: &Batch) -> f64 {
        loss(Pass { network: self, parameters: &self.parameters, dropout: None }.likelihoods(batch))
    }

    pub fn vectors(&mut self) -> impl Iterator<Item = Vector<'_>> {
        self.parameters.vectors()
    }

    /// All parameters, for a checkpoint.
    pub fn named(&self) -> Vec<Named> {
        self.parameters.named()
    }

    /// Takes up what [`Network::named`] gave; the name of a vector that is missing or has another length otherwise.
    pub fn restore(&mut self, saved: &BTreeMap<String, Vec<f32>>) -> Result<(), String> {
        self.parameters.restore(saved)
    }
}

fn loss(likelihoods: Tensor<2>) -> f64 {
    let likelihoods = to_host(likelihoods);
    -likelihoods.iter().map(|&value| f64::from(value)).sum::<f64>() / likelihoods.len() as f64
}

/// One pass through the model.
struct Pass<'a> {
    network: &'a Network,
    parameters: &'a Parameters,
    /// In training.
    dropout: Option<&'a dyn Fn(u64) -> Quick>,
}

impl Pass<'_> {
    /// The log-likelihood of what follows each character, `[rows × length, 1]`.
    fn likelihoods(&self, batch: &Batch) -> Tensor<2> {
        let next: Tensor<2, Int> = self.numbers(batch.next.iter().copied()).unsqueeze_dim(1);
        log_softmax(self.logits(batch), 1).gather(1, next)
    }

    /// `[rows × length, characters]`
    fn logits(&self, batch: &Batch) -> Tensor<2> {
        let (count, rows) = (batch.characters.len(), batch.rows);
        let length = count / rows;
        let characters = self.embedded("token", batch.characters.iter().copied());
        let mut x = characters + self.embedded("position", (0..count).map(|at| at % length));
        let mask = self.mask(length);
        for block in 0..self.network.design.n_layer {
            let name = |part: &str| format!("blocks.{block}.{part}");
            let drop = 3 * block as u64;
            let mixed = self.attention(&self.normed(x.clone(), &name("ln1")), block, &mask);
            x = x + self.dropped(self.linear(mixed, &name("sa.proj")), drop + 1);
            let wide = relu(self.linear(self.normed(x.clone(), &name("ln2")), &name("ff.net.0")));
            x = x + self.dropped(self.linear(wide, &name("ff.net.2")), drop + 2);
        }
        self.linear(self.normed(x, "ln_f"), "lm_head")
    }

    /// All heads of a block side by side, `[rows × length, n_embd]` to the same.
    fn attention(&self, x: &Tensor<2>, block: usize, mask: &Tensor<4>) -> Tensor<2> {
        let ([count, width], [.., length]) = (x.dims(), mask.dims());
        let heads = self.network.design.n_head;
        let split = |layer: &str| {
            let weights = (0..heads).map(|at| self.parameters.matrix(&head(block, at, layer))).collect();
            let all = product([x.clone(), Tensor::cat(weights, 0)], [false, true]);
            all.reshape([count / length, length, heads, width / heads]).swap_dims(1, 2)
        };
        let scores = split(QUERY).matmul(split(KEY).transpose()).mul_scalar((width as f64).powf(-0.5));
        let weights = self.dropped(softmax(scores + mask.clone(), 3), 3 * block as u64);
        weights.matmul(split(VALUE)).swap_dims(1, 2).reshape([count, width])
    }

    /// `[1, 1, length, length]`: no character sees those after it.
    fn mask(&self, length: usize) -> Tensor<4> {
        let value = |at: usize| if at % length > at / length { MASKED } else { 0.0 };
        self.constant((0..length * length).map(value).collect(), [1, 1, length, length])
    }

    fn embedded(&self, table: &str, rows: impl Iterator<Item = usize>) -> Tensor<2> {
        self.parameters.matrix(&format!("{table}_embedding_table.weight")).select(0, self.numbers(rows))
    }

    fn normed(&self, x: Tensor<2>, name: &str) -> Tensor<2> {
        let [weight, bias] = ["weight", "bias"].map(|which| self.parameters.get(&format!("{name}.{which}")));
        layer_norm(x, weight, Some(bias), EPSILON)
    }

    fn linear(&self, x: Tensor<2>, name: &str) -> Tensor<2> {
        let bias = self.parameters.get(&format!("{name}.bias"));
        product([x, self.parameters.matrix(&format!("{name}.weight"))], [false, true]) + bias.unsqueeze()
    }

    /// In training some of the numbers, whichever they are, become 0, and the others grow by as much.
    fn dropped<const D: usize>(&self, x: Tensor<D>, place: u64) -> Tensor<D> {
        let share = self.network.design.dropout;
        let Some(dropout) = self.dropout.filter(|_| share > 0.0) else { return x };
        let (numbers, shape) = (dropout(place), x.dims());
        let kept = (1.0 / (1.0 - share)) as f32;
        let factor = |index: u64| if numbers.uniform(index) < share { 0.0 } else { kept };
        x * self.constant((0..shape.iter().product::<usize>() as u64).map(factor).collect(), shape)
    }

    fn constant<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), &self.network.device);
        if self.dropout.is_some() { tensor.autodiff() } else { tensor }
    }

    fn numbers(&self, values: impl Iterator<Item = usize>) -> Tensor<1, Int> {
        indices(values, &self.network.device)
    }
}
