//! Exact duplicates, by content: the first row stays.
//!
//! Rows are compared by 128 bits of the digest of their content ([`crate::row_digest`]), so two that say the same are
//! equal whatever the order of their keys and the form of their file. A row that stays is remembered with its number in
//! 24 bytes of a hash table: 28 to 57 bytes a row, half as much again for the moment in which the table grows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use blake3::Hasher;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Normalization, PlacedRow, Reason, Step, Verdict};
use crate::{DataError, canonical};

const CONTEXT: &str = "gazal-data 2026-11 content of duplicates";

/// What makes rows duplicates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Duplicates {
    /// That must be equal; without any, all.
    pub columns: Vec<String>,
    pub normalization: Normalization,
}

/// The step for [`Duplicates`].
pub struct ExactDuplicates {
    of: Duplicates,
    /// The number of the first row with each content.
    seen: HashMap<[u8; 16], u64>,
}

impl ExactDuplicates {
    pub fn new(of: Duplicates) -> ExactDuplicates {
        ExactDuplicates { of, seen: HashMap::new() }
    }

    fn remember(&mut self, digest: [u8; 16], number: u64) -> Verdict {
        match self.seen.entry(digest) {
            Entry::Occupied(first) => Verdict::Dropped(Reason::Duplicate { of: *first.get() }),
            Entry::Vacant(place) => {
                place.insert(number);
                Verdict::Kept
            }
        }
    }
}

impl Duplicates {
    fn digest(&self, row: &PlacedRow) -> Result<[u8; 16], DataError> {
        let mut hasher = Hasher::new_derive_key(CONTEXT);
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        let mut columns: Vec<&String> = self.columns.iter().collect();
        if columns.is_empty() {
            columns = row.row.keys().collect();
            columns.sort_unstable();
        }
        for column in columns {
            add(column);
            add(&canonical(&self.normalization.value(row.value(column)?)));
        }
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        Ok(digest)
    }
}

impl Step for ExactDuplicates {
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError> {
        let digest = self.of.digest(row)?;
        Ok(self.remember(digest, row.number))
    }

    fn keep_all(&mut self, rows: &[PlacedRow]) -> Result<Vec<Verdict>, DataError> {
        let digests = rows.par_iter().map(|row| self.of.digest(row)).collect::<Result<Vec<_>, _>>()?;
        Ok(rows.iter().zip(digests).map(|(row, digest)| self.remember(digest, row.number)).collect())
    }
}
