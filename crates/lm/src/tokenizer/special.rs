//! Special tokens: what ends a text, what fills a batch, what templates may name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tokenizers::AddedToken;

use crate::LmError;

/// The special tokens of a folder.
pub struct Special {
    pub eos: u32,
    pub eos_ids: Vec<u32>,
    pub pad: u32,
    /// `bos_token`, `eos_token`, ... with their texts.
    pub tokens: BTreeMap<String, String>,
}

/// A JSON file of `folder`; null if there is none.
pub fn read(folder: &Path, name: &str) -> Result<Value, LmError> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| LmError::file(&path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(LmError::io(&path)(error)),
    }
}

/// Adds the tokens of `added_tokens_decoder` that `tokenizer.json` lacks: checkpoints of older transformers keep them
/// only there.
pub fn add_tokens(inner: &mut tokenizers::Tokenizer, path: &Path, config: &Value) -> Result<(), LmError> {
    let Value::Object(declared) = &config["added_tokens_decoder"] else { return Ok(()) };
    let known = inner.get_added_tokens_decoder();
    let known = |content: &str| known.values().any(|token| token.content == content);
    let mut missing = BTreeMap::new();
    for (id, fields) in declared {
        let wrong = || LmError::file(path, format!("`added_tokens_decoder` has no id and `content` at `{id}`"));
        let (number, content) = id.parse::<u32>().ok().zip(fields["content"].as_str()).ok_or_else(wrong)?;
        if !known(content) {
            missing.insert(number, token(content, fields));
        }
    }
    for (id, token) in missing {
        let content = token.content.clone();
        inner.add_tokens([token]).map_err(|error| LmError::file(path, error))?;
        if inner.token_to_id(&content) != Some(id) {
            let message = format!("`added_tokens_decoder` gives `{content}` the id {id}, which is not the next one");
            return Err(LmError::file(path, message));
        }
    }
    Ok(())
}

fn token(content: &str, fields: &Value) -> AddedToken {
    let set = |name: &str| fields[name].as_bool();
    let token = AddedToken::from(content, set("special").unwrap_or(false))
        .single_word(set("single_word").unwrap_or(false))
        .lstrip(set("lstrip").unwrap_or(false))
        .rstrip(set("rstrip").unwrap_or(false));
    match set("normalized") {
        Some(normalized) => token.normalized(normalized),
        None => token,
    }
}

impl Special {
    /// `config` is `tokenizer_config.json`.
    pub fn of(folder: &Path, config: &Value, inner: &tokenizers::Tokenizer) -> Result<Special, LmError> {
        let path = folder.join("tokenizer_config.json");
        let tokens = texts(config, &read(folder, "special_tokens_map.json")?);
        let id = |field: &str| -> Result<Option<u32>, LmError> {
            let Some(token) = tokens.get(field) else { return Ok(None) };
            let id = inner.token_to_id(token);
            let missing = || LmError::file(&path, format!("`{field}` is `{token}`, which is not in the vocabulary"));
            id.map(Some).ok_or_else(missing)
        };
        let (eos, mut pads) = (id("eos_token")?, Vec::from_iter(id("pad_token")?));
        let mut eos_ids = Vec::from_iter(eos);
        for name in ["generation_config.json", "config.json"] {
            let (path, value) = (folder.join(name), read(folder, name)?);
            let more = ids(&path, &value, "eos_token_id")?;
            eos_ids.extend(more.into_iter().filter(|id| !eos_ids.contains(id)).collect::<Vec<_>>());
            pads.extend(ids(&path, &value, "pad_token_id")?);
        }
        let nothing = || LmError::file(&path, "names no `eos_token`, so nothing would end a text");
        let eos = *eos_ids.first().ok_or_else(nothing)?;
        let pad = pads.into_iter().find(|&pad| pad != eos).or_else(|| filler(inner, &eos_ids));
        let pad = pad.ok_or_else(|| LmError::file(folder, "every token of the vocabulary ends a text"))?;
        Ok(Special { eos, eos_ids, pad, tokens })
    }
}

/// The fields that end in `_token` and their texts; of `map` those that `config` lacks.
fn texts(config: &Value, map: &Value) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for source in [map, config] {
        for (name, value) in source.as_object().into_iter().flatten() {
            let text = value.as_str().or_else(|| value["content"].as_str());
            if let Some(text) = text.filter(|_| name.ends_with("_token")) {
                texts.insert(name.clone(), text.to_string());
            }
        }
    }
    texts
}

/// An id, a list of them, or nothing; models of several towers have the field in `text_config`.
fn ids(path: &Path, config: &Value, field: &str) -> Result<Vec<u32>, LmError> {
    let value = [&config[field], &config["text_config"][field]].into_iter().find(|value| !value.is_null());
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let wrong = || LmError::file(path, format!("`{field}` is neither an id nor a list of ids"));
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(|value| id(value).ok_or_else(wrong)).collect(),
        Some(value) => Ok(vec![id(value).ok_or_else(wrong)?]),
    }
}

/// A token to fill batches with where the model names none but `eos`: one made for it, one that is at hand, any
/// special one, and at last any at all, for what is filled is masked by its place and never looked at.
fn filler(inner: &tokenizers::Tokenizer, eos_ids: &[u32]) -> Option<u32> {
    let mut special: Vec<(u32, String)> = inner
        .get_added_tokens_decoder()
        .into_iter()
        .filter(|(id, token)| token.special && !eos_ids.contains(id))
        .map(|(id, token)| (id, token.content.to_lowercase()))
        .collect();
    special.sort_unstable();
    let find = |wanted: &dyn Fn(&str) -> bool| special.iter().find(|(_, text)| wanted(text)).map(|&(id, _)| id);
    find(&|text| text.contains("pad"))
        .or_else(|| find(&|text| text == "<|endoftext|>" || text == "<unk>"))
        .or_else(|| find(&|_| true))
        .or_else(|| (0..).take(inner.get_vocab_size(true)).find(|id| !eos_ids.contains(id)))
}
