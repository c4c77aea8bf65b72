//! The operations of [`crate::host`] that a decoder has: attention, norms, rotations, SwiGLU's gate, and linear layers
//! with an adapter.

use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Tensor;
use gazal_kernels::{AttentionShape, Normed, RotaryShape};

use crate::frame::{Frame, HostAngles};
use crate::host::{HostOp, Pass, binary, quinary, tensor, ternary, unary, values};
use crate::weights::to_host;

/// Queries `[rows, seq, heads, head_dim]` to what they find in keys and values `[rows, seq, key heads, head_dim]`, as
/// `[rows × seq, heads × head_dim]`.
pub(crate) fn attended([q, k, v]: [Tensor<4>; 3], frame: &Frame) -> Tensor<2> {
    let ([rows, seq, heads, head_dim], [_, _, kv_heads, _]) = (q.dims(), k.dims());
    let shape = AttentionShape { rows, seq, heads, kv_heads, head_dim };
    ternary([q, k, v], Attention { shape, first: frame.first_seen() })
}

/// RMS norm over the last axis.
pub(crate) fn normed<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    binary((x, weight), Norm { epsilon: epsilon as f32 })
}

/// `x` `[rows, seq, heads, head_dim]` turned by its positions.
pub(crate) fn rotated(x: Tensor<4>, angles: &Arc<HostAngles>) -> Tensor<4> {
    let [rows, seq, heads, dim] = x.dims();
    let shape = RotaryShape { rows, seq, heads, dim, turning: angles.turning };
    unary(x, Rotation { shape, angles: angles.clone() })
}

/// `silu(gate) ⊙ up`.
pub(crate) fn gated(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    binary((gate, up), Gate)
}

/// `xWᵀ`.
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    binary((x, weight), Linear)
}

/// `(m/n) ⊙ (xWᵀ + s·(xAᵀ)Bᵀ)`, with `m` and `n` of each output.
pub(crate) fn adapted(
    [x, weight, a, b]: [Tensor<2>; 4],
    (magnitude, norm): (Tensor<1>, Tensor<1>),
    scale: f64,
) -> Tensor<2> {
    quinary([x, weight, a, b], magnitude, Adapted { norm: to_host(norm), scale: scale as f32 })
}

#[derive(Debug)]
struct Attention {
    shape: AttentionShape,
    first: Vec<u32>,
}

impl HostOp for Attention {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let AttentionShape { rows, seq, heads, head_dim, .. } = self.shape;
        let inputs = [values(&inputs[0]), values(&inputs[1]), values(&inputs[2])];
        let (found, log_sums) = gazal_kernels::attention(self.shape, &self.first, inputs);
        (tensor(found, [rows * seq, heads * head_dim]), vec![tensor(log_sums, [rows, heads, seq])])
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let inputs = [values(&pass.inputs[0]), values(&pass.inputs[1]), values(&pass.inputs[2])];
        let after = [values(&pass.saved[0]), values(pass.gradient)];
        let toward = gazal_kernels::attention_backward(self.shape, &self.first, inputs, after);
        let like = |(toward, input): (Vec<f32>, &FlexTensor)| Some(tensor(toward, input.layout().shape().clone()));
        toward.into_iter().zip(pass.inputs).map(like).collect()
    }
}

#[derive(Debug)]
struct Norm {
    epsilon: f32,
}

impl HostOp for Norm {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let (y, scales) = gazal_kernels::rms_norm(values(&inputs[0]), values(&inputs[1]), self.epsilon);
        let count = scales.len();
        (tensor(y, inputs[0].layout().shape().clone()), vec![tensor(scales, [count])])
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let [x, w] = [values(&pass.inputs[0]), values(&pass.inputs[1])];
        let normed = Normed { x, w, scales: values(&pass.saved[0]) };
        let (dx, dw) = gazal_kernels::rms_norm_backward(normed, values(pass.gradient), pass.wanted[1]);
        let shape = pass.inputs[0].layout().shape().clone();
        vec![Some(tensor(dx, shape)), dw.map(|dw| tensor(dw, [w.len()]))]
    }
}

#[derive(Debug)]
struct Rotation {
    shape: RotaryShape,
    angles: Arc<HostAngles>,
}

impl Rotation {
    fn angles(&self) -> [&[f32]; 2] {
        [&self.angles.cos, &self.angles.sin]
    }
}

impl HostOp for Rotation {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let turned = gazal_kernels::rotary(self.shape, values(&inputs[0]), self.angles());
        (tensor(turned, inputs[0].layout().shape().clone()), Vec::new())
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let toward = gazal_kernels::rotary_backward(self.shape, values(pass.gradient), self.angles());
        vec![Some(tensor(toward, pass.output.layout().shape().clone()))]
    }
}

#[derive(Debug)]
struct Gate;

impl HostOp for Gate {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let gated = gazal_kernels::swiglu(values(&inputs[0]), values(&inputs[1]));
        (tensor(gated, inputs[0].layout().shape().clone()), Vec::new())
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let [gate, up] = [values(&pass.inputs[0]), values(&pass.inputs[1])];
        let toward = gazal_kernels::swiglu_backward(gate, up, values(pass.gradient));
        toward.into_iter().map(|toward| Some(tensor(toward, pass.output.layout().shape().clone()))).collect()
    }
}

/// The weight's gradient in the weight's own layout, where autodiff would give that of its transpose.
#[derive(Debug)]
struct Linear;

impl HostOp for Linear {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        (product(&inputs[0], &inputs[1].transpose(0, 1)), Vec::new())
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let [x, weight] = [&pass.inputs[0], &pass.inputs[1]];
        let toward_x = pass.wanted[0].then(|| product(pass.gradient, weight));
        let toward_weight = pass.wanted[1].then(|| product(&pass.gradient.transpose(0, 1), x));
        vec![toward_x, toward_weight]
    }
}

/// Products are Burn's; what is between them is one pass forward and one backward. The weight is frozen.
#[derive(Debug)]
struct Adapted {
    /// `n` of each output, detached.
    norm: Vec<f32>,
    scale: f32,
}

impl Adapted {
    /// `m/n`.
    fn ratios(&self, magnitude: &FlexTensor) -> Vec<f32> {
        values(magnitude).iter().zip(&self.norm).map(|(magnitude, norm)| magnitude / norm).collect()
    }
}

impl HostOp for Adapted {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let [x, weight, a, b] = [&inputs[0], &inputs[1], &inputs[2], &inputs[3]];
        let within = product(x, &a.transpose(0, 1));
        let update = product(&within, &b.transpose(0, 1));
        let mut y = product(x, &weight.transpose(0, 1));
        gazal_kernels::adapt(y.storage_mut(), values(&update), (self.scale, &self.ratios(&inputs[4])));
        (y, vec![within])
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let [x, weight, a, b] = [&pass.inputs[0], &pass.inputs[1], &pass.inputs[2], &pass.inputs[3]];
        let (magnitude, within, ratios) = (&pass.inputs[4], &pass.saved[0], self.ratios(&pass.inputs[4]));
        let (dy, y) = (values(pass.gradient), values(pass.output));
        let (dz, weighted) = gazal_kernels::adapt_backward(dy, y, &ratios);
        let dz = tensor(dz, pass.output.layout().shape().clone());
        let mut toward_within = product(&dz, b);
        scale(&mut toward_within, self.scale);
        let toward_x = pass.wanted[0].then(|| {
            let mut toward = product(&dz, weight);
            add(&mut toward, &product(&toward_within, a));
            toward
        });
        let toward_a = product(&toward_within.transpose(0, 1), x);
        let mut toward_b = product(&dz.transpose(0, 1), within);
        scale(&mut toward_b, self.scale);
        // Σ dy·z/n with z = y/(m/n), which the output has in place of z.
        let toward_magnitude: Vec<f32> =
            weighted.iter().zip(values(magnitude)).map(|(sum, magnitude)| sum / magnitude).collect();
        let toward_magnitude = tensor(toward_magnitude, [ratios.len()]);
        vec![toward_x, None, Some(toward_a), Some(toward_b), Some(toward_magnitude)]
    }
}

fn product(a: &FlexTensor, b: &FlexTensor) -> FlexTensor {
    Flex::float_matmul(a.clone(), b.clone())
}

fn scale(tensor: &mut FlexTensor, factor: f32) {
    tensor.storage_mut::<f32>().iter_mut().for_each(|value| *value *= factor);
}

fn add(tensor: &mut FlexTensor, other: &FlexTensor) {
    tensor.storage_mut::<f32>().iter_mut().zip(values(other)).for_each(|(value, other)| *value += other);
}
