//! Where a Hugging Face folder keeps its chat templates: in files of their own, else in `tokenizer_config.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ChatTemplate;
use crate::LmError;

/// The template that is used where no other is asked for.
pub const DEFAULT: &str = "default";
/// The template for conversations with tools, where there is one.
const TOOLS: &str = "tool_use";
const FILE: &str = "chat_template.jinja";
/// Holds one file for each template with another name than `default`.
const FOLDER: &str = "additional_chat_templates";

/// The templates of a model by name.
#[derive(Clone, Default)]
pub struct Templates(BTreeMap<String, ChatTemplate>);

impl Templates {
    /// The template for a conversation with or without tools, chosen as transformers does.
    pub fn choose(&self, tools: bool) -> Option<&ChatTemplate> {
        let special = if tools { self.0.get(TOOLS) } else { None };
        special.or_else(|| self.0.get(DEFAULT))
    }

    /// Puts a template in the place of all others.
    pub fn replace(&mut self, template: ChatTemplate) {
        self.0 = BTreeMap::from([(DEFAULT.into(), template)]);
    }
}

/// The templates of `folder`, with `config` the contents of its `tokenizer_config.json`. Files go before the config.
///
/// # Errors
/// Naming the file that cannot be read, or is no template.
pub fn load(folder: &Path, config: &Value, tokens: &BTreeMap<String, String>) -> Result<Templates, LmError> {
    let mut sources = in_files(folder)?;
    if sources.is_empty() {
        sources = in_config(&folder.join("tokenizer_config.json"), config)?;
    }
    let compile = |(name, (origin, source)): (String, (String, String))| {
        Ok((name, ChatTemplate::new(&origin, &source, tokens.clone())?))
    };
    sources.into_iter().map(compile).collect::<Result<_, LmError>>().map(Templates)
}

/// Name to origin and text.
type Sources = BTreeMap<String, (String, String)>;

fn in_files(folder: &Path) -> Result<Sources, LmError> {
    let mut sources = Sources::new();
    let mut read = |name: String, path: &Path| {
        let text = fs::read_to_string(path).map_err(LmError::io(path))?;
        sources.insert(name, (path.display().to_string(), text));
        Ok(())
    };
    let path = folder.join(FILE);
    if path.exists() {
        read(DEFAULT.into(), &path)?;
    }
    for file in more_files(folder)? {
        read(file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), &folder.join(&file))?;
    }
    Ok(sources)
}

/// The files in `folder` that hold templates with other names than `default`, relative to it, in order.
///
/// # Errors
/// When their folder cannot be read.
pub fn more_files(folder: &Path) -> Result<Vec<PathBuf>, LmError> {
    let more = folder.join(FOLDER);
    let mut files = Vec::new();
    if more.is_dir() {
        for entry in fs::read_dir(&more).map_err(LmError::io(&more))? {
            let name = PathBuf::from(entry.map_err(LmError::io(&more))?.file_name());
            if name.extension().is_some_and(|extension| extension == "jinja") {
                files.push(Path::new(FOLDER).join(name));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// `chat_template`: a text, or a list of objects with `name` and `template`.
fn in_config(path: &Path, config: &Value) -> Result<Sources, LmError> {
    let wrong = || LmError::file(path, "`chat_template` is neither a text nor a list of `name` and `template`");
    let origin = |name: &str| match name {
        DEFAULT => path.display().to_string(),
        name => format!("{} (`{name}`)", path.display()),
    };
    let named = |entry: &Value| {
        let (name, text) = (entry["name"].as_str()?, entry["template"].as_str()?);
        Some((name.to_string(), (origin(name), text.to_string())))
    };
    match &config["chat_template"] {
        Value::Null => Ok(Sources::new()),
        Value::String(text) => Ok(Sources::from([(DEFAULT.into(), (origin(DEFAULT), text.clone()))])),
        Value::Array(entries) => entries.iter().map(|entry| named(entry).ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}
