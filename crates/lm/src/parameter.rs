//! Parameters as those see them who load, train and save a decoder: by checkpoint name, whatever their rank.

use burn::tensor::{DType, Device, Gradients, Tensor};

use crate::Config;
use crate::linear::Linear;
use crate::norm::RmsNorm;
use crate::weight::Weight;

/// A parameter with its rank.
pub enum Slot<'a> {
    One(&'a mut Tensor<1>),
    Two(&'a mut Tensor<2>),
    Three(&'a mut Tensor<3>),
}

impl Slot<'_> {
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Slot::One(tensor) => tensor.dims().to_vec(),
            Slot::Two(tensor) => tensor.dims().to_vec(),
            Slot::Three(tensor) => tensor.dims().to_vec(),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Slot::One(tensor) => tensor.dtype(),
            Slot::Two(tensor) => tensor.dtype(),
            Slot::Three(tensor) => tensor.dtype(),
        }
    }

    /// The parameter as a vector.
    pub fn flat(&self) -> Tensor<1> {
        match self {
            Slot::One(tensor) => (**tensor).clone(),
            Slot::Two(tensor) => flat(tensor),
            Slot::Three(tensor) => flat(tensor),
        }
    }

    /// Replaces the parameter by a vector of as many elements, in the type that the parameter has.
    pub fn set_flat(&mut self, values: Tensor<1>) {
        let values = values.cast(self.dtype());
        match self {
            Slot::One(tensor) => **tensor = values,
            Slot::Two(tensor) => **tensor = values.reshape(tensor.dims()),
            Slot::Three(tensor) => **tensor = values.reshape(tensor.dims()),
        }
    }

    /// The gradient of the parameter as a vector in float32.
    pub fn gradient(&self, gradients: &Gradients) -> Option<Tensor<1>> {
        let gradient = match self {
            Slot::One(tensor) => tensor.grad(gradients),
            Slot::Two(tensor) => tensor.grad(gradients).as_ref().map(flat),
            Slot::Three(tensor) => tensor.grad(gradients).as_ref().map(flat),
        };
        gradient.map(|gradient| gradient.cast(DType::F32))
    }

    pub(crate) fn move_to(&mut self, device: &Device) {
        match self {
            Slot::One(tensor) => **tensor = tensor.clone().to_device(device),
            Slot::Two(tensor) => **tensor = tensor.clone().to_device(device),
            Slot::Three(tensor) => **tensor = tensor.clone().to_device(device),
        }
    }

    /// Puts the parameter under autodiff, above nothing.
    pub(crate) fn track(&mut self, gradient: bool) {
        match self {
            Slot::One(tensor) => **tensor = tracked(tensor, gradient),
            Slot::Two(tensor) => **tensor = tracked(tensor, gradient),
            Slot::Three(tensor) => **tensor = tracked(tensor, gradient),
        }
    }
}

fn flat<const D: usize>(tensor: &Tensor<D>) -> Tensor<1> {
    let count = tensor.dims().iter().product::<usize>();
    tensor.clone().reshape([count])
}

fn tracked<const D: usize>(tensor: &Tensor<D>, gradient: bool) -> Tensor<D> {
    let tensor = tensor.clone().inner().autodiff();
    if gradient { tensor.require_grad() } else { tensor }
}

/// Which parameters train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trainable {
    /// Every parameter of the base model.
    Base,
    /// The adapters' parameters; the base is frozen.
    Adapters,
}

/// Gives the tensor of a name and shape as a vector.
pub(crate) type Give<'a, E> = &'a mut (dyn FnMut(&str, &[usize]) -> Result<Tensor<1>, E> + 'a);

/// Where a module takes its tensors from as it is built: those whose names begin with a prefix.
pub(crate) struct Source<'a, E> {
    pub prefix: String,
    pub tensors: Give<'a, E>,
}

impl<E> Source<'_, E> {
    /// The tensors of a part of this module.
    pub fn part(&mut self, name: &str) -> Source<'_, E> {
        Source { prefix: format!("{}.{name}", self.prefix), tensors: self.tensors }
    }

    pub fn take<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, E> {
        Ok((self.tensors)(&format!("{}.{name}", self.prefix), &shape)?.reshape(shape))
    }

    /// A linear layer from `size[1]` to `size[0]`.
    pub fn linear(&mut self, name: &str, size: [usize; 2], bias: bool) -> Result<Linear, E> {
        let weight = Weight::Plain(self.take(&format!("{name}.weight"), size)?);
        let bias = if bias { Some(self.take(&format!("{name}.bias"), [size[0]])?) } else { None };
        Ok(Linear { weight, bias, adapter: None })
    }

    /// A norm over `size` features, stored as most norms of this decoder are.
    pub fn norm(&mut self, name: &str, size: usize, config: &Config) -> Result<RmsNorm, E> {
        let weight = self.take(&format!("{name}.weight"), [size])?;
        Ok(RmsNorm { weight, epsilon: config.rms_norm_eps, zero_centred: config.zero_centred_norms })
    }
}
