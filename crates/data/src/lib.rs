//! Rows: JSON Lines, Parquet and CSV as streams with places in their errors, their curation, digests of rows by content,
//! and the random streams that every learning stage draws from.
//!
//! What is absent here: stages, tensors, tokens.

mod compression;
pub mod csv;
pub mod curation;
mod digest;
mod error;
pub mod jsonl;
pub mod parquet;
mod rng;
pub mod rows;

pub use digest::{canonical, row_digest, rows_digest};
pub use error::DataError;
pub use rng::{Draws, Quick, Stream};

/// A row of a data set without a type of its own; keys keep the order in which they were written.
pub type Row = serde_json::Map<String, serde_json::Value>;
