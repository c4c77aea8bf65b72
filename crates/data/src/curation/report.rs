//! What a step did, for people and for the report of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PlacedRow, Reason, Verdict};
use crate::Row;

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    pub step: String,
    /// That came in.
    pub rows: u64,
    pub kept: u64,
    /// By [`Reason::name`].
    pub dropped: BTreeMap<String, Dropped>,
}

/// The rows that were dropped for one reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    pub rows: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// A row that was dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Over all files.
    pub number: u64,
    /// The file's name; its folder changes from machine to machine.
    pub file: String,
    pub line: usize,
    #[serde(flatten)]
    pub reason: Reason,
    /// Texts are cut after [`Example::CHARACTERS`].
    pub row: Row,
}

impl Example {
    pub const CHARACTERS: usize = 300;
}

impl StepReport {
    /// How many examples of each reason are kept.
    pub const EXAMPLES: usize = 3;

    pub fn new(step: impl Into<String>) -> StepReport {
        StepReport { step: step.into(), ..StepReport::default() }
    }

    /// Counts a row.
    pub fn add(&mut self, row: &PlacedRow, verdict: &Verdict) {
        self.rows += 1;
        let Verdict::Dropped(reason) = verdict else {
            self.kept += 1;
            return;
        };
        let dropped = self.dropped.entry(reason.name().into()).or_default();
        dropped.rows += 1;
        if dropped.examples.len() < StepReport::EXAMPLES {
            dropped.examples.push(Example {
                number: row.number,
                file: row.path.file_name().unwrap_or_default().to_string_lossy().into(),
                line: row.line,
                reason: reason.clone(),
                row: row.row.iter().map(|(column, value)| (column.clone(), cut(value))).collect(),
            });
        }
    }
}

fn cut(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(match text.char_indices().nth(Example::CHARACTERS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.clone(),
        }),
        Value::Array(items) => items.iter().map(cut).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), cut(value))).collect()),
        scalar => scalar.clone(),
    }
}
