//! Curation: which rows of a data set stay, as steps over one stream of rows.
//!
//! A [`Step`] looks at a row with its place and says whether it stays and, if not, why ([`Verdict`]). A [`Chain`] passes
//! rows through steps, batch by batch, and keeps a [`StepReport`] of each. Rows come from [`Sources`], which numbers
//! them over all files. Everything is one pass; what a step remembers is digests, signatures and numbers, and each says
//! how many bytes a row that takes.
//!
//! | step | drops | remembers |
//! |---|---|---|
//! | [`Filter`] | rows for which an expression is false | nothing |
//! | [`ExactDuplicates`] | rows whose content was there | 8 to 10 bytes of a row that stays, and 24 in a file |
//! | [`NearDuplicates`] | rows whose words were nearly there | about 90 bytes of a row that stays, by its parameters, and 136 in a file |
//! | [`Length`] | texts that are too short or too long | nothing |
//! | [`Language`] | texts in other languages | nothing |
//!
//! A step of one's own (decontamination, say) implements [`Step`] and drops with [`Reason::Other`]. [`Split`] and [`Mix`]
//! say where rows go and where they come from, [`shuffle`](fn@shuffle) changes their order.

mod chain;
mod duplicates;
mod filter;
mod language;
mod length;
mod mix;
mod near;
mod normalization;
mod records;
mod report;
mod row;
mod shuffle;
mod slots;
mod sources;
mod split;

use serde::{Deserialize, Serialize};

use crate::DataError;
pub use chain::Chain;
pub use duplicates::{Duplicates, ExactDuplicates};
pub use filter::{Expression, Filter};
pub use language::{Language, Languages};
pub use length::{Length, Lengths, Measure};
pub use mix::{Amount, Mix, Mixture, Pick, mixed};
pub use near::{Near, NearDuplicates, Unit};
pub use normalization::Normalization;
pub use report::{Dropped, Example, StepReport};
pub use row::PlacedRow;
pub use shuffle::{Shuffled, shuffle};
pub use sources::Sources;
pub use split::{Part, Parts, Split};

/// A step of curation: whether a row stays. Rows come in the order of their numbers.
pub trait Step: Send {
    /// Looks at one row, and remembers of it what later rows are compared with.
    ///
    /// # Errors
    /// The row has not what the step looks at; the error has the row's place.
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError>;

    /// The same for several rows, one after the other; for steps that can share the work among threads.
    ///
    /// # Errors
    /// That of the first row that has one.
    fn keep_all(&mut self, rows: &[PlacedRow]) -> Result<Vec<Verdict>, DataError> {
        rows.iter().map(|row| self.keep(row)).collect()
    }
}

impl Step for Box<dyn Step> {
    fn keep(&mut self, row: &PlacedRow) -> Result<Verdict, DataError> {
        (**self).keep(row)
    }

    fn keep_all(&mut self, rows: &[PlacedRow]) -> Result<Vec<Verdict>, DataError> {
        (**self).keep_all(rows)
    }
}

/// What a step says of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Kept,
    Dropped(Reason),
}

impl Verdict {
    fn kept_or(keeps: bool, reason: impl FnOnce() -> Reason) -> Verdict {
        if keeps { Verdict::Kept } else { Verdict::Dropped(reason()) }
    }
}

/// Why a row was dropped. Other rows are told by their number, see [`PlacedRow::number`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// The expression of a filter is false.
    False,
    /// The row `of` has the same content.
    Duplicate { of: u64 },
    /// The row `of` is this similar: an estimate of the Jaccard similarity of shingles.
    NearDuplicate { of: u64, similarity: f64 },
    /// The text has `has`, fewer than it should.
    Short { has: u64 },
    /// The text has `has`, more than it should.
    Long { has: u64 },
    /// The text seems to be in this language (ISO 639-3).
    Language { language: String, confidence: f64 },
    /// No language can be told, or not surely enough.
    NoLanguage { confidence: f64 },
    /// Of a step that is written elsewhere: a name to count by and what is to be said of this row.
    Other { name: String, detail: String },
}

impl Reason {
    /// What reports count by.
    pub fn name(&self) -> &str {
        match self {
            Reason::False => "false",
            Reason::Duplicate { .. } => "duplicate",
            Reason::NearDuplicate { .. } => "near_duplicate",
            Reason::Short { .. } => "short",
            Reason::Long { .. } => "long",
            Reason::Language { .. } => "language",
            Reason::NoLanguage { .. } => "no_language",
            Reason::Other { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests;
