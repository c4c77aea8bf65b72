//! CSV as rows (RFC 4180), one in memory at a time.
//!
//! A cell is a text, always: what looks like a number may be a code with zeros in front, and whether a column has only
//! numbers is known when the last row has been read. The names of the columns are the first row of the file, or given.
//! So a CSV file is the same to the digests of contents as JSON Lines with these texts.
//!
//! Written are texts as they are, nulls and missing columns as empty cells, and anything else as JSON. Rows of texts
//! come back as they were; of others CSV cannot say what they were.

use std::fs::File;
use std::path::{Path, PathBuf};

use csv::{ErrorKind, ReaderBuilder, StringRecord};
use serde_json::Value;

use crate::compression::{self, Bytes};
use crate::{DataError, Row};

/// The rows of one file, in order; ends after the first error.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    records: csv::Reader<Bytes>,
    record: StringRecord,
    columns: Vec<String>,
    line: usize,
    /// Where the next row begins if there is no empty line before it.
    next_line: usize,
    ended: bool,
}

/// Opens a file whose first row has the names of its columns.
///
/// # Errors
/// The file cannot be opened, has no first row, or that row has a name twice.
pub fn read(path: &Path) -> Result<Reader, DataError> {
    let mut reader = open(path)?;
    if !reader.record()? {
        return Err(reader.error("there is no first row with the names of the columns".into()));
    }
    reader.columns = reader.record.iter().map(String::from).collect();
    reader.checked()
}

/// Opens a file whose first row is one like the others.
///
/// # Errors
/// The file cannot be opened, or two columns have one name.
pub fn read_named(path: &Path, columns: Vec<String>) -> Result<Reader, DataError> {
    Reader { columns, ..open(path)? }.checked()
}

fn open(path: &Path) -> Result<Reader, DataError> {
    let bytes = compression::open(path).map_err(DataError::io(path))?;
    // Lengths are checked here, with a message that says which row has how many cells.
    let records = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let (record, path) = (StringRecord::new(), path.to_path_buf());
    Ok(Reader { path, records, record, columns: Vec::new(), line: 1, next_line: 1, ended: false })
}

impl Reader {
    /// The line where the row that came last begins, or the first of the empty lines before it; counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    fn checked(self) -> Result<Reader, DataError> {
        match first_twice(&self.columns) {
            Some(name) => Err(self.error(format!("two columns are called `{name}`"))),
            None => Ok(self),
        }
    }

    /// Reads the next record; whether there is one.
    fn record(&mut self) -> Result<bool, DataError> {
        let read = self.records.read_record(&mut self.record);
        let place = match &read {
            Ok(_) => self.record.position(),
            Err(error) => error.position(),
        };
        // The library's own count sees empty lines, but lags behind by one where lines end in CRLF.
        let line = place.map_or(0, |place| usize::try_from(place.line()).unwrap_or(usize::MAX));
        self.line = line.max(self.next_line);
        let breaks = self.record.iter().flat_map(str::bytes).filter(|byte| *byte == b'\n').count();
        self.next_line = self.line + 1 + breaks;
        read.map_err(|error| match error.into_kind() {
            ErrorKind::Io(source) => DataError::Io { path: self.path.clone(), source },
            ErrorKind::Utf8 { err, .. } => self.error(format!("a cell is no UTF-8: {err}")),
            other => self.error(format!("{other:?}")),
        })
    }

    fn advance(&mut self) -> Result<Option<Row>, DataError> {
        if !self.record()? {
            return Ok(None);
        }
        let (cells, columns) = (self.record.len(), self.columns.len());
        if cells != columns {
            return Err(self.error(format!("this row has {cells} cells and there are {columns} columns")));
        }
        Ok(Some(self.columns.iter().cloned().zip(self.record.iter().map(Value::from)).collect()))
    }

    fn error(&self, message: String) -> DataError {
        DataError::Row { path: self.path.clone(), line: self.line, message }
    }
}

impl Iterator for Reader {
    type Item = Result<Row, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.advance().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

/// Writes rows to a file of its own; [`Writer::finish`] makes sure that they have arrived.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: csv::Writer<File>,
    /// Those of the first row.
    columns: Vec<String>,
    rows: usize,
}

impl Writer {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> Result<Writer, DataError> {
        let file = File::create(path).map_err(DataError::io(path))?;
        Ok(Writer { path: path.to_path_buf(), file: csv::Writer::from_writer(file), columns: Vec::new(), rows: 0 })
    }

    /// Appends one row; the first says what columns there are.
    ///
    /// # Errors
    /// The row has a column that the first has not, or the disk refuses it.
    pub fn write(&mut self, row: &Row) -> Result<(), DataError> {
        if self.rows == 0 {
            self.columns = row.keys().cloned().collect();
            self.record(&self.columns.clone())?;
        }
        if let Some(column) = row.keys().find(|column| !self.columns.contains(column)) {
            let message = format!("the column `{column}` is not in the first row, so it would be lost in CSV");
            return Err(DataError::Row { path: self.path.clone(), line: self.rows + 2, message });
        }
        let cells: Vec<String> = self.columns.iter().map(|column| cell(row.get(column))).collect();
        self.record(&cells)?;
        self.rows += 1;
        Ok(())
    }

    fn record(&mut self, cells: &[String]) -> Result<(), DataError> {
        self.file.write_record(cells).map_err(|error| DataError::io(&self.path)(error.into()))
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

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn first_twice(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::row_digest;

    fn file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn object(value: Value) -> Row {
        let Value::Object(row) = value else { panic!("{value} is no row") };
        row
    }

    #[test]
    fn cells_are_texts_under_the_names_of_the_first_row() {
        let (_folder, path) = file("\u{feff}question,answer\r\n\"a \"\"b\"\",\nc\",007\n\n,é\n");
        let mut rows = read(&path).unwrap();
        assert_eq!(rows.next().unwrap().unwrap(), object(json!({"question": "a \"b\",\nc", "answer": "007"})));
        assert_eq!(rows.line(), 2);
        assert_eq!(rows.next().unwrap().unwrap(), object(json!({"question": "", "answer": "é"})));
        assert_eq!(rows.line(), 4, "with the empty line");
        assert!(rows.next().is_none());
    }

    #[test]
    fn columns_can_be_named_where_the_file_does_not() {
        let (_folder, path) = file("1,2\n3,4\n");
        let rows: Vec<Row> = read_named(&path, vec!["a".into(), "b".into()]).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [json!({"a": "1", "b": "2"}), json!({"a": "3", "b": "4"})].map(object));
    }

    #[test]
    fn errors_name_file_and_line_and_end_the_stream() {
        let failure = |text: &[u8]| {
            let (_folder, path) = file(text);
            match read(&path) {
                Ok(mut rows) => {
                    let error = rows.find_map(Result::err).unwrap().to_string();
                    assert!(rows.next().is_none());
                    error
                }
                Err(error) => error.to_string(),
            }
        };
        let ragged = failure(b"a,b\n\"1\n1\",2\n3\n4,5\n");
        assert!(ragged.ends_with("rows.csv:4: this row has 1 cells and there are 2 columns"), "{ragged}");
        assert!(failure(b"a,b\n1,\xff\n").contains("rows.csv:2: a cell is no UTF-8"));
        assert!(failure(b"a,b,a\n").ends_with("rows.csv:1: two columns are called `a`"));
        assert!(failure(b"").contains("no first row"));
        assert!(read(Path::new("none/x.csv")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn texts_come_back_and_keep_their_digest() {
        let (_folder, path) = file("old");
        let rows = [json!({"a": " x,\"y\"\r\nz", "b": ""}), json!({"b": "-", "a": "1"})].map(object);
        let mut writer = Writer::create(&path).unwrap();
        rows.iter().for_each(|row| writer.write(row).unwrap());
        assert_eq!(writer.finish().unwrap(), 2);
        let back: Vec<Row> = read(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(back, rows);
        let digest = |row: &Row| row_digest(&Value::Object(row.clone()));
        assert_eq!(back.iter().map(digest).collect::<Vec<_>>(), rows.iter().map(digest).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_text_is_written_as_json_and_nothing_is_lost_unseen() {
        let (_folder, path) = file("");
        let mut writer = Writer::create(&path).unwrap();
        writer.write(&object(json!({"a": null, "b": [1, "x"], "c": 1.5}))).unwrap();
        writer.write(&object(json!({"c": true}))).unwrap();
        let error = writer.write(&object(json!({"d": 1}))).unwrap_err().to_string();
        assert!(error.contains("rows.csv:4: the column `d` is not in the first row"), "{error}");
        writer.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a,b,c\n,\"[1,\"\"x\"\"]\",1.5\n,,true\n");
    }
}
