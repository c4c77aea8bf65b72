//! The parameters of a small network: vectors by name, so that optimizers and checkpoints treat them as a decoder's, which
//! take their shape where they are used.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use gazal_lm::normal;
use gazal_lm::weights::{Named, to_host};
use gazal_train::{Gradients, Vector};

/// A parameter as it is before training, by the name that PyTorch gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub name: String,
    pub shape: Vec<usize>,
    pub start: Start,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    Constant(f64),
    /// Uniform between minus this and this: PyTorch's, one over the root of a layer's inputs.
    Uniform(f64),
    /// Standard normal: PyTorch's of embeddings.
    Normal,
}

impl Part {
    /// A weight, or a bias, of a layer with this many inputs.
    pub fn of_layer(name: String, shape: Vec<usize>, inputs: usize) -> Part {
        Part { name, shape, start: Start::Uniform(1.0 / (inputs as f64).sqrt()) }
    }

    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Adds a linear layer.
pub fn linear(parts: &mut Vec<Part>, name: &str, [outputs, inputs]: [usize; 2]) {
    affine(parts, name, vec![outputs, inputs], inputs);
}

/// Adds a weight of this shape, its outputs first, and as many biases as outputs.
pub fn affine(parts: &mut Vec<Part>, name: &str, shape: Vec<usize>, inputs: usize) {
    let outputs = shape[0];
    parts.push(Part::of_layer(format!("{name}.weight"), shape, inputs));
    parts.push(Part::of_layer(format!("{name}.bias"), vec![outputs], inputs));
}

/// Adds a norm that changes nothing yet.
pub fn norm(parts: &mut Vec<Part>, name: &str, width: usize) {
    for (which, start) in [("weight", 1.0), ("bias", 0.0)] {
        let (name, start) = (format!("{name}.{which}"), Start::Constant(start));
        parts.push(Part { name, shape: vec![width], start });
    }
}

#[derive(Clone)]
pub struct Parameters {
    shapes: BTreeMap<String, Vec<usize>>,
    values: BTreeMap<String, Tensor<1>>,
}

impl Parameters {
    /// As they begin. `numbers` gives uniform ones in `[0, 1)`, by a parameter's name and an index.
    pub fn new(parts: &[Part], device: &Device, numbers: &dyn Fn(&str, u64) -> f64) -> Parameters {
        let begin = |part: &Part| {
            let value = |index: u64| match part.start {
                Start::Constant(value) => value,
                Start::Uniform(bound) => bound * (2.0 * numbers(&part.name, index) - 1.0),
                Start::Normal => normal(numbers, &part.name, index),
            };
            let values: Vec<f32> = (0..part.count() as u64).map(|index| value(index) as f32).collect();
            (part.name.clone(), Tensor::from_data(values.as_slice(), device))
        };
        let shapes = parts.iter().map(|part| (part.name.clone(), part.shape.clone())).collect();
        Parameters { shapes, values: parts.iter().map(begin).collect() }
    }

    pub fn get(&self, name: &str) -> Tensor<1> {
        self.values[name].clone()
    }

    /// One of two dimensions.
    pub fn matrix(&self, name: &str) -> Tensor<2> {
        let (values, rows) = (self.get(name), self.shapes[name][0]);
        let columns = values.dims()[0] / rows;
        values.reshape([rows, columns])
    }

    pub fn set(&mut self, name: &str, values: Tensor<1>) {
        self.values.insert(name.into(), values);
    }

    /// The same, for a graph of which [`Parameters::gradients`] are wanted.
    pub fn tracked(&self) -> Parameters {
        let track = |values: &Tensor<1>| values.clone().autodiff().require_grad();
        let values = self.values.iter().map(|(name, values)| (name.clone(), track(values))).collect();
        Parameters { shapes: self.shapes.clone(), values }
    }

    pub fn gradients(&self, graph: &burn::tensor::Gradients) -> Gradients {
        let gradient = |(name, values): (&String, &Tensor<1>)| Some((name.clone(), values.grad(graph)?.inner()));
        Gradients::of(self.values.iter().filter_map(gradient))
    }

    pub fn vectors(&mut self) -> impl Iterator<Item = Vector<'_>> {
        let shapes = &self.shapes;
        self.values.iter_mut().map(|(name, values)| Vector {
            shape: shapes.get(name).map_or(&[], Vec::as_slice),
            name,
            values,
        })
    }

    /// For a checkpoint.
    pub fn named(&self) -> Vec<Named> {
        let named =
            |(name, values): (&String, &Tensor<1>)| (name.clone(), values.dims().to_vec(), to_host(values.clone()));
        self.values.iter().map(named).collect()
    }

    /// Takes up what [`Parameters::named`] gave; the name of a vector that is missing or has another length otherwise.
    pub fn restore(&mut self, saved: &BTreeMap<String, Vec<f32>>) -> Result<(), String> {
        for (name, values) in &mut self.values {
            match saved.get(name).filter(|found| found.len() == values.dims()[0]) {
                Some(found) => *values = Tensor::from_data(found.as_slice(), &values.device()),
                None => return Err(name.clone()),
            }
        }
        Ok(())
    }
}
