//! Files of rows in any form that is read here: JSON Lines (`.jsonl`) and Parquet (`.parquet`), told apart by their
//! names. What reads a data set reads it through this module, since both are the same to the digests of contents.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{DataError, jsonl, parquet};

/// How the names of row files end.
const FORMS: [&str; 2] = ["jsonl", "parquet"];

/// The rows of one file, in order; ends after the first error.
pub enum Reader<T> {
    Lines(jsonl::Reader<T>),
    Columns { path: PathBuf, rows: parquet::Reader },
}

/// Opens a file of rows of type `T`, such as [`crate::Row`].
///
/// # Errors
/// The file cannot be opened, or is no Parquet file where its name says so.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Reader<T>, DataError> {
    Ok(match is_parquet(path) {
        true => Reader::Columns { path: path.to_path_buf(), rows: parquet::read(path)? },
        false => Reader::Lines(jsonl::read(path)?),
    })
}

/// All rows of a file.
///
/// # Errors
/// The file cannot be read, or the first row that is not a `T`.
pub fn read_all<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, DataError> {
    read(path)?.collect()
}

/// Whether a file is a Parquet file, by its name.
pub fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
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
    files.retain(|path| path.extension().is_some_and(|extension| FORMS.iter().any(|form| extension == *form)));
    files.sort();
    Ok(files)
}

/// The files of one part (`train`, `validation`) of a data set's folder, in whichever form it is there.
pub fn split_in(folder: &Path, split: &str) -> Vec<PathBuf> {
    let files = FORMS.map(|form| folder.join(format!("{split}.{form}")));
    files.into_iter().filter(|path| path.exists()).collect()
}

impl<T: DeserializeOwned> Reader<T> {
    /// The line (of JSON Lines) or the number (in Parquet) of the row that came last, counted from 1.
    pub fn line(&self) -> usize {
        match self {
            Reader::Lines(lines) => lines.line(),
            Reader::Columns { rows, .. } => usize::try_from(rows.row()).unwrap_or(usize::MAX),
        }
    }
}

impl<T: DeserializeOwned> Iterator for Reader<T> {
    type Item = Result<T, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (path, row, line) = match self {
            Reader::Lines(lines) => return lines.next(),
            Reader::Columns { path, rows } => {
                let row = rows.next()?;
                (path, row, usize::try_from(rows.row()).unwrap_or(usize::MAX))
            }
        };
        let misshapen =
            |error: serde_json::Error| DataError::Row { path: path.clone(), line, message: error.to_string() };
        Some(row.and_then(|row| serde_json::from_value(Value::Object(row)).map_err(misshapen)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_folder_lists_its_row_files_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["b.jsonl", "a.parquet", "c.txt", "a.jsonl"] {
            std::fs::write(path(name), "").unwrap();
        }
        assert_eq!(files_in(folder.path()).unwrap(), ["a.jsonl", "a.parquet", "b.jsonl"].map(path));
        assert_eq!(split_in(folder.path(), "a"), ["a.jsonl", "a.parquet"].map(path));
        assert!(split_in(folder.path(), "c").is_empty());
        assert!(files_in(&path("none")).unwrap_err().to_string().contains("none"));
    }
}
