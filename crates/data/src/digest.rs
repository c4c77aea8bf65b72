//! The content of rows as digests: equal for rows that say the same, whatever the order of their keys or the
//! white space of their file. Keys of stages and deduplication use them.

use blake3::{Hash, Hasher};
use serde_json::Value;

const CONTEXT: &str = "gazal-data 2025-06 content of rows";

/// A value as JSON without white space and with sorted keys; numbers as `serde_json` prints them, so `1` and
/// `1.0` differ.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    append(value, &mut text);
    text
}

fn append(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => join(items, ('[', ']'), text, append),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|&(key, _)| key);
            join(entries, ('{', '}'), text, |(key, value), text| {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                append(value, text);
            });
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

fn join<T>(
    parts: impl IntoIterator<Item = T>,
    (open, close): (char, char),
    text: &mut String,
    mut each: impl FnMut(T, &mut String),
) {
    text.push(open);
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        each(part, text);
    }
    text.push(close);
}

/// The digest of one row's content.
pub fn row_digest(row: &Value) -> Hash {
    let mut hasher = Hasher::new_derive_key(CONTEXT);
    hasher.update(canonical(row).as_bytes());
    hasher.finalize()
}

/// The digest of a data set: its rows in order.
pub fn rows_digest<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Hash {
    let mut hasher = Hasher::new_derive_key(CONTEXT);
    for row in rows {
        hasher.update(row_digest(row).as_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn canonical_text_sorts_keys_at_every_depth() {
        let row = value(r#" { "b" : [1, {"y":null,"x":"é\n\""}], "a": 1.50 } "#);
        assert_eq!(canonical(&row), r#"{"a":1.5,"b":[1,{"x":"é\n\"","y":null}]}"#);
        assert_eq!(value(&canonical(&row)), row);
    }

    #[test]
    fn digests_see_content_and_order_of_rows_only() {
        let (one, same, other) = (value(r#"{"a":1,"b":2}"#), value(r#"{"b":2, "a":1}"#), value(r#"{"a":1,"b":3}"#));
        assert_eq!(row_digest(&one), row_digest(&same));
        assert_ne!(row_digest(&one), row_digest(&other));
        assert_eq!(rows_digest([&one, &other]), rows_digest([&same, &other]));
        assert_ne!(rows_digest([&one, &other]), rows_digest([&other, &one]));
        assert_ne!(rows_digest([&one]), row_digest(&one));
    }

    #[test]
    fn the_digest_is_fixed_for_ever() {
        assert_eq!(row_digest(&value(r#"{"a":1}"#)).to_hex()[..16].to_string(), "f5aa5958a56e94fb");
    }
}
