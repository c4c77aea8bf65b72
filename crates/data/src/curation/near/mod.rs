//! Near-duplicates by MinHash (Broder 1997) and banding (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets",
//! chapter 3): the first row stays.
//!
//! A text is the set of its shingles, runs of `ngram` words. How similar two sets are is their Jaccard similarity, which
//! is the share of equal minima under random permutations ([`signature`]); rows whose minima are all equal in one of
//! several bands are candidates ([`index`]). Where this departs from the books:
//! - It is one pass. A row is compared with rows that stayed and dropped if one of them is at least `threshold` similar,
//!   with the most similar one named. There are no clusters: in a chain of rows that are each similar to the next, the
//!   first would drop the last, which may have little in common with it.
//! - Candidates are verified by the estimate from all minima, not by their texts, which are gone. It is off by
//!   √(J(1−J)/`num_perm`), 0.035 for a similarity of 0.8 and 128 permutations, so rows as similar as the threshold are
//!   dropped half of the time.
//! - Of each minimum its lowest byte is kept (b-bit minwise hashing, Li and König 2010), a quarter of the memory for a
//!   deviation that is a four-hundredth larger.
//!
//! Memory for each row that stays: 4.4 to 5.6 bytes for each band, and an eighth of `num_perm`. That is 52 to 61 with 128
//! permutations and a threshold of 0.9 (8 bands), 78 to 94 with 0.8 (14 bands). Its signature and its number are in a
//! temporary file, `num_perm` and 8 bytes, and are read again for rows that may be as similar as the threshold.

mod index;
mod signature;

use std::path::PathBuf;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PlacedRow, Reason, Step, Verdict};
use crate::DataError;
use index::{Index, bands};
use signature::{Hasher, Signature};

/// What makes rows near-duplicates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Near {
    /// Whose texts, taken together, are compared.
    pub columns: Vec<String>,
    /// The Jaccard similarity from which on a row is dropped, from 0.3 to 1.
    #[serde(default = "threshold")]
    pub threshold: f64,
    /// Permutations: more are more exact, and take as much more time and memory.
    #[serde(default = "num_perm")]
    pub num_perm: usize,
    #[serde(default)]
    pub unit: Unit,
    /// Units of a shingle; a text that is shorter is one shingle.
    #[serde(default = "ngram")]
    pub ngram: usize,
    /// How much a missed near-duplicate weighs when bands are chosen, from 0 to 1; the rest is the weight of a needless
    /// comparison. With 0.5 bands are those that datasketch chooses.
    #[serde(default = "weight")]
    pub false_negative_weight: f64,
}

/// What shingles consist of. Letters and digits count, in lower case, and nothing else does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    #[default]
    Words,
    /// For scripts that do not separate words.
    Characters,
}

fn threshold() -> f64 {
    0.8
}

fn num_perm() -> usize {
    128
}

fn ngram() -> usize {
    5
}

fn weight() -> f64 {
    0.9
}

/// Below, texts are about the same things, and bands would be too short to tell anything.
const LEAST_THRESHOLD: f64 = 0.3;
const PERMUTATIONS: std::ops::RangeInclusive<usize> = 16..=1024;

/// The step for [`Near`].
pub struct NearDuplicates {
    columns: Vec<String>,
    hasher: Hasher,
    index: Index,
}

impl NearDuplicates {
    /// # Errors
    /// No column is named, or a number is out of its range.
    pub fn new(params: Near) -> Result<NearDuplicates, DataError> {
        let refuse = |name, message: &str| Err(DataError::parameter(name, message));
        match &params {
            _ if params.columns.is_empty() => refuse("columns", "name at least one column whose text is compared"),
            _ if !(LEAST_THRESHOLD..=1.0).contains(&params.threshold) => refuse("threshold", "must be from 0.3 to 1"),
            _ if !PERMUTATIONS.contains(&params.num_perm) => refuse("num_perm", "must be from 16 to 1024"),
            _ if params.ngram == 0 => refuse("ngram", "must be at least 1"),
            _ if !(0.0..=1.0).contains(&params.false_negative_weight) => {
                refuse("false_negative_weight", "must be from 0 to 1")
            }
            _ => Ok(NearDuplicates {
                hasher: Hasher::new(params.unit, params.ngram, params.num_perm),
                index: Index::new(
                    params.num_perm,
                    params.threshold,
                    bands(params.threshold, params.num_perm, params.false_negative_weight),
                ),
                columns: params.columns,
            }),
        }
    }

    /// Where signatures are put away, instead of the folder for temporary files.
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> NearDuplicates {
        self.index.set_folder(folder.into());
        self
    }

    fn signature(&self, row: &PlacedRow) -> Result<Signature, DataError> {
        Ok(self.hasher.signature(&row.text(&self.columns)?))
    }

    fn remember(&mut self, signature: &[u8], row: &PlacedRow) -> Result<Verdict, DataError> {
        if let Some((of, similarity)) = self.index.most_similar(signature)? {
            return Ok(Verdict::Dropped(Reason::NearDuplicate { of, similarity }));
        }
        match self.index.add(signature, row.number)? {
            true => Ok(Verdict::Kept),
            false => Err(row.error("more than 4,294,967,295 rows cannot be compared")),
        }
    }
}

impl Step for NearDuplicates {
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError> {
        let signature = self.signature(row)?;
        self.remember(&signature, row)
    }

    fn keep_all(&mut self, rows: &[PlacedRow]) -> Result<Vec<Verdict>, DataError> {
        let signatures = rows.par_iter().map(|row| self.signature(row)).collect::<Result<Vec<_>, _>>()?;
        rows.iter().zip(signatures).map(|(row, signature)| self.remember(&signature, row)).collect()
    }
}

#[cfg(test)]
mod tests;
