//! The matrix of a linear layer, of the embeddings or of the head.

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use gazal_kernels::{Form, Packed};

use crate::device::cpu;
use crate::fused;
use crate::weights::to_host;

/// A matrix `[outputs, inputs]`, as checkpoints store it.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are some hundred weights to a model, and most are plain")]
pub enum Weight {
    /// A tensor on any device, which can be trained.
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

    /// As a tensor; a packed one is unpacked into a copy.
    pub fn tensor(&self) -> Tensor<2> {
        match self {
            Weight::Plain(tensor) => tensor.clone(),
            Weight::Packed(packed) => {
                let all: Vec<u32> = (0..packed.outputs as u32).collect();
                from_host(packed.rows(&all), self.dims())
            }
        }
    }

    /// The same laid out for products; itself where it is already, in whatever form.
    pub fn packed(&self, form: Form) -> Weight {
        match self {
            Weight::Plain(tensor) => {
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

    /// The rows with these numbers: `[n, inputs]`.
    pub fn rows(&self, rows: &[u32]) -> Tensor<2> {
        match self {
            Weight::Plain(tensor) => {
                let rows: Tensor<1, Int> = crate::indices(rows.iter().map(|&row| row as usize), &tensor.device());
                tensor.clone().select(0, rows)
            }
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
