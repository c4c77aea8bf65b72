//! Rows in a random order, in two passes: the first notes where each row begins, the second reads them there.
//!
//! 16 bytes of memory a row, however long it is: its place in its file, and its place in the order. Only JSON Lines that
//! are not compressed can be read from a place.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PlacedRow;
use crate::{DataError, Stream};

/// The rows of some files in a random order.
pub struct Shuffled {
    files: Vec<Lines>,
    /// Where each row begins in its file.
    starts: Vec<u64>,
    order: std::vec::IntoIter<usize>,
    number: u64,
}

struct Lines {
    path: Arc<Path>,
    /// The index of its first row among those of all files.
    first: usize,
    lines: BufReader<File>,
}

/// Goes through the files once and puts their rows into an order that belongs to the seed.
///
/// # Errors
/// A file cannot be read, or is not JSON Lines without compression.
pub fn shuffle(files: &[PathBuf], seed: u64) -> Result<Shuffled, DataError> {
    let (mut starts, mut opened) = (Vec::new(), Vec::new());
    for path in files {
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            let message = "only files that end in `.jsonl` can be shuffled: write the rows to one first";
            return Err(DataError::io(path)(Error::new(ErrorKind::Unsupported, message)));
        }
        let lines = BufReader::new(File::open(path).map_err(DataError::io(path))?);
        let mut file = Lines { path: Arc::from(path.as_path()), first: starts.len(), lines };
        note(&mut file.lines, &mut starts).map_err(DataError::io(path))?;
        opened.push(file);
    }
    let order = Stream::new(seed, "shuffle").permutation(0, starts.len()).into_iter();
    Ok(Shuffled { files: opened, starts, order, number: 0 })
}

/// Where each line begins that is not empty.
fn note(lines: &mut BufReader<File>, starts: &mut Vec<u64>) -> Result<(), Error> {
    let (mut line, mut start) = (Vec::new(), 0);
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            return Ok(());
        }
        if !line.trim_ascii().is_empty() {
            starts.push(start);
        }
        start += read;
    }
}

impl Shuffled {
    fn row(&mut self, index: usize) -> Result<PlacedRow, DataError> {
        let file = self.files.partition_point(|file| file.first <= index) - 1;
        let Lines { path, first, lines } = &mut self.files[file];
        let mut text = String::new();
        lines.seek(SeekFrom::Start(self.starts[index])).map_err(DataError::io(path))?;
        lines.read_line(&mut text).map_err(DataError::io(path))?;
        let line = index - *first + 1;
        let row = serde_json::from_str(text.trim_start_matches('\u{feff}'));
        let misshapen =
            |error: serde_json::Error| DataError::Row { path: path.to_path_buf(), line, message: error.to_string() };
        self.number += 1;
        Ok(PlacedRow { number: self.number, path: Arc::clone(path), line, row: row.map_err(misshapen)? })
    }
}

impl Iterator for Shuffled {
    type Item = Result<PlacedRow, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.order.next()?;
        Some(self.row(index))
    }
}
