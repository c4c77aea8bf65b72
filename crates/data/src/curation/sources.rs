//! Row files, one after the other, as one stream of numbered rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PlacedRow;
use crate::{DataError, Row, rows};

/// The rows of several files, in order; ends after the first error.
pub struct Sources {
    /// In order, each with the number of rows before it once it has been opened.
    files: Vec<(Arc<Path>, u64)>,
    opened: usize,
    reader: Option<rows::Reader<Row>>,
    rows: u64,
}

impl Sources {
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Sources {
        let files = files.into_iter().map(|path| (Arc::from(path), 0)).collect();
        Sources { files, opened: 0, reader: None, rows: 0 }
    }

    /// The file of a row that was read, and which of its rows it is, counted from 1.
    pub fn place(&self, number: u64) -> Option<(&Path, u64)> {
        let opened = self.files[..self.opened].iter().rev();
        let (path, before) = opened.into_iter().find(|(_, before)| *before < number && number <= self.rows)?;
        Some((path, number - before))
    }

    fn advance(&mut self) -> Result<Option<PlacedRow>, DataError> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(row) = reader.next()
            {
                self.rows += 1;
                let path = Arc::clone(&self.files[self.opened - 1].0);
                return Ok(Some(PlacedRow { number: self.rows, path, line: reader.line(), row: row? }));
            }
            let Some((path, before)) = self.files.get_mut(self.opened) else { return Ok(None) };
            self.reader = Some(rows::read(path)?);
            *before = self.rows;
            self.opened += 1;
        }
    }
}

impl Iterator for Sources {
    type Item = Result<PlacedRow, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.advance().transpose();
        if matches!(row, Some(Err(_))) {
            self.reader = None;
            self.files.truncate(self.opened);
        }
        row
    }
}
