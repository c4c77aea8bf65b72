//! Safetensors in and out: names and tensors, with shapes checked by whoever asks for them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::LmError;

/// The tensors of a checkpoint on the host, in float32.
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    /// Reads `model.safetensors` of a folder, or the shards that `model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// Naming the file that is missing or malformed.
    pub fn load_model(folder: &Path) -> Result<Weights, LmError> {
        let index = folder.join("model.safetensors.index.json");
        if !index.exists() {
            return Weights::load(&folder.join("model.safetensors"));
        }
        let text = std::fs::read_to_string(&index).map_err(LmError::io(&index))?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| LmError::file(&index, error))?;
        let map = value.get("weight_map").and_then(|map| map.as_object());
        let map = map.ok_or_else(|| LmError::file(&index, "`weight_map` is missing"))?;
        let shards: std::collections::BTreeSet<&str> = map.values().filter_map(|name| name.as_str()).collect();
        let mut all = Weights { path: index.clone(), tensors: BTreeMap::new() };
        for shard in shards {
            all.tensors.extend(Weights::load(&folder.join(shard))?.tensors);
        }
        Ok(all)
    }

    /// Reads one safetensors file (F32, BF16, F16; I32 and I64 as floats).
    ///
    /// # Errors
    /// Naming file and tensor.
    pub fn load(path: &Path) -> Result<Weights, LmError> {
        let bytes = std::fs::read(path).map_err(LmError::io(path))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| LmError::file(path, error))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let values = floats(&view).ok_or_else(|| {
                LmError::tensor(path, name, format!("has dtype {:?}, which is not supported", view.dtype()))
            })?;
            tensors.insert(name.to_string(), (view.shape().to_vec(), values));
        }
        Ok(Weights { path: path.to_path_buf(), tensors })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shape and values of a tensor.
    pub fn get(&self, name: &str) -> Option<(&[usize], &[f32])> {
        self.tensors.get(name).map(|(shape, values)| (shape.as_slice(), values.as_slice()))
    }

    /// Takes a tensor of a given shape out.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn take<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, LmError> {
        let (found, values) =
            self.tensors.remove(name).ok_or_else(|| LmError::tensor(&self.path, name, "is missing"))?;
        if found != shape {
            return Err(LmError::tensor(&self.path, name, format!("has shape {found:?}, expected {shape:?}")));
        }
        Ok(Tensor::from_data(TensorData::new(values, shape), device))
    }

    /// Takes a tensor of any shape with `count` elements out, as a vector.
    ///
    /// # Errors
    /// When it is missing or has another size.
    pub fn take_flat(&mut self, name: &str, count: usize, device: &Device) -> Result<Tensor<1>, LmError> {
        if let Some((shape, _)) = self.tensors.get_mut(name)
            && shape.iter().product::<usize>() == count
        {
            *shape = vec![count];
        }
        self.take(name, [count], device)
    }

    /// Whether nothing is left: a tensor that nobody asked for is a mistake.
    ///
    /// # Errors
    /// Naming the first tensor that is left.
    pub fn finish(&self) -> Result<(), LmError> {
        match self.tensors.keys().next() {
            Some(name) => Err(LmError::tensor(&self.path, name, "is not part of this architecture")),
            None => Ok(()),
        }
    }
}

fn floats(view: &TensorView) -> Option<Vec<f32>> {
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => four(bytes).map(f32::from_le_bytes).collect(),
        Dtype::I32 => four(bytes).map(|b| i32::from_le_bytes(b) as f32).collect(),
        Dtype::BF16 => two(bytes).map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F16 => two(bytes).map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::I64 => bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b) as f32).collect(),
        _ => return None,
    })
}

fn four(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    bytes.as_chunks::<4>().0.iter().copied()
}

fn two(bytes: &[u8]) -> impl Iterator<Item = [u8; 2]> + '_ {
    bytes.as_chunks::<2>().0.iter().copied()
}

/// A tensor on the host: name, shape, values.
pub type Named = (String, Vec<usize>, Vec<f32>);

/// The values of a tensor on the host, row-major.
pub fn to_host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap_or_default()
}

/// Writes one safetensors file in float32 with the metadata that Hugging Face expects.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, tensors: &[Named]) -> Result<(), LmError> {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| LmError::file(path, error))?;
    let metadata = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| LmError::file(path, error))
}
