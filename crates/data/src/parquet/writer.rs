//! Columns as a Parquet file, of the types and with the compression that pandas gives them. Equal columns make equal
//! bytes: the file says neither when nor by which version of the library it was written.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::DataError;

/// The cells of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    Integers(Vec<i64>),
    Texts(Vec<String>),
    /// NaN is null, as pandas writes it.
    Doubles(Vec<f64>),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Column::Integers(cells) => cells.len(),
            Column::Texts(cells) => cells.len(),
            Column::Doubles(cells) => cells.len(),
        }
    }

    fn schema(&self, name: &str) -> Result<TypePtr, ParquetError> {
        let (physical, logical) = match self {
            Column::Integers(_) => (Physical::INT64, None),
            Column::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Column::Doubles(_) => (Physical::DOUBLE, None),
        };
        let column = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        column.with_logical_type(logical).build().map(Arc::new)
    }

    fn write(&self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<(), ParquetError> {
        match self {
            Column::Integers(cells) => cells_of::<Int64Type>(group, cells, &vec![1; cells.len()], None),
            Column::Texts(cells) => {
                let texts: Vec<ByteArray> = cells.iter().map(|text| text.as_str().into()).collect();
                cells_of::<ByteArrayType>(group, &texts, &vec![1; cells.len()], None)
            }
            Column::Doubles(cells) => {
                let there: Vec<f64> = cells.iter().copied().filter(|cell| !cell.is_nan()).collect();
                let levels: Vec<i16> = cells.iter().map(|cell| i16::from(!cell.is_nan())).collect();
                cells_of::<DoubleType>(group, &there, &levels, None)
            }
        }
    }
}

/// Writes columns of equal lengths with their names, as one row group.
///
/// # Errors
/// The file cannot be written, two columns have one name, or their lengths differ.
pub fn write(path: &Path, columns: &[(&str, Column)]) -> Result<(), DataError> {
    let unwritten = |message: String| DataError::Unwritten { path: path.to_path_buf(), message };
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    for (at, (name, column)) in columns.iter().enumerate() {
        if column.len() != rows {
            return Err(unwritten(format!("the column `{name}` has {} cells, the first has {rows}", column.len())));
        }
        if columns[..at].iter().any(|(other, _)| other == name) {
            return Err(unwritten(format!("two columns are called `{name}`")));
        }
    }
    let file = File::create(path).map_err(DataError::io(path))?;
    fill(file, columns).map_err(|error| unwritten(error.to_string()))
}

fn fill(file: File, columns: &[(&str, Column)]) -> Result<(), ParquetError> {
    let fields = columns.iter().map(|(name, column)| column.schema(name)).collect::<Result<_, _>>()?;
    let schema = Type::group_type_builder("schema").with_fields(fields).build()?;
    let mut file = SerializedFileWriter::new(file, Arc::new(schema), properties())?;
    let mut group = file.next_row_group()?;
    columns.iter().try_for_each(|(_, column)| column.write(&mut group))?;
    group.close()?;
    file.close().map(drop)
}

pub(super) fn properties() -> Arc<WriterProperties> {
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_created_by("gazal-pipe".into());
    Arc::new(properties.build())
}

/// The next column: cells that are there, and for every place how many of the optional and repeated parts above it are.
pub(super) fn cells_of<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    cells: &[T::T],
    definitions: &[i16],
    repetitions: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the file has fewer columns than its schema".into());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(cells, Some(definitions), repetitions)?;
    column.close()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::rows;

    fn columns() -> Vec<(&'static str, Column)> {
        let texts = ["", "é\n\"𝄞", "same", "same"].map(String::from);
        vec![
            ("step", Column::Integers(vec![7, i64::MIN, 7, 7])),
            ("prompt", Column::Texts(texts.to_vec())),
            ("advantage", Column::Doubles(vec![0.1, f64::NAN, -0.0, f64::INFINITY])),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_nan_is_null() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        write(&path, &columns()).unwrap();
        let read: Vec<Value> = rows::read_all(&path).unwrap();
        let row =
            |step: i64, prompt: &str, advantage: Value| json!({"step": step, "prompt": prompt, "advantage": advantage});
        let wanted = [
            row(7, "", json!(0.1)),
            row(i64::MIN, "é\n\"𝄞", Value::Null),
            row(7, "same", json!(-0.0)),
            row(7, "same", json!("Infinity")),
        ];
        assert_eq!(read, wanted);
    }

    #[test]
    fn equal_columns_make_equal_bytes_that_tell_no_version() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = |name: &str| {
            write(&folder.path().join(name), &columns()).unwrap();
            std::fs::read(folder.path().join(name)).unwrap()
        };
        let first = bytes("first.parquet");
        assert_eq!(first, bytes("second.parquet"));
        let version = b"parquet-rs";
        assert!(!first.windows(version.len()).any(|window| window == version));
    }

    #[test]
    fn nothing_is_written_that_has_no_meaning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let error = |columns: &[(&str, Column)]| write(&path, columns).unwrap_err().to_string();
        let column = |length: usize| Column::Integers(vec![1; length]);
        assert!(error(&[("a", column(1)), ("a", column(1))]).contains("two columns are called `a`"));
        assert!(error(&[("a", column(1)), ("b", column(2))]).contains("`b` has 2 cells, the first has 1"));
        assert!(!path.exists());
        assert!(write(&folder.path().join("none/rows.parquet"), &columns()).unwrap_err().to_string().contains("none"));
    }
}
