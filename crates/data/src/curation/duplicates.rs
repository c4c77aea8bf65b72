//! Exact duplicates, by content: the first row stays.
//!
//! Rows are compared by 128 bits of the digest of their content ([`crate::row_digest`]), so two that say the same are
//! equal whatever the order of their keys and the form of their file. A row that stays takes 8.4 to 9.6 bytes of memory;
//! its digest and its number are in a temporary file, and are read again where another row seems to be equal.

use std::path::PathBuf;

use blake3::Hasher;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::records::{Numbers, Records};
use super::slots::Slots;
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
    /// The first row with each content, by eight bytes of its digest.
    table: Slots,
    /// Four others of them.
    checks: Numbers<u32>,
    /// Digests and numbers.
    records: Records,
}

type Digest = [u8; 16];

const RECORD: usize = size_of::<Digest>() + size_of::<u64>();

impl ExactDuplicates {
    pub fn new(of: Duplicates) -> ExactDuplicates {
        ExactDuplicates { of, table: Slots::new(), checks: Numbers::new(1), records: Records::new(RECORD) }
    }

    /// Where digests are put away, instead of the folder for temporary files.
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> ExactDuplicates {
        self.records.set_folder(folder.into());
        self
    }

    fn remember(&mut self, digest: &Digest, row: &PlacedRow) -> Result<Verdict, DataError> {
        if let Some(of) = self.first_with(digest)? {
            return Ok(Verdict::Dropped(Reason::Duplicate { of }));
        }
        let index = u32::try_from(self.checks.rows()).ok().filter(|index| *index < u32::MAX);
        let index = index.ok_or_else(|| row.error("more than 4,294,967,295 rows cannot be compared"))?;
        let (hash, check) = parts(digest);
        self.checks.push([check].into_iter());
        self.records.push([digest, &row.number.to_le_bytes()])?;
        match self.table.is_full() {
            true => self.grow()?,
            false => self.table.insert(hash, index),
        }
        Ok(Verdict::Kept)
    }

    fn first_with(&self, digest: &Digest) -> Result<Option<u64>, DataError> {
        let ((hash, check), mut record) = (parts(digest), [0; RECORD]);
        for index in self.table.find(hash).filter(|index| self.checks.get(*index) == [check]) {
            self.records.read(index, &mut record)?;
            if let Some(number) = record.strip_prefix(digest) {
                return Ok(number.try_into().ok().map(u64::from_le_bytes));
            }
        }
        Ok(None)
    }

    /// Makes the table anew from the file. The old one goes first, so that memory never has both.
    fn grow(&mut self) -> Result<(), DataError> {
        let room = self.table.next_room();
        self.table = Slots::with_room(0);
        self.table = Slots::with_room(room);
        self.records.each(|first, block| {
            for (index, record) in (first..).zip(block.chunks_exact(RECORD)) {
                self.table.insert(parts(record).0, index);
            }
        })
    }
}

/// What a digest is found by, and what is compared before it is read.
fn parts(digest: &[u8]) -> (u64, u32) {
    let number =
        |from: usize, to: usize| digest[from..to].iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    (number(0, 8), number(8, 12) as u32)
}

impl Duplicates {
    fn digest(&self, row: &PlacedRow) -> Result<Digest, DataError> {
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
        self.remember(&digest, row)
    }

    fn keep_all(&mut self, rows: &[PlacedRow]) -> Result<Vec<Verdict>, DataError> {
        let digests = rows.par_iter().map(|row| self.of.digest(row)).collect::<Result<Vec<_>, _>>()?;
        rows.iter().zip(&digests).map(|(row, digest)| self.remember(digest, row)).collect()
    }
}
