//! A row on its way through the steps, and its texts.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::{DataError, Row};

/// A row with its place.
#[derive(Clone, Debug)]
pub struct PlacedRow {
    /// Counted from 1 over all files of a run.
    pub number: u64,
    pub path: Arc<Path>,
    /// In its file, see [`crate::rows::Reader::line`].
    pub line: usize,
    pub row: Row,
}

impl PlacedRow {
    /// An error of this row.
    pub fn error(&self, message: impl Into<String>) -> DataError {
        DataError::Row { path: self.path.to_path_buf(), line: self.line, message: message.into() }
    }

    /// The value of a column.
    ///
    /// # Errors
    /// The row has no such column.
    pub fn value(&self, column: &str) -> Result<&Value, DataError> {
        self.row.get(column).ok_or_else(|| {
            let there: Vec<&str> = self.row.keys().map(String::as_str).collect();
            self.error(format!("there is no column `{column}`; there are {}", there.join(", ")))
        })
    }

    /// The texts of columns, one a line. Those of a list or an object (the messages of a conversation) are all texts in
    /// it, in order.
    ///
    /// # Errors
    /// A column is missing, or is no text, list or object.
    pub fn text(&self, columns: &[String]) -> Result<String, DataError> {
        let mut text = String::new();
        for column in columns {
            let value = self.value(column)?;
            if !(value.is_string() || value.is_array() || value.is_object()) {
                return Err(self.error(format!("the column `{column}` is {value} and no text")));
            }
            each_text(value, &mut |part| {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(part);
            });
        }
        Ok(text)
    }

    /// About how many bytes the row takes: those of its texts, and room for what is around them.
    pub(super) fn size(&self) -> usize {
        let mut size = 0;
        self.row.values().for_each(|value| each_text(value, &mut |text| size += text.len() + 100));
        size
    }
}

fn each_text(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, each)),
        Value::Object(map) => map.values().for_each(|item| each_text(item, each)),
        _ => {}
    }
}
