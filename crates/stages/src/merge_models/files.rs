//! What a merged model has beside its weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gazal_lm::weights::Precision;
use gazal_merge::{Dtype, Plan, Recipe, TokenizerSource, Vocabulary};
use gazal_stage_api::StageError;
use serde_json::Value;

/// What `config.json` says of the sizes.
pub struct Layout {
    pub layers: usize,
    pub vocab_size: usize,
}

/// Files of a tokenizer, and what goes with it.
const TOKENIZER: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
    "tokenizer.model",
];

impl Layout {
    /// # Errors
    /// No `config.json`, or none of a language model.
    pub fn read(folder: &Path) -> Result<Layout, StageError> {
        let path = folder.join("config.json");
        let mut config = json(&path)?;
        let text = text_config(&mut config);
        let number = |name: &str| {
            let number = text[name].as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| StageError::failed(format!("{}: `{name}` is missing", path.display())))
        };
        Ok(Layout { layers: number("num_hidden_layers")?, vocab_size: number("vocab_size")? })
    }
}

/// The numbers that are written: what the recipe says, else what the base has.
///
/// # Errors
/// A `config.json` that cannot be read.
pub fn precision(recipe: &Recipe, base: &Path) -> Result<Precision, StageError> {
    Ok(match recipe.dtype {
        Some(Dtype::Float32) => Precision::F32,
        Some(Dtype::Float16) => Precision::F16,
        Some(Dtype::Bfloat16) => Precision::Bf16,
        None => {
            let mut config = json(&base.join("config.json"))?;
            let names = ["dtype", "torch_dtype"];
            let named = |config: &Value| names.iter().find_map(|name| config[*name].as_str().map(String::from));
            let name = named(&config).or_else(|| named(text_config(&mut config)));
            let known = [Precision::F32, Precision::Bf16, Precision::F16];
            known.into_iter().find(|precision| Some(precision.name()) == name.as_deref()).unwrap_or(Precision::F32)
        }
    })
}

/// Writes all of them: the base's configuration with the sizes of the result, and the tokenizer.
///
/// # Errors
/// Files that cannot be read or written, and a hybrid model of other layers than the base's.
pub fn write(
    output: &Path,
    base: &Path,
    recipe: &Recipe,
    folders: &BTreeMap<&str, &Path>,
    (plan, vocabulary): (&Plan, Option<&Vocabulary>),
) -> Result<(), StageError> {
    let mut config = json(&base.join("config.json"))?;
    let precision = precision(recipe, base)?;
    let text = text_config(&mut config);
    if text["layer_types"].as_array().is_some_and(|kinds| kinds.len() != plan.layers) {
        return Err(StageError::failed(format!(
            "`layer_types` of the base has another number of layers than the {} of the result: slices of hybrid models \
             cannot be stacked",
            plan.layers
        )));
    }
    text["num_hidden_layers"] = plan.layers.into();
    text["tie_word_embeddings"] = plan.tied.into();
    if let Some(vocabulary) = vocabulary {
        text["vocab_size"] = vocabulary.len().into();
    }
    for name in ["dtype", "torch_dtype"] {
        if config.get(name).is_some() {
            config[name] = precision.name().into();
        }
    }
    write_json(&output.join("config.json"), &config)?;
    let tokenizer = match &recipe.tokenizer {
        Some(TokenizerSource::Model(model)) => folders.get(model.as_str()).copied().unwrap_or(base),
        _ => base,
    };
    for name in TOKENIZER {
        copy(&tokenizer.join(name), &output.join(name))?;
    }
    if let Some(vocabulary) = vocabulary {
        write_json(&output.join("tokenizer.json"), vocabulary.tokenizer())?;
    }
    if let Some(template) = &recipe.chat_template {
        write_template(output, template, folders)?;
    }
    Ok(())
}

/// A chat template as it stands, or that of one of the models.
fn write_template(output: &Path, template: &str, folders: &BTreeMap<&str, &Path>) -> Result<(), StageError> {
    let target = output.join("chat_template.jinja");
    if let Some(folder) = folders.get(template) {
        return copy(&folder.join("chat_template.jinja"), &target);
    }
    if !template.contains("{%") && !template.contains("{{") {
        let what = "is neither a template nor one of the models: write the template itself, or a model's name";
        return Err(StageError::failed(format!("`chat_template` {what}: {template}")));
    }
    fs::write(&target, template).map_err(StageError::io(&target))
}

/// The part of a configuration that speaks about the text decoder.
fn text_config(config: &mut Value) -> &mut Value {
    match config.get("text_config").is_some_and(Value::is_object) {
        true => &mut config["text_config"],
        false => config,
    }
}

pub fn json(path: &Path) -> Result<Value, StageError> {
    let text = fs::read_to_string(path).map_err(StageError::io(path))?;
    serde_json::from_str(&text).map_err(|error| StageError::failed(format!("{}: {error}", path.display())))
}

fn write_json(path: &Path, value: &Value) -> Result<(), StageError> {
    fs::write(path, format!("{value:#}\n")).map_err(StageError::io(path))
}

/// A file that may not be there; not `fs::copy`, since the input's permissions (read-only) do not belong to the output.
fn copy(from: &Path, to: &Path) -> Result<(), StageError> {
    match fs::read(from) {
        Ok(bytes) => fs::write(to, bytes).map_err(StageError::io(to)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StageError::io(from)(error)),
    }
}
