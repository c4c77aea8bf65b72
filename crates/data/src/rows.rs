//! Files of rows in any form that is read here, told apart by their names: JSON Lines (`.jsonl`), Parquet (`.parquet`)
//! and CSV (`.csv`); the first and the last also compressed (`.gz`, `.zst`). What reads a data set reads it through this
//! module, since equal rows are the same to the digests of contents in each of them. Rows are written in a [`Form`].

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compression::bare;
use crate::{DataError, Row, csv, jsonl, parquet};

/// How the names of row files end.
const FORMS: [&str; 7] = ["jsonl", "parquet", "csv", "jsonl.gz", "csv.gz", "jsonl.zst", "csv.zst"];

/// The rows of one file, in order; ends after the first error.
pub enum Reader<T> {
    Lines(jsonl::Reader<T>),
    Columns { path: PathBuf, rows: parquet::Reader },
    Table { path: PathBuf, rows: csv::Reader },
}

/// Opens a file of rows of type `T`, such as [`crate::Row`].
///
/// # Errors
/// The file cannot be opened, is no Parquet file where its name says so, or has no names of columns where it is CSV.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Reader<T>, DataError> {
    Ok(match path {
        _ if is_parquet(path) => Reader::Columns { path: path.to_path_buf(), rows: parquet::read(path)? },
        _ if is_csv(path) => Reader::Table { path: path.to_path_buf(), rows: csv::read(path)? },
        _ => Reader::Lines(jsonl::read(path)?),
    })
}

/// All rows of a file.
///
/// # Errors
/// The file cannot be read, or the first row that is not a `T`.
pub fn read_all<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, DataError> {
    read(path)?.collect()
}

/// How many rows a file has; that each of them can be read is checked on the way.
///
/// # Errors
/// The file cannot be read.
pub fn count(path: &Path) -> Result<u64, DataError> {
    read::<IgnoredAny>(path)?.try_fold(0, |count, row| row.map(|_| count + 1))
}

/// Whether a file is a Parquet file, by its name.
pub fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

/// Whether a file is a CSV file, compressed or not, by its name.
pub fn is_csv(path: &Path) -> bool {
    bare(path).ends_with(".csv")
}

/// The row files of a folder, sorted by name: how a data set artifact is laid out.
///
/// # Errors
/// The folder cannot be listed.
pub fn files_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = std::fs::read_dir(folder).map_err(DataError::io(folder))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(DataError::io(folder))?;
    files.retain(|path| is_of_rows(path));
    files.sort();
    Ok(files)
}

fn is_of_rows(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    FORMS.iter().any(|form| name.strip_suffix(form).is_some_and(|stem| stem.ends_with('.')))
}

/// The files of one part (`train`, `validation`) of a data set's folder, in whichever form it is there.
pub fn split_in(folder: &Path, split: &str) -> Vec<PathBuf> {
    let files = FORMS.map(|form| folder.join(format!("{split}.{form}")));
    files.into_iter().filter(|path| path.exists()).collect()
}

impl<T: DeserializeOwned> Reader<T> {
    /// The line (of JSON Lines and CSV) or the number (in Parquet) of the row that came last, counted from 1.
    pub fn line(&self) -> usize {
        match self {
            Reader::Lines(lines) => lines.line(),
            Reader::Columns { rows, .. } => usize::try_from(rows.row()).unwrap_or(usize::MAX),
            Reader::Table { rows, .. } => rows.line(),
        }
    }
}

impl<T: DeserializeOwned> Iterator for Reader<T> {
    type Item = Result<T, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (path, row) = match self {
            Reader::Lines(lines) => return lines.next(),
            Reader::Columns { path, rows } => (path.clone(), rows.next()?),
            Reader::Table { path, rows } => (path.clone(), rows.next()?),
        };
        let line = self.line();
        let misshapen = |error: serde_json::Error| DataError::Row { path, line, message: error.to_string() };
        Some(row.and_then(|row| serde_json::from_value(Value::Object(row)).map_err(misshapen)))
    }
}

/// A form in which rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// JSON Lines, which say everything.
    #[default]
    Jsonl,
    /// See [`parquet::Writer`] for what it has no form for.
    Parquet,
    /// Texts, see [`csv`].
    Csv,
}

impl Form {
    const ALL: [Form; 3] = [Form::Jsonl, Form::Parquet, Form::Csv];

    /// How the names of its files end.
    pub fn ending(self) -> &'static str {
        match self {
            Form::Jsonl => "jsonl",
            Form::Parquet => "parquet",
            Form::Csv => "csv",
        }
    }

    fn of(path: &Path) -> Option<Form> {
        let ending = path.extension()?;
        Form::ALL.into_iter().find(|form| ending == form.ending())
    }
}

/// Writes untyped rows in the form that the file's name asks for.
#[derive(Debug)]
pub enum Writer {
    Lines(jsonl::Writer),
    Columns(Box<parquet::InferringWriter>),
    Table(Box<csv::Writer>),
}

impl Writer {
    /// Creates a file that ends as a [`Form`] does, or empties it.
    ///
    /// # Errors
    /// The file cannot be created, or its name asks for another form.
    pub fn create(path: &Path) -> Result<Writer, DataError> {
        Ok(match Form::of(path).ok_or_else(|| DataError::Unwritable { path: path.to_path_buf() })? {
            Form::Jsonl => Writer::Lines(jsonl::Writer::create(path)?),
            Form::Parquet => Writer::Columns(Box::new(parquet::InferringWriter::create(path)?)),
            Form::Csv => Writer::Table(Box::new(csv::Writer::create(path)?)),
        })
    }

    /// Appends one row.
    ///
    /// # Errors
    /// See [`jsonl::Writer::write`], [`parquet::InferringWriter::write`] and [`csv::Writer::write`].
    pub fn write(&mut self, row: &Row) -> Result<(), DataError> {
        match self {
            Writer::Lines(file) => file.write(row),
            Writer::Columns(file) => file.write(row),
            Writer::Table(file) => file.write(row),
        }
    }

    /// Makes sure that all rows have arrived and says how many there are.
    ///
    /// # Errors
    /// The disk refuses some of them.
    pub fn finish(self) -> Result<usize, DataError> {
        match self {
            Writer::Lines(file) => file.finish(),
            Writer::Columns(file) => file.finish(),
            Writer::Table(file) => file.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use serde_json::json;

    use super::*;
    use crate::rows_digest;

    #[test]
    fn a_folder_lists_its_row_files_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["b.jsonl", "a.parquet", "c.txt", "a.jsonl", "b.csv.gz", "d.gz", "jsonl"] {
            std::fs::write(path(name), "").unwrap();
        }
        assert_eq!(files_in(folder.path()).unwrap(), ["a.jsonl", "a.parquet", "b.csv.gz", "b.jsonl"].map(path));
        assert_eq!(split_in(folder.path(), "b"), ["b.jsonl", "b.csv.gz"].map(path));
        assert_eq!(split_in(folder.path(), "a"), ["a.jsonl", "a.parquet"].map(path));
        assert!(split_in(folder.path(), "c").is_empty());
        assert!(files_in(&path("none")).unwrap_err().to_string().contains("none"));
    }

    /// Equal rows as files of each form that texts can be in.
    fn written(folder: &Path) -> Vec<PathBuf> {
        let path = |name: &str| folder.join(name);
        let lines = "{\"a\":\"1\",\"b\":\"x\\ny\"}\n{\"b\":\"\",\"a\":\"é\"}\n";
        let table = "a,b\n1,\"x\ny\"\né,\n";
        let column = |cells: [&str; 2]| parquet::Column::Texts(cells.map(String::from).to_vec());
        let columns = [("a", column(["1", "é"])), ("b", column(["x\ny", ""]))];
        parquet::write(&path("rows.parquet"), &columns).unwrap();
        for (name, text) in [("rows.jsonl", lines), ("rows.csv", table)] {
            std::fs::write(path(name), text).unwrap();
            let gzip = std::fs::File::create(path(&format!("{name}.gz"))).unwrap();
            let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::default());
            gzip.write_all(text.as_bytes()).unwrap();
            gzip.finish().unwrap();
            std::fs::write(path(&format!("{name}.zst")), zstd::encode_all(text.as_bytes(), 0).unwrap()).unwrap();
        }
        files_in(folder).unwrap()
    }

    #[test]
    fn equal_rows_have_equal_digests_in_every_form() {
        let folder = tempfile::tempdir().unwrap();
        let files = written(folder.path());
        assert_eq!(files.len(), FORMS.len());
        let wanted = [json!({"a": "1", "b": "x\ny"}), json!({"a": "é", "b": ""})];
        for file in files {
            let rows: Vec<Value> = read_all(&file).unwrap();
            assert_eq!(rows, wanted, "{}", file.display());
            assert_eq!(rows_digest(&rows), rows_digest(&wanted));
            assert_eq!(count(&file).unwrap(), 2);
        }
    }

    #[test]
    fn a_damaged_compressed_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for file in written(folder.path()).iter().filter(|file| bare(file) != file.file_name().unwrap()) {
            let bytes = std::fs::read(file).unwrap();
            std::fs::write(file, &bytes[..bytes.len() - 6]).unwrap();
            let error = match read::<Row>(file) {
                Ok(rows) => rows.collect::<Result<Vec<_>, _>>().unwrap_err(),
                Err(error) => error,
            };
            assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        }
    }

    /// So no more of it is in memory than what is being read.
    #[test]
    fn a_compressed_file_gives_its_rows_before_its_end_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let row = |at: u64| format!("{at},{:x}\n", crate::rng::mix(at));
        let text: String = std::iter::once("a,b\n".to_string()).chain((0..50_000).map(row)).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let zstandard = zstd::encode_all(text.as_bytes(), 0).unwrap();
        for (name, bytes) in [("rows.csv.gz", gzip.finish().unwrap()), ("rows.csv.zst", zstandard)] {
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            let rows: Vec<_> = read::<Row>(&path).unwrap().collect();
            assert!((10_000..40_000).contains(&rows.len()), "{} of {name}", rows.len());
            assert!(rows.iter().rev().skip(1).all(Result::is_ok) && rows.last().unwrap().is_err());
        }
    }

    #[test]
    fn rows_are_written_as_the_name_says() {
        let folder = tempfile::tempdir().unwrap();
        let row = json!({"a": "x", "b": "1"});
        for form in Form::ALL {
            let path = folder.path().join(format!("out.{}", form.ending()));
            let mut file = Writer::create(&path).unwrap();
            file.write(row.as_object().unwrap()).unwrap();
            assert_eq!(file.finish().unwrap(), 1);
            assert_eq!(read_all::<Value>(&path).unwrap(), std::slice::from_ref(&row));
            assert_eq!(json!(form), form.ending(), "as parameters say it");
        }
        assert_eq!(files_in(folder.path()).unwrap().len(), Form::ALL.len(), "and nothing else");
        let error = Writer::create(&folder.path().join("out.csv.gz")).unwrap_err().to_string();
        assert!(error.contains("out.csv.gz") && error.contains("`.jsonl`, `.parquet` or `.csv`"), "{error}");
    }
}
