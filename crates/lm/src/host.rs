//! Operations on the CPU that have a backward pass of their own: what a decoder's training spends its time on besides
//! products.
//!
//! Composed of tensor operations, attention, norms, rotations and gates each write several tensors as large as their
//! input, or as positions times positions, and read them again in the backward pass. Here they are one pass over slices
//! of the tensors' own memory (`gazal-kernels`), which Burn's graph sees as one node. Other devices compose, and fuse by
//! themselves.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Element, Shape, Tensor, TensorData};
use bytemuck::Pod;

use crate::device;

/// An operation on contiguous tensors, with one result in float32. Matrices may be in bfloat16; all else is float32, and so
/// are gradients.
pub(crate) trait HostOp: Debug + Send + Sync + 'static {
    /// The result, and what the backward pass needs besides it and the inputs.
    fn forward(&self, inputs: &[FlexTensor]) -> (FlexTensor, Vec<FlexTensor>);

    /// `∂L/∂input` of each input; of those that are not wanted it may be `None`.
    fn backward(&self, pass: &Pass) -> Vec<Option<FlexTensor>>;
}

/// What a backward pass starts from.
pub(crate) struct Pass<'a> {
    pub inputs: &'a [FlexTensor],
    pub output: &'a FlexTensor,
    pub saved: &'a [FlexTensor],
    /// `∂L/∂output`.
    pub gradient: &'a FlexTensor,
    pub wanted: &'a [bool],
}

/// The values of a contiguous tensor in float32.
pub(crate) fn values(tensor: &FlexTensor) -> &[f32] {
    numbers(tensor)
}

/// The values of a contiguous tensor in its own type.
pub(crate) fn numbers<T: Element + Pod>(tensor: &FlexTensor) -> &[T] {
    match tensor.layout().contiguous_offsets() {
        Some((from, to)) => &tensor.storage()[from..to],
        None => unreachable!("inputs are made contiguous"),
    }
}

pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// Whether `tensor` is where a [`HostOp`] can run.
pub(crate) fn on_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    device::is_cpu(&tensor.device())
}

/// `op` of one input.
pub(crate) fn unary<const D: usize, const E: usize>(a: Tensor<D>, op: impl HostOp) -> Tensor<E> {
    Tensor::from_dispatch(<Dispatch as HostOps>::host_unary(a.into_dispatch(), Arc::new(op)))
}

/// `op` of two inputs.
pub(crate) fn binary<const A: usize, const B: usize, const E: usize>(
    (a, b): (Tensor<A>, Tensor<B>),
    op: impl HostOp,
) -> Tensor<E> {
    Tensor::from_dispatch(<Dispatch as HostOps>::host_binary(a.into_dispatch(), b.into_dispatch(), Arc::new(op)))
}

/// `op` of three inputs.
pub(crate) fn ternary<const D: usize, const E: usize>([a, b, c]: [Tensor<D>; 3], op: impl HostOp) -> Tensor<E> {
    let [a, b, c] = [a, b, c].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as HostOps>::host_ternary(a, b, c, Arc::new(op)))
}

/// `op` of five inputs.
pub(crate) fn quinary([a, b, c, d]: [Tensor<2>; 4], e: Tensor<1>, op: impl HostOp) -> Tensor<2> {
    let ([a, b, c, d], e) = ([a, b, c, d].map(Tensor::into_dispatch), e.into_dispatch());
    Tensor::from_dispatch(<Dispatch as HostOps>::host_quinary(a, b, c, d, e, Arc::new(op)))
}

#[backend_extension(Flex, Autodiff)]
pub(crate) trait HostOps: Backend {
    fn host_unary(a: FloatTensor<Self>, op: Arc<dyn HostOp>) -> FloatTensor<Self>;
    fn host_binary(a: FloatTensor<Self>, b: FloatTensor<Self>, op: Arc<dyn HostOp>) -> FloatTensor<Self>;
    fn host_ternary(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        op: Arc<dyn HostOp>,
    ) -> FloatTensor<Self>;
    fn host_quinary(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        op: Arc<dyn HostOp>,
    ) -> FloatTensor<Self>;
}

impl HostOps for Flex {
    fn host_unary(a: FlexTensor, op: Arc<dyn HostOp>) -> FlexTensor {
        op.forward(&[a.to_contiguous()]).0
    }

    fn host_binary(a: FlexTensor, b: FlexTensor, op: Arc<dyn HostOp>) -> FlexTensor {
        op.forward(&[a, b].map(|input| input.to_contiguous())).0
    }

    fn host_ternary(a: FlexTensor, b: FlexTensor, c: FlexTensor, op: Arc<dyn HostOp>) -> FlexTensor {
        op.forward(&[a, b, c].map(|input| input.to_contiguous())).0
    }

    fn host_quinary(
        a: FlexTensor,
        b: FlexTensor,
        c: FlexTensor,
        d: FlexTensor,
        e: FlexTensor,
        op: Arc<dyn HostOp>,
    ) -> FlexTensor {
        op.forward(&[a, b, c, d, e].map(|input| input.to_contiguous())).0
    }
}

impl<C: CheckpointStrategy> HostOps for Autodiff<Flex, C> {
    fn host_unary(a: FloatTensor<Self>, op: Arc<dyn HostOp>) -> FloatTensor<Self> {
        tracked::<1, C>([a], op)
    }

    fn host_binary(a: FloatTensor<Self>, b: FloatTensor<Self>, op: Arc<dyn HostOp>) -> FloatTensor<Self> {
        tracked::<2, C>([a, b], op)
    }

    fn host_ternary(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        op: Arc<dyn HostOp>,
    ) -> FloatTensor<Self> {
        tracked::<3, C>([a, b, c], op)
    }

    fn host_quinary(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
        op: Arc<dyn HostOp>,
    ) -> FloatTensor<Self> {
        tracked::<5, C>([a, b, c, d, e], op)
    }
}

/// The same as a node of the graph.
fn tracked<const N: usize, C: CheckpointStrategy>(
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
    op: Arc<dyn HostOp>,
) -> FloatTensor<Autodiff<Flex, C>> {
    let guards = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| input.into_primitive().to_contiguous());
    let (output, saved) = op.forward(&inputs);
    match Node.prepare::<C>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(State { inputs, output: output.clone(), saved, op }, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

#[derive(Debug)]
struct Node;

#[derive(Clone, Debug)]
struct State<const N: usize> {
    inputs: [FlexTensor; N],
    output: FlexTensor,
    saved: Vec<FlexTensor>,
    op: Arc<dyn HostOp>,
}

impl<const N: usize> Backward<Flex, N> for Node {
    type State = State<N>;

    fn backward(self, ops: Ops<State<N>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let State { inputs, output, saved, op } = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let pass = Pass { inputs: &inputs, output: &output, saved: &saved, gradient: &gradient, wanted: &wanted };
        for (parent, toward) in ops.parents.into_iter().zip(op.backward(&pass)) {
            if let (Some(parent), Some(toward)) = (parent, toward) {
                gradients.register::<Flex>(parent.id, toward);
            }
        }
    }
}
