//! The rows that stages hand one another, in TRL's column names.

use std::path::Path;

use gazal_data::rows::{read_all, split_in};
use gazal_stage_api::StageError;
use gazal_tasks::Item;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
