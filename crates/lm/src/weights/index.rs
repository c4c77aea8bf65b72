//! `model.safetensors.index.json`: which of several files holds which tensor.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};
use std::sync::Arc;

use serde_json::{Value, json};

use super::file::{Entry, Source};
use crate::LmError;

pub const FILE: &str = "model.safetensors.index.json";

/// The tensors of all shards that the index of `folder` names.
///
/// # Errors
/// Naming the file or tensor that is missing, twice there or elsewhere than the index says, and a name of a file that
/// does not lie in the folder.
pub fn open(folder: &Path) -> Result<BTreeMap<String, Entry>, LmError> {
    let path = folder.join(FILE);
    let map = read(&path)?;
    let mut tensors: BTreeMap<String, Entry> = BTreeMap::new();
    let mut shards: Vec<&String> = map.values().collect();
    shards.sort_unstable();
    shards.dedup();
    for shard in shards {
        let source = Arc::new(Source::open(&folder.join(shard))?);
        for (name, entry) in source.entries()? {
            if let Some(other) = tensors.get(&name) {
                return Err(entry.error(&name, format!("is in {} too", other.path().display())));
            }
            tensors.insert(name, entry);
        }
    }
    for (name, shard) in &map {
        if tensors.get(name).is_none_or(|entry| entry.path() != folder.join(shard)) {
            return Err(LmError::tensor(&path, name, format!("is not in `{shard}`, where it should be")));
        }
    }
    Ok(tensors)
}

/// Tensor to file.
fn read(path: &Path) -> Result<BTreeMap<String, String>, LmError> {
    let text = fs::read_to_string(path).map_err(LmError::io(path))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| LmError::file(path, error))?;
    let map = value["weight_map"].as_object();
    let map = map.ok_or_else(|| LmError::file(path, "`weight_map` is missing"))?;
    let entry = |(name, shard): (&String, &Value)| match shard.as_str() {
        Some(shard) if is_plain(shard) => Ok((name.clone(), shard.to_string())),
        _ => Err(LmError::tensor(path, name, format!("is said to be in {shard}, which is no file of this folder"))),
    };
    map.iter().map(entry).collect()
}

/// Whether `name` is a mere file name, so that the file lies in the folder.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name)
}

/// The index of a model with `parameters` numbers in `size` bytes, as transformers writes it.
pub fn render(map: &BTreeMap<String, String>, parameters: usize, size: u64) -> String {
    let metadata = json!({ "total_parameters": parameters, "total_size": size });
    format!("{:#}\n", json!({ "metadata": metadata, "weight_map": map }))
}
