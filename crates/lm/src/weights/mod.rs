//! Safetensors in and out, one tensor at a time.
//!
//! Reading looks at headers first and checks them wholly; a tensor's bytes then go from the file straight into the
//! tensor's buffer, so that a checkpoint is never twice in memory, and nothing outside of the file or larger than it
//! is ever asked for. Writing knows the names and shapes first, so that each tensor has its place and can be let go of
//! before the next one is made.
//! <https://github.com/huggingface/safetensors#format>

mod file;
mod header;
mod index;
mod shards;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use half::{bf16, f16};

use crate::LmError;
use file::{Entry, Source};
pub use shards::{MAX_SHARD_SIZE, parse_size};
pub use writer::{FileWriter, ModelWriter, Place, Planned};

// Numbers go to and from files as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"), "safetensors are little-endian, and so has the machine to be");

/// How floats are kept, in a file or on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    F32,
    Bf16,
    F16,
}

impl Precision {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::Bf16 | Precision::F16 => 2,
        }
    }

    /// As `config.json` spells it in `torch_dtype`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "float32",
            Precision::Bf16 => "bfloat16",
            Precision::F16 => "float16",
        }
    }

    pub(crate) fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
            Precision::F16 => DType::F16,
        }
    }
}

/// The tensors of a checkpoint, in its files until they are taken.
#[derive(Debug)]
pub struct Weights {
    /// The file, or the index of several.
    path: PathBuf,
    tensors: BTreeMap<String, Entry>,
}

impl Weights {
    /// Opens `model.safetensors` of a folder, or the shards that `model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// Naming the file that is missing or malformed, and the tensor.
    pub fn load_model(folder: &Path) -> Result<Weights, LmError> {
        let path = folder.join(index::FILE);
        match path.exists() {
            true => Ok(Weights { tensors: index::open(folder)?, path }),
            false => Weights::load(&folder.join("model.safetensors")),
        }
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// Naming the file that is missing or malformed, and the tensor.
    pub fn load(path: &Path) -> Result<Weights, LmError> {
        let source = Arc::new(Source::open(path)?);
        let tensors = source.entries()?.into_iter().collect();
        Ok(Weights { path: path.to_path_buf(), tensors })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The values of a tensor, row-major: F64, F32, BF16 and F16 rounded to float32, I32 and I64 as floats.
    ///
    /// # Errors
    /// Naming file and tensor when it is missing, has another type or cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, LmError> {
        let entry = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        entry.read(name, |value| value)
    }

    /// The values of a tensor from the `start`th on, as many as there is room for, as [`Weights::read`] gives them.
    ///
    /// # Errors
    /// As [`Weights::read`], and where there are not so many.
    pub fn read_at(&self, name: &str, start: usize, into: &mut [f32]) -> Result<(), LmError> {
        let entry = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        entry.read_at(name, start, into)
    }

    /// Shape and values of a tensor as [`Weights::read`] gives them. They stay in memory beside what is taken: for files
    /// that are small, or looked at again.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub fn get(&self, name: &str) -> Result<(&[usize], &[f32]), LmError> {
        let entry = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        Ok((&entry.shape, entry.kept(name)?))
    }

    /// Takes a tensor of a given shape out, in float32.
    ///
    /// # Errors
    /// When it is missing, has another shape or type, or cannot be read.
    pub fn take<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, LmError> {
        self.take_in(Precision::F32, name, shape, device)
    }

    /// Takes a tensor of a given shape out, in a given precision.
    ///
    /// # Errors
    /// When it is missing, has another shape or type, or cannot be read.
    pub fn take_in<const D: usize>(
        &mut self,
        precision: Precision,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, LmError> {
        let entry = self.tensors.remove(name).ok_or_else(|| self.missing(name))?;
        if entry.shape != shape {
            return Err(entry.error(name, format!("has shape {:?}, expected {shape:?}", entry.shape)));
        }
        let data = match precision {
            Precision::F32 => TensorData::new(entry.read(name, |value| value)?, shape),
            Precision::Bf16 => TensorData::new(entry.read(name, bf16::from_f32)?, shape),
            Precision::F16 => TensorData::new(entry.read(name, f16::from_f32)?, shape),
        };
        Ok(Tensor::from_data(data, (device, precision.dtype())))
    }

    /// Takes a tensor of any shape with `count` elements out, as a vector.
    ///
    /// # Errors
    /// When it is missing, has another size or type, or cannot be read.
    pub fn take_flat(&mut self, name: &str, count: usize, device: &Device) -> Result<Tensor<1>, LmError> {
        if let Some(entry) = self.tensors.get_mut(name)
            && entry.shape.iter().product::<usize>() == count
        {
            entry.shape = vec![count];
        }
        self.take(name, [count], device)
    }

    /// Leaves out the tensors that `unwanted` names: what a checkpoint may hold and this architecture does not use.
    pub fn ignore(&mut self, unwanted: impl Fn(&str) -> bool) {
        self.tensors.retain(|name, _| !unwanted(name));
    }

    /// Whether nothing is left: a tensor that nobody asked for is a mistake.
    ///
    /// # Errors
    /// Naming the first tensor that is left, and its file.
    pub fn finish(&self) -> Result<(), LmError> {
        match self.tensors.first_key_value() {
            Some((name, entry)) => Err(entry.error(name, "is not part of this architecture")),
            None => Ok(()),
        }
    }

    fn missing(&self, name: &str) -> LmError {
        LmError::tensor(&self.path, name, "is missing")
    }
}

/// A tensor on the host: name, shape, values.
pub type Named = (String, Vec<usize>, Vec<f32>);

/// The values of a tensor on the host, row-major.
pub fn to_host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap_or_default()
}

/// The largest difference of two lists of values; NaN where one of them is, or is missing, so that no bound holds for it.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let from = if a.len() == b.len() { 0.0 } else { f32::NAN };
    let larger = |a: f32, b: f32| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) };
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(from, larger)
}

/// Writes one safetensors file in float32 with the metadata that Hugging Face expects.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, tensors: &[Named]) -> Result<(), LmError> {
    let plan: Vec<Planned> = tensors.iter().map(|(name, shape, _)| (name.clone(), shape.clone())).collect();
    let mut writer = FileWriter::create(path, &plan, Precision::F32)?;
    for (name, _, values) in tensors {
        writer.write(name, values)?;
    }
    writer.finish()
}
