//! Parts of a data set (train, validation, test) by a hash of a group, so that rows of one group are never parted and
//! new rows move none of those that were there.
//!
//! A group's number in `[0, 1)` belongs to its content and the seed alone; the parts divide that interval in order. So
//! shares are those of groups, and met as well as the number of groups allows: of n groups, a share p is off by about
//! √(p(1−p)/n).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PlacedRow;
use crate::{DataError, Stream, row_digest};

/// How a data set is divided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// In order; their shares sum to 1.
    pub parts: Vec<Part>,
    /// Rows that have these columns equal belong together; without any, rows that are equal do.
    #[serde(default)]
    pub group: Vec<String>,
}

/// One part, and its share of the groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub name: String,
    pub share: f64,
}

/// Says to which part a row belongs.
pub struct Split {
    params: Parts,
    stream: Stream,
}

impl Split {
    /// # Errors
    /// There is no part, a name is there twice, or the shares are not positive or do not sum to 1.
    pub fn new(params: Parts, seed: u64) -> Result<Split, DataError> {
        let parts = &params.parts;
        if let Some(part) = parts.iter().find(|part| !(part.share > 0.0 && part.share <= 1.0)) {
            return Err(DataError::parameter("parts", format!("the share of `{}` must be above 0", part.name)));
        }
        let sum: f64 = parts.iter().map(|part| part.share).sum();
        if (sum - 1.0).abs() > 1e-9 {
            return Err(DataError::parameter("parts", format!("the shares sum to {sum} and not to 1")));
        }
        let twice =
            parts.iter().enumerate().find(|(at, part)| parts[..*at].iter().any(|other| other.name == part.name));
        match twice {
            Some((_, part)) => Err(DataError::parameter("parts", format!("two parts are called `{}`", part.name))),
            None => Ok(Split { params, stream: Stream::new(seed, "split") }),
        }
    }

    /// The index of the row's part.
    ///
    /// # Errors
    /// A column of the group is missing.
    pub fn part(&self, row: &PlacedRow) -> Result<usize, DataError> {
        let place = self.place(row)?;
        let mut end = 0.0;
        let ends = self.params.parts.iter().map(|part| {
            end += part.share;
            end
        });
        let last = self.params.parts.len() - 1;
        Ok(ends.take(last).position(|end| place < end).unwrap_or(last))
    }

    /// The name of the part with an index.
    pub fn name(&self, part: usize) -> Option<&str> {
        self.params.parts.get(part).map(|part| part.name.as_str())
    }

    /// In `[0, 1)`.
    fn place(&self, row: &PlacedRow) -> Result<f64, DataError> {
        let group = match self.params.group.as_slice() {
            [] => Value::Object(row.row.clone()),
            columns => columns.iter().map(|column| row.value(column).cloned()).collect::<Result<_, _>>()?,
        };
        let digest = row_digest(&group);
        let (words, _) = digest.as_bytes().as_chunks::<8>();
        Ok(self.stream.uniform(u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])))
    }
}
