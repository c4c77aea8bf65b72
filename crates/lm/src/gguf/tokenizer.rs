//! `tokenizer.json` and `tokenizer_config.json` from the fields of a GGUF file.
//!
//! The file has tokens, merges and the name of the pre-tokenizer that splits text before merging; what that name
//! stands for is llama.cpp's (`llm_tokenizer_bpe` in its `llama-vocab.cpp`), and here the same in Hugging Face's parts.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::file::{Field, Gguf};
use crate::LmError;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";
const TEMPLATE: &str = "tokenizer.chat_template";

// Types of tokens.
const CONTROL: i128 = 3;
const USER_DEFINED: i128 = 4;
const UNUSED: i128 = 5;

/// How text is split, in Hugging Face's parts.
struct Splitting {
    normalizer: Value,
    pre_tokenizer: Value,
    /// Whether a piece that is a token is not merged together first.
    ignore_merges: bool,
}

/// `tokenizer.json`.
///
/// # Errors
/// Naming the field that is missing, damaged or not supported.
pub fn tokenizer(gguf: &Gguf) -> Result<Value, LmError> {
    let model = "tokenizer.ggml.model";
    match gguf.text(model)? {
        Some("gpt2") => {}
        Some(other) => return Err(gguf.wrong(model, format!("is `{other}`: only `gpt2` is supported"))),
        None => return Err(gguf.wrong(model, "is missing")),
    }
    let (tokens, types) = (gguf.texts(TOKENS)?, types(gguf)?);
    let Splitting { normalizer, pre_tokenizer, ignore_merges } = splitting(gguf)?;
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added(&tokens, &types),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor(gguf, &tokens)?,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": ignore_merges,
            "vocab": vocabulary(gguf, &tokens, &types)?,
            "merges": merges(gguf, &tokens)?,
        },
    }))
}

/// The type of each token.
fn types(gguf: &Gguf) -> Result<Vec<i128>, LmError> {
    let count = gguf.texts(TOKENS)?.len();
    let Some(Field::List(items)) = gguf.field(TYPES) else { return Err(gguf.wrong(TYPES, "is missing or no list")) };
    if items.len() != count {
        return Err(gguf.wrong(TYPES, format!("has {} items for {count} tokens", items.len())));
    }
    let number = |item: &Field| match item {
        Field::Integer(number) => Ok(*number),
        _ => Err(gguf.wrong(TYPES, "is no list of integers")),
    };
    items.iter().map(number).collect()
}

/// Text to id; tokens that only fill up the embeddings are left out, as they are in the model's own tokenizer.
fn vocabulary(gguf: &Gguf, tokens: &[&str], types: &[i128]) -> Result<Map<String, Value>, LmError> {
    let mut vocabulary = Map::new();
    for (id, (token, kind)) in tokens.iter().zip(types).enumerate() {
        if *kind != UNUSED && vocabulary.insert(token.to_string(), id.into()).is_some() {
            return Err(gguf.wrong(TOKENS, format!("has `{token}` twice")));
        }
    }
    Ok(vocabulary)
}

fn added(tokens: &[&str], types: &[i128]) -> Vec<Value> {
    let added = |(id, (content, kind)): (usize, (&&str, &i128))| {
        matches!(*kind, CONTROL | USER_DEFINED).then(|| {
            json!({
                "id": id,
                "content": content,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": *kind == CONTROL,
            })
        })
    };
    tokens.iter().zip(types).enumerate().filter_map(added).collect()
}

/// Pairs of tokens; both, and what they become, have to be tokens.
fn merges(gguf: &Gguf, tokens: &[&str]) -> Result<Vec<Value>, LmError> {
    let known: BTreeSet<&str> = tokens.iter().copied().collect();
    let merge = |(place, merge): (usize, &str)| {
        let wrong =
            || gguf.wrong(MERGES, format!("has at {place} `{merge}`, which is no pair of tokens that make one"));
        let (left, right) = merge.split_once(' ').ok_or_else(wrong)?;
        let all = known.contains(left) && known.contains(right) && known.contains(format!("{left}{right}").as_str());
        all.then(|| json!([left, right])).ok_or_else(wrong)
    };
    gguf.texts(MERGES)?.into_iter().enumerate().map(merge).collect()
}

fn splitting(gguf: &Gguf) -> Result<Splitting, LmError> {
    let by = |numbers: &str| {
        let split = split(&LETTERS_NUMBERS.replace("NUMBERS", numbers));
        json!({ "type": "Sequence", "pretokenizers": [split, byte_level(false)] })
    };
    let plain = |pre_tokenizer| Splitting { normalizer: Value::Null, pre_tokenizer, ignore_merges: false };
    match gguf.text(PRE)? {
        Some("gpt-2") => Ok(plain(byte_level(true))),
        Some("smollm") => {
            let digits = json!({ "type": "Digits", "individual_digits": true });
            Ok(plain(json!({ "type": "Sequence", "pretokenizers": [digits, byte_level(true)] })))
        }
        Some("qwen2" | "deepseek-r1-qwen") => {
            Ok(Splitting { normalizer: json!({ "type": "NFC" }), ..plain(by(r"\p{N}")) })
        }
        Some("llama-bpe" | "llama3" | "llama-v3") => Ok(Splitting { ignore_merges: true, ..plain(by(r"\p{N}{1,3}")) }),
        Some(other) => {
            let known = "gpt-2, smollm, qwen2 and llama-bpe are supported";
            Err(gguf.wrong(PRE, format!("is `{other}`: {known}")))
        }
        None => Err(gguf.wrong(PRE, "is missing, so that it is not known how text is split")),
    }
}

/// GPT-4's expression, in which models differ by how many digits they take at once.
const LETTERS_NUMBERS: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|NUMBERS| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);

fn split(expression: &str) -> Value {
    json!({ "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false })
}

fn byte_level(use_regex: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex })
}

/// The text of a token that a field names by its id.
fn token<'a>(gguf: &Gguf, tokens: &[&'a str], name: &str) -> Result<Option<&'a str>, LmError> {
    let field = format!("tokenizer.ggml.{name}_token_id");
    let Some(id) = gguf.integer(&field)? else { return Ok(None) };
    let wrong = || gguf.wrong(&field, format!("is {id}, and there are {} tokens", tokens.len()));
    tokens.get(id).map(|token| Some(*token)).ok_or_else(wrong)
}

/// Puts the bos token first where the model wants it.
fn post_processor(gguf: &Gguf, tokens: &[&str]) -> Result<Value, LmError> {
    let wanted = gguf.truth("tokenizer.ggml.add_bos_token")?.unwrap_or(false);
    let Some(bos) = token(gguf, tokens, "bos")?.filter(|_| wanted) else { return Ok(Value::Null) };
    let id = gguf.needed("tokenizer.ggml.bos_token_id")?;
    let special = |place: u8| json!({ "SpecialToken": { "id": bos, "type_id": place } });
    let sequence = |name: &str, place: u8| json!({ "Sequence": { "id": name, "type_id": place } });
    Ok(json!({
        "type": "TemplateProcessing",
        "single": [special(0), sequence("A", 0)],
        "pair": [special(0), sequence("A", 0), special(1), sequence("B", 1)],
        "special_tokens": { bos: { "id": bos, "ids": [id], "tokens": [bos] } },
    }))
}

/// `tokenizer_config.json`, with the chat template or the named ones.
///
/// # Errors
/// Naming the field that is wrong.
pub fn config(gguf: &Gguf) -> Result<Value, LmError> {
    let tokens = gguf.texts(TOKENS)?;
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "model_max_length": gguf.integer(&context_length(gguf)?)?,
    });
    for (name, field) in
        [("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("pad_token", "padding")]
    {
        if let Some(token) = token(gguf, &tokens, field)? {
            config[name] = token.into();
        }
    }
    if let Some(template) = templates(gguf)? {
        config["chat_template"] = template;
    }
    Ok(config)
}

fn context_length(gguf: &Gguf) -> Result<String, LmError> {
    Ok(format!("{}.context_length", gguf.text("general.architecture")?.unwrap_or_default()))
}

/// A template, or a list of them if some have names of their own.
fn templates(gguf: &Gguf) -> Result<Option<Value>, LmError> {
    let default = gguf.text(TEMPLATE)?;
    let names = match gguf.field("tokenizer.chat_templates") {
        Some(_) => gguf.texts("tokenizer.chat_templates")?,
        None => Vec::new(),
    };
    if names.is_empty() {
        return Ok(default.map(Value::from));
    }
    let mut all: Vec<Value> = Vec::new();
    all.extend(default.map(|text| json!({ "name": "default", "template": text })));
    for name in names {
        let field = format!("{TEMPLATE}.{name}");
        let text = gguf.text(&field)?.ok_or_else(|| gguf.wrong(&field, "is missing"))?;
        all.push(json!({ "name": name, "template": text }));
    }
    Ok(Some(all.into()))
}
