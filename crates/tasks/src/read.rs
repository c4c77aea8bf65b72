//! Text to items: what all readers share, and the reader of our own layout, [`Item`] as JSON Lines.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use crate::Item;

/// Why a benchmark file cannot be read. The caller knows the file's name and puts it in front.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// `line` counts from 1.
    #[error("line {line}: {message}")]
    Line { line: usize, message: String },
    #[error("entry `{key}`: {message}")]
    Entry { key: String, message: String },
    /// About the file as a whole.
    #[error("{0}")]
    File(String),
}

/// Reads [`Item`] rows, one JSON object a line.
///
/// # Errors
/// A line that is no item, two items of one id, or no item at all.
pub fn read_items(text: &str) -> Result<Vec<Item>, ReadError> {
    let rows = json_lines::<Item>(text)?;
    distinct(rows.into_iter().map(|(_, item)| item).collect())
}

/// The rows of a JSON Lines text with their line numbers; empty lines are passed over.
pub(crate) fn json_lines<T: DeserializeOwned>(text: &str) -> Result<Vec<(usize, T)>, ReadError> {
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let line_number = index + 1;
            let message = |error: serde_json::Error| error.to_string().replace(" at line 1 column ", " at column ");
            let row = serde_json::from_str(line)
                .map_err(|error| ReadError::Line { line: line_number, message: message(error) })?;
            Ok((line_number, row))
        })
        .collect()
}

/// Turns numbered rows into items with one function a row, whose message gets the line's number.
pub(crate) fn convert<T>(
    rows: Vec<(usize, T)>,
    mut item: impl FnMut(usize, T) -> Result<Item, String>,
) -> Result<Vec<Item>, ReadError> {
    let items = rows
        .into_iter()
        .map(|(line, row)| item(line, row).and_then(Item::checked).map_err(|message| ReadError::Line { line, message }))
        .collect::<Result<Vec<_>, _>>()?;
    distinct(items)
}

/// The items, if there are any and no two have one id.
pub(crate) fn distinct(items: Vec<Item>) -> Result<Vec<Item>, ReadError> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = items.iter().find(|item| !seen.insert((&item.benchmark, &item.id))) {
        return Err(ReadError::File(format!("two items have the id `{}`", twice.id)));
    }
    if items.is_empty() {
        return Err(ReadError::File("there is no question in it".into()));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ROW: &str = r#"{"id":"7","benchmark":"mini_medqa","question":"q","options":["a","b"],"answer":1}"#;

    #[test]
    fn our_own_rows() {
        let other = ROW.replace('7', "8");
        let items = read_items(&format!("\u{feff}{ROW}\r\n\n{other}")).unwrap();
        assert_eq!(items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["7", "8"]);
    }

    #[test]
    fn mistakes_have_their_line() {
        let error = |text: &str| read_items(text).unwrap_err().to_string();
        assert!(error(&format!("{ROW}\n\n{{\"id\":1}}")).starts_with("line 3: invalid type: integer `1`"));
        assert_eq!(error(&ROW.replace(":1}", ":2}")), "line 1: the answer is option 3 of 2");
        assert_eq!(error(&format!("{ROW}\n{ROW}")), "two items have the id `7`");
        assert_eq!(error("\n"), "there is no question in it");
    }
}
