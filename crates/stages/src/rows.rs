//! The rows that stages hand one another, in TRL's column names.

use std::path::{Path, PathBuf};

use gazal_data::curation::Sources;
use gazal_data::rows::{read_all, split_in};
use gazal_data::{DataError, Row, row_digest};
use gazal_stage_api::StageError;
use gazal_tasks::Item;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The rows of the split `train`, of all folders, as a stream: the first ones, or all for 0.
pub fn in_training(folders: &[PathBuf], limit: usize) -> impl Iterator<Item = Result<Row, DataError>> + use<> {
    let rows = Sources::new(folders.iter().flat_map(|folder| split_in(folder, "train")));
    rows.map(|row| row.map(|placed| placed.row)).take(if limit == 0 { usize::MAX } else { limit })
}

/// The row's `id`; where it has none, the digest of what it says.
pub fn id(row: &Row) -> String {
    match row.get("id").and_then(Value::as_str) {
        Some(id) => id.to_string(),
        None => row_digest(&Value::Object(row.clone())).to_hex()[..16].to_string(),
    }
}

/// The row's column `item`.
///
/// # Errors
/// With the row's id: there is none, or it is no question with options.
pub fn item(row: &Row, id: &str) -> Result<Item, StageError> {
    let value = row.get("item").cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| {
        StageError::failed(format!("row {id}: a column `item` with a question's options is needed: {error}"))
    })
}

/// A row of a language-modelling data set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Text {
    pub text: String,
}

/// A row of a prompt–completion data set, with where it came from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Example {
    pub id: String,
    pub prompt: String,
    pub completion: String,
    pub reasoning_type: String,
    pub specialty: String,
    pub condition: String,
    pub answer: String,
}

/// What a trainer needs of such a row.
#[derive(Clone, Debug, Deserialize)]
pub struct PromptCompletion {
    pub prompt: String,
    pub completion: String,
}

/// A row of a prompt-only data set, whatever else it has.
#[derive(Clone, Debug, Deserialize)]
pub struct Prompt {
    pub prompt: String,
}

/// A row of a prompt-only data set with what rewards check against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    pub prompt: String,
    pub item: Item,
    /// The row's other columns, which a reward of one's own may want to see.
    #[serde(flatten)]
    pub columns: Map<String, Value>,
}

/// All rows of one split (`train`, `validation`) of data set folders, in order; a folder without that split adds
/// nothing.
pub fn read_split<T: DeserializeOwned>(folders: &[impl AsRef<Path>], split: &str) -> Result<Vec<T>, StageError> {
    let mut rows = Vec::new();
    for folder in folders {
        for path in split_in(folder.as_ref(), split) {
            rows.extend(read_all::<T>(&path).map_err(StageError::failed)?);
        }
    }
    Ok(rows)
}
