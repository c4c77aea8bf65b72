//! A linear layer, with an optional LoRA or DoRA adapter beside its frozen weight.
//!
//! LoRA (arXiv:2106.09685): `y = xWᵀ + s·(xAᵀ)Bᵀ`, `s = α/r`, or `α/√r` for rsLoRA (arXiv:2312.03732).
//! DoRA (arXiv:2402.09353 §4): `y = (m/n) ⊙ (xWᵀ + s·(xAᵀ)Bᵀ)` with `n = ‖W + sBA‖` per output row, detached.
//! A bias is added last: adapters know nothing of it. The adapter works on activations: the full `W + sBA` is built
//! only by [`Linear::merged`].

use burn::tensor::Tensor;

use crate::weight::Weight;
use crate::{fused, host};

/// Low-rank update of one linear layer. Shapes: `a` `[r, in]`, `b` `[out, r]`, `magnitude` `[out]`.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub a: Tensor<2>,
    pub b: Tensor<2>,
    /// Present for DoRA.
    pub magnitude: Option<Tensor<1>>,
    pub scale: f64,
    /// `n`, plain (never tracked): see [`Linear::refresh_norm`].
    norm: Option<Tensor<1>>,
    /// `‖W‖²` per output row, computed once.
    base_norm_squared: Option<Tensor<1>>,
}

impl Adapter {
    pub fn new(a: Tensor<2>, b: Tensor<2>, magnitude: Option<Tensor<1>>, scale: f64) -> Adapter {
        Adapter { a, b, magnitude, scale, norm: None, base_norm_squared: None }
    }
}

/// `weight` is `[out, in]`.
#[derive(Clone, Debug)]
pub struct Linear {
    pub weight: Weight,
    /// `[out]`.
    pub bias: Option<Tensor<1>>,
    pub adapter: Option<Adapter>,
}

impl Linear {
    /// `x` `[rows, in]` to `[rows, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = self.product(x);
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze_dim::<2>(0),
            None => y,
        }
    }

    fn product(&self, x: Tensor<2>) -> Tensor<2> {
        let Some(adapter) = &self.adapter else {
            return self.weight.product(x);
        };
        let norm = || adapter.norm.clone().unwrap_or_else(|| self.row_norm(adapter));
        let stretch = adapter.magnitude.clone().map(|magnitude| (magnitude, norm()));
        let (a, b) = (adapter.a.clone(), adapter.b.clone());
        if let Weight::Plain(weight) = &self.weight
            && host::on_host(&x)
        {
            let ones = || Tensor::ones([weight.dims()[0]], &weight.device().inner());
            let stretch = stretch.unwrap_or_else(|| (ones(), ones()));
            return fused::adapted([x, weight.clone(), a, b], stretch, adapter.scale);
        }
        let update = x.clone().matmul(a.transpose()).matmul(b.transpose());
        let y = self.weight.product(x) + update.mul_scalar(adapter.scale);
        match stretch {
            Some((magnitude, norm)) => y * (magnitude / norm).unsqueeze_dim::<2>(0),
            None => y,
        }
    }

    /// Recomputes DoRA's norm; to be called after every change of `a` or `b`, so once per optimizer step.
    pub fn refresh_norm(&mut self) {
        let Some(mut adapter) = self.adapter.take() else { return };
        if adapter.magnitude.is_some() {
            if adapter.base_norm_squared.is_none() {
                adapter.base_norm_squared = Some(row_sum(self.weight.untracked().tensor().powi_scalar(2)));
            }
            adapter.norm = Some(self.row_norm(&adapter));
        }
        self.adapter = Some(adapter);
    }

    /// To be called after a change of the weight, which happens to no weight that has an adapter in training.
    pub(crate) fn forget_norm(&mut self) {
        if let Some(adapter) = &mut self.adapter {
            adapter.base_norm_squared = None;
        }
    }

    /// `‖W + sBA‖` per output row by the factored identity
    /// `‖W‖² + 2s·rowsum((WAᵀ)∘B) + s²·rowsum((B(AAᵀ))∘B)`, so that no `[out, in]` tensor is made.
    fn row_norm(&self, adapter: &Adapter) -> Tensor<1> {
        let (a, b) = (adapter.a.clone().inner(), adapter.b.clone().inner());
        let weight = self.weight.untracked();
        let base = adapter.base_norm_squared.clone().unwrap_or_else(|| row_sum(weight.tensor().powi_scalar(2)));
        let cross = row_sum(weight.product(a.clone()).transpose() * b.clone());
        let gram = fused::product([a.clone(), a], [false, true]);
        let square = row_sum(fused::product([b.clone(), gram], [false, false]) * b);
        let scale = adapter.scale;
        (base + cross.mul_scalar(2.0 * scale) + square.mul_scalar(scale * scale)).clamp_min(0.0).sqrt()
    }

    /// This layer with the adapter folded into the weight, in float32: `(m/n) ⊙ (W + sBA)`.
    pub fn merged(&self) -> Linear {
        Linear { weight: self.merged_weight(), bias: self.bias.clone(), adapter: None }
    }

    fn merged_weight(&self) -> Weight {
        let Some(adapter) = &self.adapter else { return self.weight.clone() };
        let update = fused::product([adapter.b.clone(), adapter.a.clone()], [false, false]).mul_scalar(adapter.scale);
        let merged = self.weight.tensor() + update;
        Weight::Plain(match adapter.magnitude.clone() {
            Some(magnitude) => {
                let norm = row_sum(merged.clone().powi_scalar(2)).sqrt();
                merged * (magnitude / norm).unsqueeze_dim::<2>(1)
            }
            None => merged,
        })
    }
}

/// `[rows, columns]` to `[rows]`.
fn row_sum(tensor: Tensor<2>) -> Tensor<1> {
    tensor.sum_dim(1).squeeze_dim::<1>(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::{Device, TensorData};
    use serde_json::Value;

    use super::*;
    use crate::fixtures::{self, assert_close};
    use crate::parameter::Slot;
    use crate::weights::to_host;

    /// The numbers of a tensor as the vectors have them.
    fn numbers(tensor: &Value) -> Vec<f32> {
        serde_json::from_value(tensor["data"].clone()).unwrap()
    }

    fn matrix(tensor: &Value) -> Tensor<2> {
        let shape: [usize; 2] = serde_json::from_value(tensor["shape"].clone()).unwrap();
        Tensor::from_data(TensorData::new(numbers(tensor), shape), &Device::flex())
    }

    /// A vector that may be absent.
    fn vector(tensor: &Value) -> Option<Tensor<1>> {
        tensor.is_object().then(|| Tensor::from_data(numbers(tensor).as_slice(), &Device::flex()))
    }

    /// PEFT's own layers: LoRA and DoRA, with either scale, with a bias and without.
    #[test]
    fn results_gradients_and_merged_weights_are_pefts() {
        let file = fixtures::json(&fixtures::folder("vectors/lora_dora_linear.json"));
        let cases = file["cases"].as_array().unwrap();
        for case in cases {
            let bias = case["bias"].is_object();
            let what = format!("DoRA {}, rsLoRA {}, bias {bias}", case["use_dora"], case["use_rslora"]);
            let adapter = Adapter::new(
                matrix(&case["A"]),
                matrix(&case["B"]),
                vector(&case["magnitude"]),
                case["scaling"].as_f64().unwrap(),
            );
            let weight = Weight::Plain(matrix(&case["W"]));
            let mut linear = Linear { weight, bias: vector(&case["bias"]), adapter: Some(adapter) };
            linear.refresh_norm();
            let merged = to_host(linear.merged().weight.tensor());
            assert_close(&merged, &numbers(&case["merged_W"]), 1e-5, &what);

            Slot::Two(linear.weight.plain_mut().unwrap()).track(false);
            linear.bias.iter_mut().for_each(|bias| Slot::One(bias).track(false));
            let adapter = linear.adapter.as_mut().unwrap();
            Slot::Two(&mut adapter.a).track(true);
            Slot::Two(&mut adapter.b).track(true);
            adapter.magnitude.iter_mut().for_each(|magnitude| Slot::One(magnitude).track(true));
            let x = matrix(&case["x"]).autodiff().require_grad();
            let y = linear.forward(x.clone());
            assert_close(&to_host(y.clone().inner()), &numbers(&case["y"]), 1e-5, &what);
            let graph = (y * matrix(&case["dy"]).autodiff()).sum().backward();
            let adapter = linear.adapter.as_mut().unwrap();
            let mut found = vec![
                ("x", x.grad(&graph).map(to_host)),
                ("A", adapter.a.grad(&graph).map(to_host)),
                ("B", adapter.b.grad(&graph).map(to_host)),
            ];
            if let (Some(magnitude), Some(norm)) = (&adapter.magnitude, &adapter.norm) {
                found.push(("magnitude", magnitude.grad(&graph).map(to_host)));
                assert_close(&to_host(norm.clone()), &numbers(&case["weight_norm"]), 1e-5, &what);
            }
            assert_eq!(found.len(), case["grads"].as_object().unwrap().len(), "{what}");
            for (name, found) in found {
                assert_close(&found.unwrap(), &numbers(&case["grads"][name]), 1e-5, &format!("{name} of {what}"));
            }
        }
        assert_eq!(cases.len(), 8);
    }

    /// I5: DoRA's norm by the factored identity is that of the whole weight.
    #[test]
    fn i5_the_factored_norm_is_the_direct_one() {
        let numbers = |shape: [usize; 2], by: usize| {
            let values: Vec<f32> = (0..shape[0] * shape[1]).map(|at| ((at * by) % 83) as f32 / 41.0 - 1.0).collect();
            Tensor::<2>::from_data(TensorData::new(values, shape), &Device::flex())
        };
        let (weight, a, b, scale) = (numbers([7, 5], 31), numbers([3, 5], 17), numbers([7, 3], 13), 0.7);
        let direct = row_sum((weight.clone() + b.clone().matmul(a.clone()).mul_scalar(scale)).powi_scalar(2)).sqrt();
        let magnitude = Some(Tensor::ones([7], &Device::flex()));
        let adapter = Some(Adapter::new(a, b, magnitude, scale));
        let mut linear = Linear { weight: Weight::Plain(weight), bias: None, adapter };
        linear.refresh_norm();
        let factored = linear.adapter.and_then(|adapter| adapter.norm).map(to_host).unwrap_or_default();
        let direct = to_host(direct);
        assert_eq!(factored.len(), 7);
        assert!(factored.iter().zip(&direct).all(|(a, b)| (a - b).abs() < 1e-5 * b), "{factored:?} {direct:?}");
    }
}
