//! GGUF files as Hugging Face folders.
//!
//! llama.cpp keeps a model in one file: fields, a tokenizer, and tensors that may be quantised. Here it is a format to
//! import from: numbers are taken out of their blocks, the rows of llama's queries and keys go back to where Hugging
//! Face has them, and the tokenizer becomes a `tokenizer.json`.
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

mod blocks;
mod config;
mod file;
mod reader;
mod tensors;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::weights::{MAX_SHARD_SIZE, ModelWriter, Precision};
use crate::{Config, LmError};
use file::Gguf;
use tensors::Plan;

/// Writes the model in `file` as a Hugging Face folder: `config.json`, `generation_config.json`, `tokenizer.json`,
/// `tokenizer_config.json` with the chat template, and safetensors in `precision`. Of tensors one at a time is in
/// memory.
///
/// # Errors
/// Naming the file and the field or tensor that is damaged or of a kind that cannot be imported.
pub fn import_gguf(file: &Path, folder: &Path, precision: Precision) -> Result<(), LmError> {
    let gguf = Gguf::open(file)?;
    let plan = Plan::of(&gguf)?;
    let documents = [
        ("config.json", config::config(&gguf, &plan, precision)?),
        ("generation_config.json", config::generation(&gguf)?),
        ("tokenizer.json", tokenizer::tokenizer(&gguf)?),
        ("tokenizer_config.json", tokenizer::config(&gguf)?),
    ];
    // What cannot be read again is not written.
    Config::from_json(documents[0].1.clone()).map_err(|error| LmError::file(file, error))?;
    fs::create_dir_all(folder).map_err(LmError::io(folder))?;
    let mut writer = ModelWriter::create(folder, &plan.shapes(), precision, MAX_SHARD_SIZE)?;
    for tensor in &plan.tensors {
        writer.write(&tensor.name, &tensor.read(&gguf)?)?;
    }
    writer.finish()?;
    documents.iter().try_for_each(|(name, value)| write(&folder.join(name), value))
}

fn write(path: &Path, value: &Value) -> Result<(), LmError> {
    fs::write(path, format!("{value:#}\n")).map_err(LmError::io(path))
}
