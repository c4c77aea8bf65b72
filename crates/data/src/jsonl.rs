//! JSON Lines as streams: one row in memory at a time, and the file and line in every error.
//!
//! Empty lines are passed over but counted, and a byte order mark at the start is dropped, since published
//! files have both.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::DataError;
use crate::compression::{self, Bytes};

/// The rows of one file, in order; ends after the first error.
#[derive(Debug)]
pub struct Reader<T> {
    path: PathBuf,
    lines: BufReader<Bytes>,
    buffer: String,
    line: usize,
    failed: bool,
    row: PhantomData<T>,
}

/// Opens a file of rows of type `T`, such as [`crate::Row`].
///
/// # Errors
/// The file cannot be opened.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Reader<T>, DataError> {
    let lines = BufReader::new(compression::open(path).map_err(DataError::io(path))?);
    Ok(Reader { path: path.to_path_buf(), lines, buffer: String::new(), line: 0, failed: false, row: PhantomData })
}

/// All rows of a file.
///
/// # Errors
/// The file cannot be read, or the first row that is not a `T`.
pub fn read_all<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, DataError> {
    read(path)?.collect()
}

impl<T: DeserializeOwned> Reader<T> {
    /// The line of the row that came last, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    fn advance(&mut self) -> Result<Option<T>, DataError> {
        loop {
            self.buffer.clear();
            let read = self.lines.read_line(&mut self.buffer).map_err(DataError::io(&self.path))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            let text = self.buffer.trim_start_matches('\u{feff}').trim();
            if !text.is_empty() {
                return serde_json::from_str(text).map(Some).map_err(|error| self.row_error(&error));
            }
        }
    }

    fn row_error(&self, error: &serde_json::Error) -> DataError {
        // serde_json counts lines within the row's text, which is always one line.
        let message = error.to_string().replace(" at line 1 column ", " at column ");
        DataError::Row { path: self.path.clone(), line: self.line, message }
    }
}

impl<T: DeserializeOwned> Iterator for Reader<T> {
    type Item = Result<T, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.advance().transpose();
        self.failed = matches!(row, Some(Err(_)));
        row
    }
}

/// Writes rows to a file of its own; [`Writer::finish`] makes sure that they have arrived.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    rows: usize,
}

impl Writer {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> Result<Writer, DataError> {
        let file = BufWriter::new(File::create(path).map_err(DataError::io(path))?);
        Ok(Writer { path: path.to_path_buf(), file, rows: 0 })
    }

    /// Appends one row.
    ///
    /// # Errors
    /// The row cannot be written as JSON, or the disk refuses it.
    pub fn write<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), DataError> {
        let text = serde_json::to_string(row).map_err(|error| DataError::Row {
            path: self.path.clone(),
            line: self.rows + 1,
            message: error.to_string(),
        })?;
        writeln!(self.file, "{text}").map_err(DataError::io(&self.path))?;
        self.rows += 1;
        Ok(())
    }

    /// Flushes and says how many rows there are.
    ///
    /// # Errors
    /// The disk refuses the last of them.
    pub fn finish(mut self) -> Result<usize, DataError> {
        self.file.flush().map_err(DataError::io(&self.path))?;
        Ok(self.rows)
    }
}

/// Writes a whole file of rows and says how many there are.
///
/// # Errors
/// See [`Writer`].
pub fn write_all<T: Serialize>(path: &Path, rows: impl IntoIterator<Item = T>) -> Result<usize, DataError> {
    let mut writer = Writer::create(path)?;
    for row in rows {
        writer.write(&row)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::Row;

    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    struct Pair {
        name: String,
        size: u32,
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let (_folder, path) = file("old content");
        let rows = [Pair { name: "a\nb — ü".into(), size: 1 }, Pair { name: String::new(), size: 2 }];
        assert_eq!(write_all(&path, &rows).unwrap(), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(read_all::<Pair>(&path).unwrap(), rows);
    }

    #[test]
    fn untyped_rows_keep_the_order_of_their_keys() {
        let (_folder, path) = file("\u{feff}{\"z\": 1, \"a\": [2]}\r\n\n  \n{}");
        let rows = read_all::<Row>(&path).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].keys().collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!(rows[0]["a"], json!([2]));
    }

    #[test]
    fn an_error_names_file_line_and_column_and_ends_the_stream() {
        let (_folder, path) =
            file("{\"name\":\"x\",\"size\":1}\n\n{\"name\":\"y\",\"size\":-1}\n{\"name\":\"z\",\"size\":3}\n");
        let mut rows = read::<Pair>(&path).unwrap();
        assert_eq!(rows.next().unwrap().unwrap().name, "x");
        let message = rows.next().unwrap().unwrap_err().to_string();
        assert!(message.ends_with("rows.jsonl:3: invalid value: integer `-1`, expected u32 at column 21"), "{message}");
        assert!(rows.next().is_none());
        assert_eq!(rows.line(), 3);
    }

    #[test]
    fn text_that_is_no_utf8_is_an_error_and_not_a_panic() {
        let (_folder, path) = file("");
        std::fs::write(&path, b"{\"name\":\"\xff\"}\n").unwrap();
        assert!(read_all::<Row>(&path).unwrap_err().to_string().contains("rows.jsonl"));
        assert!(read::<Row>(&path.with_file_name("none")).unwrap_err().to_string().contains("none"));
    }
}
