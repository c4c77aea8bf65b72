//! The union of BPE tokenizers: the base's, with the tokens and merges that others have beside.
//!
//! The base's tokens keep their numbers; those of the others follow, in the order of the models and of their numbers
//! there. The base's merges come first, so they are preferred, and then those of the others that are not among them.
//! Normalisation, the split into words, and what is put around a text are the base's. mergekit instead adds the
//! others' tokens as literal strings that are looked for before a text is split, which cuts words apart.
//!
//! All added tokens are written into the vocabulary as well: `tokenizers` numbers anew those that are not there.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::tokenizer::{added, tokens};
use super::{Member, refused};
use crate::error::MergeError;

/// Unites the tokenizers of all members with the base's.
pub(super) fn unite(base: &Member<'_>, members: &[Member<'_>]) -> Result<Value, MergeError> {
    let others: Vec<&Member> =
        members.iter().filter(|member| member.model != base.model && member.tokenizer != base.tokenizer).collect();
    if others.is_empty() {
        return Ok(base.tokenizer.clone());
    }
    let mut union = Union::of(base)?;
    for other in others {
        if let Some(reason) = difference(base.tokenizer, other.tokenizer) {
            return Err(refused(other.model, &format!("it cannot be united with that of `{}`: {reason}", base.model)));
        }
        union.add(other)?;
    }
    union.written(base)
}

struct Union {
    numbers: HashMap<String, usize>,
    next: usize,
    /// The entries of tokens that are found before a text is split.
    added: Vec<Value>,
    merges: Vec<(String, String)>,
    known: HashSet<(String, String)>,
    /// What the right side of a merge begins with and the merged token does not have there.
    prefix: String,
}

impl Union {
    fn of(base: &Member<'_>) -> Result<Union, MergeError> {
        let refuse = |message: String| refused(base.model, &message);
        if kind(base.tokenizer) != "BPE" {
            return Err(refuse(format!("it is of type {}; only BPE tokenizers can be united", kind(base.tokenizer))));
        }
        let numbers: HashMap<String, usize> = tokens(base.tokenizer).map_err(refuse)?.into_iter().collect();
        let next = numbers.values().max().map_or(0, |last| last + 1);
        let merges = merges(base.tokenizer).map_err(refuse)?;
        let prefix = text(base.tokenizer, "continuing_subword_prefix").to_string();
        let known = merges.iter().cloned().collect();
        Ok(Union { numbers, next, added: added(base.tokenizer).to_vec(), merges, known, prefix })
    }

    fn add(&mut self, other: &Member<'_>) -> Result<(), MergeError> {
        let refuse = |message: String| refused(other.model, &message);
        let entries: HashMap<&str, &Value> =
            added(other.tokenizer).iter().filter_map(|entry| Some((entry.get("content")?.as_str()?, entry))).collect();
        let there = tokens(other.tokenizer).map_err(refuse)?.into_iter().filter(|(_, id)| *id < other.rows);
        for (token, _) in there {
            if self.numbers.contains_key(&token) {
                continue;
            }
            if let Some(mut entry) = entries.get(token.as_str()).map(|entry| Value::clone(entry)) {
                entry["id"] = json!(self.next);
                self.added.push(entry);
            }
            self.numbers.insert(token, self.next);
            self.next += 1;
        }
        for merge in merges(other.tokenizer).map_err(refuse)? {
            if self.can_have(&merge) && self.known.insert(merge.clone()) {
                self.merges.push(merge);
            }
        }
        Ok(())
    }

    /// Whether a merge's parts and its result are tokens.
    fn can_have(&self, (left, right): &(String, String)) -> bool {
        let merged = format!("{left}{}", right.strip_prefix(&self.prefix).unwrap_or(right));
        [left, right, &merged].iter().all(|token| self.numbers.contains_key(*token))
    }

    fn written(self, base: &Member<'_>) -> Result<Value, MergeError> {
        let mut tokenizer = base.tokenizer.clone();
        let mut ordered: Vec<(String, usize)> = self.numbers.into_iter().collect();
        ordered.sort_by_key(|(_, id)| *id);
        let vocabulary: Map<String, Value> = ordered.into_iter().map(|(token, id)| (token, json!(id))).collect();
        let Some(model) = tokenizer.get_mut("model").and_then(Value::as_object_mut) else {
            return Err(refused(base.model, "it has no `model`; it is no tokenizer.json"));
        };
        model.insert("vocab".into(), Value::Object(vocabulary));
        model.insert("merges".into(), self.merges.iter().map(|(left, right)| json!([left, right])).collect());
        tokenizer["added_tokens"] = Value::Array(self.added);
        Ok(tokenizer)
    }
}

/// The pairs of `merges`, each `"left right"` or `["left", "right"]`.
fn merges(tokenizer: &Value) -> Result<Vec<(String, String)>, String> {
    let pair = |merge: &Value| {
        let both = match merge {
            Value::String(both) => both.split_once(' '),
            _ => merge.get(0).and_then(Value::as_str).zip(merge.get(1).and_then(Value::as_str)),
        };
        let both = both.map(|(left, right)| (left.to_string(), right.to_string()));
        both.ok_or_else(|| format!("merge {merge} is no pair of tokens"))
    };
    let merges = tokenizer.pointer("/model/merges").and_then(Value::as_array);
    merges.map_or(&[][..], Vec::as_slice).iter().map(pair).collect()
}

/// Why two tokenizers mean different texts by their tokens, if they do.
fn difference(base: &Value, other: &Value) -> Option<String> {
    if kind(base) != kind(other) {
        return Some(format!("it is of type {}, not {}", kind(other), kind(base)));
    }
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
        let (one, two) = (text(base, name), text(other, name));
        if one != two {
            return Some(format!("its `{name}` is {two:?}, not {one:?}"));
        }
    }
    let (one, two) = (decoders(base), decoders(other));
    (one != two).then(|| format!("its tokens are spelt another way (decoder {}, not {})", two.join("+"), one.join("+")))
}

fn kind(tokenizer: &Value) -> &str {
    tokenizer.pointer("/model/type").and_then(Value::as_str).unwrap_or("none")
}

fn text<'a>(tokenizer: &'a Value, name: &str) -> &'a str {
    tokenizer.pointer(&format!("/model/{name}")).and_then(Value::as_str).unwrap_or_default()
}

/// The types of the decoder, which tells how tokens spell bytes.
fn decoders(tokenizer: &Value) -> Vec<&str> {
    let decoder = tokenizer.get("decoder").unwrap_or(&Value::Null);
    let parts = decoder.get("decoders").and_then(Value::as_array);
    let parts = parts.map_or_else(|| vec![decoder], |parts| parts.iter().collect());
    parts.into_iter().filter_map(|part| part.get("type")?.as_str()).collect()
}
