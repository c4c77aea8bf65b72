//! What a `tokenizer.json` says about its tokens.

use std::collections::HashMap;

use serde_json::Value;

/// All tokens with their numbers, those that were added too, in the order of their numbers.
///
/// # Errors
/// What is no tokenizer, for people.
pub(super) fn tokens(tokenizer: &Value) -> Result<Vec<(String, usize)>, String> {
    let mut tokens: HashMap<String, usize> = HashMap::new();
    match tokenizer.pointer("/model/vocab") {
        // BPE, WordPiece, WordLevel.
        Some(Value::Object(vocabulary)) => {
            for (token, id) in vocabulary {
                tokens
                    .insert(token.clone(), number(id).ok_or_else(|| format!("the number of token {token:?} is {id}"))?);
            }
        }
        // Unigram: pairs of a token and its score.
        Some(Value::Array(pieces)) => {
            for (id, piece) in pieces.iter().enumerate() {
                let token = piece.get(0).and_then(Value::as_str).ok_or_else(|| format!("piece {id} is {piece}"))?;
                tokens.insert(token.into(), id);
            }
        }
        _ => return Err("it has no `model.vocab`; it is no tokenizer.json".into()),
    }
    for added in added(tokenizer) {
        let (token, id) = (added.get("content").and_then(Value::as_str), added.get("id").and_then(number));
        let (Some(token), Some(id)) = (token, id) else {
            return Err(format!("added token {added} has no content or id"));
        };
        tokens.insert(token.into(), id);
    }
    let mut tokens: Vec<(String, usize)> = tokens.into_iter().collect();
    tokens.sort_by(|one, two| (one.1, &one.0).cmp(&(two.1, &two.0)));
    Ok(tokens)
}

pub(super) fn number(id: &Value) -> Option<usize> {
    id.as_u64().and_then(|id| usize::try_from(id).ok())
}

/// The entries of `added_tokens`.
pub(super) fn added(tokenizer: &Value) -> &[Value] {
    tokenizer.get("added_tokens").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
