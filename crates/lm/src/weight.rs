//! The matrix of a linear layer, of the embeddings or of the head.
//!
//! In bfloat16 it takes half the memory, and what is multiplied with it is float32 all the same: on the CPU its numbers
//! are widened on their way into a product, and its gradient is float32; on other devices the other factor is rounded to
//! bfloat16, as PyTorch's autocast does.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use gazal_kernels::{Form, Packed};

use crate::device::cpu;
use crate::fused;
use crate::weights::to_host;

/// A matrix `[outputs, inputs]`, as checkpoints store it.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are some hundred weights to a model, and most are plain")]
pub enum Weight {
    /// A tensor on any device, in float32 or bfloat16, which can be trained.
    Plain(Tensor<2>),
    /// On the CPU and laid out for products; for generating and scoring alone, since no gradient passes it.
    Packed(Arc<Packed>),
}

impl Weight {
    /// `[outputs, inputs]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Weight::Plain(tensor) => tensor.dims(),
            Weight::Packed(packed) => [packed.outputs, packed.inputs],
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Weight::Plain(tensor) => tensor.device(),
            Weight::Packed(_) => cpu(),
        }
    }

    /// As a float32 tensor; one that is packed or in bfloat16 is copied.
    pub fn tensor(&self) -> Tensor<2> {
        match self {
            Weight::Plain(tensor) if tensor.dtype() == DType::F32 => tensor.clone(),
            Weight::Plain(tensor) => fused::widened(tensor.clone()),
            Weight::Packed(packed) => {
                let all: Vec<u32> = (0..packed.outputs as u32).collect();
                from_host(packed.rows(&all), self.dims())
            }
        }
    }

    /// The same without a graph.
    #[must_use]
    pub fn untracked(&self) -> Weight {
        match self {
            Weight::Plain(tensor) => Weight::Plain(tensor.clone().inner()),
            Weight::Packed(packed) => Weight::Packed(packed.clone()),
        }
    }

    /// Whether the graph has its gradient.
    pub fn is_trained(&self) -> bool {
        matches!(self, Weight::Plain(tensor) if tensor.is_require_grad())
    }

    /// The same laid out for products; itself where it is already, in whatever form, and in bfloat16 where its numbers
    /// are.
    pub fn packed(&self, form: Form) -> Weight {
        match self {
            Weight::Plain(tensor) => {
                let form = if tensor.dtype() == DType::BF16 { Form::Bf16 } else { form };
                Weight::Packed(Arc::new(Packed::new(&to_host(tensor.clone()), tensor.dims(), form)))
            }
            Weight::Packed(packed) => Weight::Packed(packed.clone()),
        }
    }

    /// `x` `[rows, inputs]` times the transpose: `[rows, outputs]`.
    ///
    /// # Panics
    /// When a packed weight is asked for gradients, as [`crate::Decoder::tracked`] never does.
    pub fn product(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Weight::Plain(tensor) => fused::product([x, tensor.clone()], [false, true]),
            Weight::Packed(packed) => {
                assert!(!x.is_autodiff(), "no gradient passes a packed weight");
                fused::packed(x, packed)
            }
        }
    }

    /// `x` `[rows, outputs]` times the matrix itself: `[rows, inputs]`.
    pub fn product_back(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Weight::Plain(tensor) => fused::product([x, tensor.clone()], [false, false]),
            Weight::Packed(_) => fused::product([x, self.tensor()], [false, false]),
        }
    }

    /// The rows with these numbers: `[n, inputs]`.
    pub fn rows(&self, rows: &[u32]) -> Tensor<2> {
        match self {
            Weight::Plain(tensor) => fused::rows(tensor.clone(), rows),
            Weight::Packed(packed) => from_host(packed.rows(rows), [rows.len(), packed.inputs]),
        }
    }

    /// The tensor of a weight that is not packed.
    pub(crate) fn plain_mut(&mut self) -> Option<&mut Tensor<2>> {
        match self {
            Weight::Plain(tensor) => Some(tensor),
            Weight::Packed(_) => None,
        }
    }
}

fn from_host(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), &cpu())
}
