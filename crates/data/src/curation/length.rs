//! Texts that are too short or too long, counted in characters or words. Tokens are a tokenizer's, which is not here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PlacedRow, Reason, Step, Verdict};
use crate::DataError;

/// How long the texts of some columns may be, taken together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lengths {
    pub columns: Vec<String>,
    #[serde(default)]
    pub unit: Measure,
    /// At least so many.
    #[serde(default)]
    pub min: u64,
    /// At most so many.
    #[serde(default)]
    pub max: Option<u64>,
}

/// What lengths are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Unicode scalar values.
    #[default]
    Characters,
    /// What white space separates.
    Words,
}

/// The step for [`Lengths`].
pub struct Length(Lengths);

impl Length {
    /// # Errors
    /// No column is named, or nothing is long enough and short enough.
    pub fn new(lengths: Lengths) -> Result<Length, DataError> {
        if lengths.columns.is_empty() {
            return Err(DataError::parameter("columns", "name at least one column whose text is measured"));
        }
        if lengths.max.is_some_and(|max| max < lengths.min) {
            return Err(DataError::parameter("max", "is below `min`, so that no row would stay"));
        }
        Ok(Length(lengths))
    }
}

impl Step for Length {
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError> {
        let text = row.text(&self.0.columns)?;
        let has = match self.0.unit {
            Measure::Characters => text.chars().count(),
            Measure::Words => text.split_whitespace().count(),
        } as u64;
        Ok(match self.0.max {
            _ if has < self.0.min => Verdict::Dropped(Reason::Short { has }),
            Some(max) if has > max => Verdict::Dropped(Reason::Long { has }),
            _ => Verdict::Kept,
        })
    }
}
