//! A decoder from nothing.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{Config, Decoder};

/// A new decoder: matrices N(0, 0.02²), the two that write into the residual stream scaled by 1/√(2·layers)
/// (GPT-2), norms 1. `uniform(name, i)` gives the i-th random number in `[0, 1)` of a tensor.
pub fn init(config: &Config, device: &Device, uniform: &dyn Fn(&str, u64) -> f64) -> Decoder {
    let residual = (2.0 * config.num_hidden_layers as f64).sqrt().recip();
    let tensor = |name: &str, shape: &[usize]| {
        let count: usize = shape.iter().product();
        if shape.len() == 1 {
            return Ok::<_, std::convert::Infallible>(Tensor::ones([count], device));
        }
        let writes = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
        let deviation = 0.02 * if writes { residual } else { 1.0 };
        let values: Vec<f32> = (0..count as u64).map(|i| (normal(uniform, name, i) * deviation) as f32).collect();
        Ok(Tensor::from_data(TensorData::new(values, [count]), device))
    };
    match Decoder::build(config.clone(), tensor) {
        Ok(decoder) => decoder,
        Err(never) => match never {},
    }
}

/// Box–Muller on two uniform numbers.
fn normal(uniform: &dyn Fn(&str, u64) -> f64, name: &str, index: u64) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(name, 2 * index)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(name, 2 * index + 1)).cos()
}
