//! Parquet as rows, and rows ([`Writer`], [`InferringWriter`]) and columns ([`write`]) as Parquet.
//!
//! What is read is what JSON Lines would say, one row group after the other and no more of it in memory than a page of
//! each column.
//!
//! A row is an object with every column of the file, in the file's order; this is what its content is, so a Parquet file
//! has the same content digest as JSON Lines with these rows, however it is divided into row groups, encoded or
//! compressed:
//!
//! | in the file | as JSON |
//! |---|---|
//! | null | `null`; no column is ever missing, so it differs from rows that leave the key out |
//! | booleans, text, JSON, enums | themselves; JSON stays text |
//! | integers, signed or not, of any width | integers |
//! | floats of any width | the number as a double, with a point (`1.0`); `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | decimals | text with all digits of the scale: `"12.30"` |
//! | dates | text: `"2025-11-21"` |
//! | times of day | text: `"09:33:05"`, with 3, 6 or 9 digits more where they are not zero |
//! | timestamps | the same behind the date: `"2025-11-21T09:33:05Z"`, without the `Z` where they are in local time |
//! | bytes without a text's type | base64 |
//! | structs | objects |
//! | lists | arrays |
//! | maps | arrays of `{"key": …, "value": …}`, in the file's order |
//!
//! Types that cannot be told without loss (INT96, INTERVAL) are refused, as are compressions other than Snappy and
//! Zstandard.

mod cell;
mod rows;
#[cfg(test)]
mod rows_tests;
mod schema;
mod stripes;
#[cfg(test)]
mod tests;
mod writer;

use std::any::Any;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::TypePtr;

use crate::{DataError, Row};
pub use rows::{InferringWriter, Writer};
pub use schema::Schema;
pub use writer::{Column, write};

/// The rows of one file, in order; ends after the first error.
pub struct Reader {
    path: PathBuf,
    rows: RowIter<'static>,
    schema: TypePtr,
    /// As the file says.
    count: u64,
    /// Read so far.
    row: u64,
    ended: bool,
}

/// Opens a Parquet file.
///
/// # Errors
/// The file cannot be opened, is no Parquet file, or has columns that cannot be read.
pub fn read(path: &Path) -> Result<Reader, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let opened = guard(|| {
        let file = SerializedFileReader::new(file).map_err(|error| told(&error))?;
        let metadata = file.metadata().file_metadata();
        metadata.schema_descr().columns().iter().try_for_each(|column| cell::check(column))?;
        let count = u64::try_from(metadata.num_rows()).map_err(|_| "it says that it has less than no rows")?;
        Ok((metadata.schema_descr().root_schema_ptr(), count, RowIter::from_file_into(Box::new(file))))
    });
    let (schema, count, rows) = opened.map_err(DataError::parquet(path))?;
    Ok(Reader { path: path.to_path_buf(), rows, schema, count, row: 0, ended: false })
}

impl Reader {
    /// The number of the row that came last, counted from 1.
    pub fn row(&self) -> u64 {
        self.row
    }

    fn advance(&mut self) -> Result<Option<Row>, String> {
        let row = guard(|| self.rows.next().transpose().map_err(|error| told(&error)))?;
        match row {
            Some(row) => {
                self.row += 1;
                cell::row(row, &self.schema).map(Some)
            }
            None if self.row == self.count => Ok(None),
            None => Err(format!("it has {} rows and says that it has {}", self.row, self.count)),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.advance().map_err(DataError::parquet(&self.path)).transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

/// The library asserts what a file that is not damaged fulfils.
fn guard<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(format!("it is damaged: {}", text(panic.as_ref()))))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it does not fit its own description")
}

fn told(error: &ParquetError) -> String {
    let text = error.to_string();
    match text.contains("feature") || text.contains("odec") {
        true => format!("{text}: write it without compression, or with Snappy or Zstandard"),
        false => text,
    }
}
