//! The operations of [`crate::host`] that a decoder has: products, attention, norms, rotations, SwiGLU's gate, and linear
//! layers with an adapter.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor, bf16};
use gazal_kernels::{AttentionShape, Kept, Matrix, Normed, Packed, RotaryShape, add_product};

use crate::frame::{Frame, HostAngles};
use crate::host::{self, HostOp, Pass, binary, quinary, tensor, ternary, unary, values};
use crate::weights::to_host;

/// Queries `[rows, seq, heads, head_dim]` to what they find in keys and values `[rows, seq, key heads, head_dim]`, as
/// `[rows × seq, heads × head_dim]`.
pub(crate) fn attended([q, k, v]: [Tensor<4>; 3], frame: &Frame) -> Tensor<2> {
    let ([rows, seq, heads, head_dim], [_, _, kv_heads, _]) = (q.dims(), k.dims());
    let shape = AttentionShape { rows, seq, heads, kv_heads, head_dim };
    ternary([q, k, v], Attention { shape, first: frame.first_seen() })
}

/// The same of queries whose keys and values are the last of those that are kept, `[rows, key heads, room, head_dim]` with
/// `width` filled. Has no backward pass.
pub(crate) fn attended_kept([q, keys, values]: [Tensor<4>; 3], width: usize, frame: &Frame) -> Tensor<2> {
    let ([rows, seq, heads, head_dim], [_, kv_heads, room, _]) = (q.dims(), keys.dims());
    let shape = AttentionShape { rows, seq, heads, kv_heads, head_dim };
    ternary([q, keys, values], KeptAttention { shape, first: frame.first_seen(), width, room })
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

/// `a·b` in float32, with the transpose of each that is said to be `transposed`. Each may be float32 or bfloat16; or both
/// float64, and so is the product.
pub fn product([a, b]: [Tensor<2>; 2], transposed: [bool; 2]) -> Tensor<2> {
    if host::on_host(&a) && a.dtype() != DType::F64 {
        return binary((a, b), Product { transposed });
    }
    composed_product([a, b], transposed)
}

/// With a factor in bfloat16 both are multiplied in it.
fn composed_product([a, b]: [Tensor<2>; 2], transposed: [bool; 2]) -> Tensor<2> {
    let turned = |tensor: Tensor<2>, transposed| if transposed { tensor.transpose() } else { tensor };
    let (a, b) = (turned(a, transposed[0]), turned(b, transposed[1]));
    if [a.dtype(), b.dtype()].contains(&DType::BF16) {
        return a.cast(DType::BF16).matmul(b.cast(DType::BF16)).cast(DType::F32);
    }
    a.matmul(b)
}

/// The rows of a matrix with these numbers, in float32.
pub(crate) fn rows(matrix: Tensor<2>, rows: &[u32]) -> Tensor<2> {
    if host::on_host(&matrix) {
        return unary(matrix, Rows(rows.to_vec()));
    }
    let rows = crate::indices(rows.iter().map(|&row| row as usize), &matrix.device());
    matrix.select(0, rows).cast(DType::F32)
}

/// A matrix in bfloat16 as one in float32.
pub(crate) fn widened(matrix: Tensor<2>) -> Tensor<2> {
    if host::on_host(&matrix) { unary(matrix, Widening) } else { matrix.cast(DType::F32) }
}

/// `xWᵀ` with a packed weight. Has no backward pass.
pub(crate) fn packed(x: Tensor<2>, weight: &Arc<Packed>) -> Tensor<2> {
    unary(x, PackedProduct(weight.clone()))
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
struct KeptAttention {
    shape: AttentionShape,
    first: Vec<u32>,
    width: usize,
    room: usize,
}

impl HostOp for KeptAttention {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let AttentionShape { rows, seq, heads, head_dim, .. } = self.shape;
        let [q, keys, values] = [&inputs[0], &inputs[1], &inputs[2]].map(values);
        let kept = Kept { keys, values, width: self.width, room: self.room };
        let found = gazal_kernels::attention_kept(self.shape, &self.first, q, kept);
        (tensor(found, [rows * seq, heads * head_dim]), Vec::new())
    }

    fn backward(&self, _: &Pass) -> Vec<Option<FlexTensor>> {
        unreachable!("no gradient passes keys and values that are kept")
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

/// A factor's gradient is in its own layout, where autodiff would give that of its transpose.
#[derive(Debug)]
struct Product {
    transposed: [bool; 2],
}

impl Product {
    /// As they are multiplied.
    fn factors<'a>(&self, inputs: &'a [FlexTensor]) -> [Matrix<'a>; 2] {
        let [a, b] = [matrix(&inputs[0]), matrix(&inputs[1])];
        let turned = |matrix: Matrix<'a>, transposed| if transposed { matrix.transposed() } else { matrix };
        [turned(a, self.transposed[0]), turned(b, self.transposed[1])]
    }
}

impl HostOp for Product {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let [a, b] = self.factors(inputs);
        (tensor(gazal_kernels::product(a, b), [a.rows(), b.columns()]), Vec::new())
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let ([a, b], d) = (self.factors(pass.inputs), matrix(pass.gradient));
        let toward_a = || if self.transposed[0] { (b, d.transposed()) } else { (d, b.transposed()) };
        let toward_b = || if self.transposed[1] { (d.transposed(), a) } else { (a.transposed(), d) };
        let toward = |which: usize, (left, right): (Matrix, Matrix)| {
            tensor(gazal_kernels::product(left, right), pass.inputs[which].layout().shape().clone())
        };
        vec![pass.wanted[0].then(|| toward(0, toward_a())), pass.wanted[1].then(|| toward(1, toward_b()))]
    }
}

#[derive(Debug)]
struct Rows(Vec<u32>);

impl HostOp for Rows {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let matrix = matrix(&inputs[0]);
        let mut found = vec![0.0; self.0.len() * matrix.columns()];
        for (out, &row) in found.chunks_exact_mut(matrix.columns()).zip(&self.0) {
            matrix.read_row(row as usize, out);
        }
        (tensor(found, [self.0.len(), matrix.columns()]), Vec::new())
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let (shape, columns) = (pass.inputs[0].layout().shape().clone(), pass.output.layout().shape()[1]);
        let mut toward = vec![0.0; shape.num_elements()];
        for (toward_row, &row) in values(pass.gradient).chunks_exact(columns).zip(&self.0) {
            let sums = &mut toward[row as usize * columns..][..columns];
            sums.iter_mut().zip(toward_row).for_each(|(sum, value)| *sum += value);
        }
        vec![Some(tensor(toward, shape))]
    }
}

#[derive(Debug)]
struct Widening;

impl HostOp for Widening {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let wide = host::numbers::<bf16>(&inputs[0]).iter().map(|value| value.to_f32()).collect();
        (tensor(wide, inputs[0].layout().shape().clone()), Vec::new())
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        vec![Some(pass.gradient.clone())]
    }
}

#[derive(Debug)]
struct PackedProduct(Arc<Packed>);

impl HostOp for PackedProduct {
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>) {
        let rows = inputs[0].layout().shape()[0];
        (tensor(self.0.product(values(&inputs[0])), [rows, self.0.outputs]), Vec::new())
    }

    fn backward(&self, _: &Pass) -> Vec<Option<FlexTensor>> {
        unreachable!("no gradient passes a packed weight")
    }
}

/// What is between the products is one pass forward and one backward. The weight is frozen.
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
        let [x, weight, a, b] = [&inputs[0], &inputs[1], &inputs[2], &inputs[3]].map(matrix);
        let within = gazal_kernels::product(x, a.transposed());
        let update = gazal_kernels::product(Matrix::new(&within, [x.rows(), a.rows()]), b.transposed());
        let mut y = gazal_kernels::product(x, weight.transposed());
        gazal_kernels::adapt(&mut y, &update, (self.scale, &self.ratios(&inputs[4])));
        (tensor(y, [x.rows(), weight.rows()]), vec![tensor(within, [x.rows(), a.rows()])])
    }

    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>> {
        let [x, weight, a, b] = [&pass.inputs[0], &pass.inputs[1], &pass.inputs[2], &pass.inputs[3]].map(matrix);
        let (magnitude, within, ratios) = (&pass.inputs[4], matrix(&pass.saved[0]), self.ratios(&pass.inputs[4]));
        let (dz, weighted) = gazal_kernels::adapt_backward(values(pass.gradient), values(pass.output), &ratios);
        let dz = Matrix::new(&dz, [x.rows(), weight.rows()]);
        let scaled = |mut values: Vec<f32>| {
            values.iter_mut().for_each(|value| *value *= self.scale);
            values
        };
        let toward_within = scaled(gazal_kernels::product(dz, b));
        let toward_within = Matrix::new(&toward_within, [x.rows(), a.rows()]);
        let like = |values: Vec<f32>, which: usize| tensor(values, pass.inputs[which].layout().shape().clone());
        let toward_x = pass.wanted[0].then(|| {
            let mut toward = gazal_kernels::product(dz, weight);
            add_product(toward_within, a, &mut toward);
            like(toward, 0)
        });
        let toward_a = gazal_kernels::product(toward_within.transposed(), x);
        let toward_b = scaled(gazal_kernels::product(dz.transposed(), within));
        // Σ dy·z/n with z = y/(m/n), which the output has in place of z.
        let toward_magnitude = weighted.iter().zip(values(magnitude)).map(|(sum, magnitude)| sum / magnitude).collect();
        vec![toward_x, None, Some(like(toward_a, 2)), Some(like(toward_b, 3)), Some(like(toward_magnitude, 4))]
    }
}

fn matrix(tensor: &FlexTensor) -> Matrix<'_> {
    let shape = tensor.layout().shape();
    let shape = [shape[0], shape[1]];
    match tensor.dtype() {
        DType::BF16 => Matrix::of_bf16(host::numbers(tensor), shape),
        _ => Matrix::new(values(tensor), shape),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::weights::largest_difference;

    fn numbers(shape: [usize; 2], by: usize) -> Tensor<2> {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|at| ((at * by) % 83) as f32 / 41.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// What other devices compute: both factors are rounded, and so is the result.
    #[test]
    fn a_composed_product_with_bfloat16_is_near_the_one_in_float32() {
        let weight = numbers([7, 20], 31).cast(DType::BF16);
        let gradients = |product: &dyn Fn([Tensor<2>; 2]) -> Tensor<2>| {
            let x = numbers([5, 20], 17).autodiff().require_grad();
            let found = product([x.clone(), weight.clone().autodiff()]);
            let graph = (found.clone() * numbers([5, 7], 13).autodiff()).sum().backward();
            [to_host(found.inner()), to_host(x.grad(&graph).unwrap().inner())]
        };
        let exact = gradients(&|factors| product(factors, [false, true]));
        let composed = gradients(&|factors| composed_product(factors, [false, true]));
        for (exact, composed) in exact.iter().zip(&composed) {
            let largest = exact.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
            let worst = largest_difference(exact, composed);
            assert!(worst > 0.0 && worst < 0.02 * largest, "{worst} of {largest}");
        }
    }

    #[test]
    fn rows_that_come_twice_add_up_in_float32() {
        for precision in [DType::F32, DType::BF16] {
            let matrix = numbers([3, 2], 31).cast(precision).autodiff().require_grad();
            let found = rows(matrix.clone(), &[2, 0, 2, 2]);
            let wanted = to_host(numbers([3, 2], 31).cast(precision));
            assert_eq!(to_host(found.clone().inner())[..4], [wanted[4], wanted[5], wanted[0], wanted[1]]);
            let graph = (found * numbers([4, 2], 17).autodiff()).sum().backward();
            let toward = to_host(numbers([4, 2], 17));
            let sum = |column: usize| toward[column] + toward[4 + column] + toward[6 + column];
            let found = to_host(matrix.grad(&graph).unwrap().inner());
            assert_eq!(found, [toward[2], toward[3], 0.0, 0.0, sum(0), sum(1)]);
        }
    }
}
