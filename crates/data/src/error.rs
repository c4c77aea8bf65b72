use std::path::{Path, PathBuf};

/// What can go wrong with a file of rows or a step over them; the variants name the file or the parameter.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A row that is no JSON or has another shape than was asked for; `line` counts from 1.
    #[error("{}:{line}: {message}", path.display())]
    Row { path: PathBuf, line: usize, message: String },
    /// A Parquet file that cannot be read, or not any further.
    #[error("{}: this Parquet file cannot be read: {message}", path.display())]
    Parquet { path: PathBuf, message: String },
    /// A parameter of a step that has no meaning.
    #[error("`{name}`: {message}")]
    Parameter { name: &'static str, message: String },
    #[error("{}: rows are written to files that end in `.jsonl`, `.parquet` or `.csv`", path.display())]
    Unwritable { path: PathBuf },
    /// Columns that cannot be a Parquet file.
    #[error("{}: this Parquet file cannot be written: {message}", path.display())]
    Unwritten { path: PathBuf, message: String },
}

impl DataError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DataError + '_ {
        move |source| DataError::Io { path: path.to_path_buf(), source }
    }

    pub(crate) fn parameter(name: &'static str, message: impl Into<String>) -> DataError {
        DataError::Parameter { name, message: message.into() }
    }

    pub(crate) fn parquet(path: &Path) -> impl FnOnce(String) -> DataError + '_ {
        move |message| DataError::Parquet { path: path.to_path_buf(), message }
    }
}
