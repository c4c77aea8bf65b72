//! EXAdam (arXiv:2412.20302) and AdamW (arXiv:1711.05101), with decoupled weight decay.
//!
//! EXAdam, element-wise at step t, with `m`, `v` the moments of Adam after this gradient:
//! `d1 = 1 + v/(v+ε)·β2ᵗ`, `d2 = 1 + m²/(m²+ε)·β1ᵗ`,
//! `θ ← θ − lr·(m + g)·d1/(1−β1ᵗ) / (√(v·d2/(1−β2ᵗ)) + ε)`.
//! The paper's first version multiplies the rate by `ln(√(t+1)·√2)`; the second, the default here, does not.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use gazal_lm::{Decoder, Trainable};
use serde::{Deserialize, Serialize};

use crate::Gradients;

/// `optim`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimKind {
    /// EXAdam, second version.
    #[default]
    Exadam,
    /// EXAdam, first version, with its growing step.
    ExadamV1,
    Adamw,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimConfig {
    pub kind: OptimKind,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
}

impl Default for OptimConfig {
    fn default() -> OptimConfig {
        OptimConfig { kind: OptimKind::Exadam, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// First and second moment of one parameter.
#[derive(Clone)]
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

/// An optimizer with its state by parameter name.
#[derive(Clone)]
pub struct Optimizer {
    config: OptimConfig,
    step: i32,
    moments: BTreeMap<String, Moments>,
}

impl Optimizer {
    pub fn new(config: OptimConfig) -> Optimizer {
        Optimizer { config, step: 0, moments: BTreeMap::new() }
    }

    /// Moves every trainable parameter of `decoder` that has a gradient, then renews DoRA's norms.
    pub fn step(&mut self, decoder: &mut Decoder, trainable: Trainable, gradients: &Gradients, rate: f64) {
        self.step += 1;
        decoder.visit_trainable(trainable, &mut |name, mut slot| {
            if let Some(gradient) = gradients.get(name) {
                // Weight decay is for matrices: norms and DoRA's magnitudes are scales, not weights.
                let decay = if slot.shape().len() == 1 { 0.0 } else { self.config.weight_decay };
                let moved = self.update(name, slot.flat(), gradient.clone(), rate, decay);
                slot.set_flat(moved);
            }
        });
        decoder.refresh_norms();
    }

    /// One parameter `theta` `[n]` with gradient `[n]`.
    fn update(&mut self, name: &str, theta: Tensor<1>, gradient: Tensor<1>, rate: f64, decay: f64) -> Tensor<1> {
        let OptimConfig { kind, beta1, beta2, epsilon, .. } = self.config;
        let theta = if decay == 0.0 { theta } else { theta.mul_scalar(1.0 - rate * decay) };
        let (first, second) = match self.moments.remove(name) {
            Some(moments) => (moments.first, moments.second),
            None => (gradient.zeros_like(), gradient.zeros_like()),
        };
        let first = first.mul_scalar(beta1) + gradient.clone().mul_scalar(1.0 - beta1);
        let second = second.mul_scalar(beta2) + gradient.clone().powi_scalar(2).mul_scalar(1.0 - beta2);
        self.moments.insert(name.into(), Moments { first: first.clone(), second: second.clone() });
        let (decayed1, decayed2) = (beta1.powi(self.step), beta2.powi(self.step));
        let (numerator, denominator) = match kind {
            OptimKind::Adamw => (first, second),
            OptimKind::Exadam | OptimKind::ExadamV1 => {
                let d1 = (second.clone() / second.clone().add_scalar(epsilon)).mul_scalar(decayed2).add_scalar(1.0);
                let square = first.clone().powi_scalar(2);
                let d2 = (square.clone() / square.add_scalar(epsilon)).mul_scalar(decayed1).add_scalar(1.0);
                ((first + gradient) * d1, second * d2)
            }
        };
        let rate = match kind {
            OptimKind::ExadamV1 => rate * 0.5 * (2.0 * f64::from(self.step + 1)).ln(),
            OptimKind::Exadam | OptimKind::Adamw => rate,
        };
        let denominator = denominator.div_scalar(1.0 - decayed2).sqrt().add_scalar(epsilon);
        theta - numerator.mul_scalar(rate / (1.0 - decayed1)) / denominator
    }

    /// The state as named vectors: `first.NAME`, `second.NAME`.
    pub(crate) fn state(&self) -> (i32, Vec<gazal_lm::weights::Named>) {
        let named = |prefix: &str, name: &str, tensor: &Tensor<1>| {
            (format!("{prefix}.{name}"), tensor.dims().to_vec(), gazal_lm::weights::to_host(tensor.clone()))
        };
        let tensors = self
            .moments
            .iter()
            .flat_map(|(name, moments)| [named("first", name, &moments.first), named("second", name, &moments.second)]);
        (self.step, tensors.collect())
    }

    /// Takes up a state that [`Optimizer::state`] gave.
    pub(crate) fn restore(&mut self, step: i32, tensors: &BTreeMap<String, Vec<f32>>, device: &Device) {
        let vector = |values: &Vec<f32>| Tensor::<1>::from_data(values.as_slice(), device);
        self.step = step;
        self.moments.clear();
        for (name, first) in tensors.iter().filter_map(|(name, values)| Some((name.strip_prefix("first.")?, values))) {
            if let Some(second) = tensors.get(&format!("second.{name}")) {
                let moments = Moments { first: vector(first), second: vector(second) };
                self.moments.insert(name.into(), moments);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::{DType, TensorData};
    use serde_json::Value;

    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    fn tensor(values: Vec<f64>) -> Tensor<1> {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), (&Device::flex(), DType::F64))
    }

    /// `fixtures/optim/exadam.json`: float64 paths of both versions.
    #[test]
    fn exadam_fixture_paths() {
        let folder = std::env::var("GAZAL_FIXTURES")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures").into());
        let text = std::fs::read_to_string(format!("{folder}/optim/exadam.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let cases = value["cases"].as_array().unwrap();
        for case in cases {
            let options = &case["options"];
            let number = |name: &str, default: f64| options[name].as_f64().unwrap_or(default);
            let dynamic = options["dynamic"].as_bool().unwrap_or(false);
            let config = OptimConfig {
                kind: if dynamic { OptimKind::ExadamV1 } else { OptimKind::Exadam },
                beta1: number("b1", 0.9),
                beta2: number("b2", 0.999),
                epsilon: number("eps", 1e-8),
                weight_decay: number("wd", 0.0),
            };
            let mut optimizer = Optimizer::new(config);
            let mut theta = tensor(numbers(&case["theta0"]));
            let (gradients, path) = (case["grads"].as_array().unwrap(), case["path"].as_array().unwrap());
            for (gradient, expected) in gradients.iter().zip(path) {
                optimizer.step += 1;
                let rate = case["lr"].as_f64().unwrap();
                theta = optimizer.update("theta", theta, tensor(numbers(gradient)), rate, config.weight_decay);
                let found = theta.clone().into_data().try_into_vec::<f64>().unwrap();
                for (a, b) in found.iter().zip(numbers(expected)) {
                    assert!((a - b).abs() < 1e-10, "{a} is not {b} in {options}");
                }
            }
        }
        assert!(cases.len() >= 12, "only {} cases", cases.len());
    }
}
