//! Reference cases for tests.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::SafeTensors;

/// A file of the folder `GAZAL_FIXTURES`, or beside it, or, where that set has none, of this repository's copy.
fn read(name: &str) -> Vec<u8> {
    let tree = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let folder = std::env::var_os("GAZAL_FIXTURES").map_or_else(|| tree.clone(), PathBuf::from);
    let places = [folder.join(name), folder.join("..").join(name), tree.join(name)];
    places.iter().find_map(|place| std::fs::read(place).ok()).unwrap()
}

pub(crate) fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&read(name)).unwrap()
}

/// The float32 tensors of a file, with their shapes.
pub(crate) fn tensors(name: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = read(name);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |data: &[u8]| data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    tensors.iter().map(|(name, view)| (name.into(), (view.shape().to_vec(), numbers(view.data())))).collect()
}
