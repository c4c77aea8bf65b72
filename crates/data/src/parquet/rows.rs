//! Untyped rows as a Parquet file.
//!
//! Rows are gathered as columns until they are large enough for a row group, which with one encoded column is what is in
//! memory at most, however long the file gets.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;

use super::schema::Schema;
use super::stripes::Stripes;
use super::writer::properties;
use crate::{DataError, Row};

/// Bytes of a row group before it is encoded, about.
const GROUP: usize = 32 << 20;

/// Writes rows whose columns are known to a file of its own; [`Writer::finish`] makes sure that they have arrived.
///
/// Columns are optional, objects groups, and lists those of Parquet's three levels. Read back the rows are the same and
/// have the same digest, but for what Parquet has no form for:
/// - A column, or a key of an object, that a row leaves out reads as null where other rows have it.
/// - An integer reads as `1.0` where the column has numbers with a point too.
/// - Keys come in the order in which they were first seen, which no digest depends on.
pub struct Writer {
    path: PathBuf,
    file: SerializedFileWriter<File>,
    columns: Stripes,
    /// Of the rows that are in no row group yet.
    bytes: usize,
    rows: usize,
}

impl Writer {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path, schema: &Schema) -> Result<Writer, DataError> {
        let file = File::create(path).map_err(DataError::io(path))?;
        let open = || SerializedFileWriter::new(file, schema.message()?, properties());
        let file = open().map_err(unwritten(path))?;
        let columns = Stripes::new(&schema.columns);
        Ok(Writer { path: path.to_path_buf(), file, columns, bytes: 0, rows: 0 })
    }

    /// Appends one row. After an error the file is of no use.
    ///
    /// # Errors
    /// Something in the row has another type than its column or no column, or the disk refuses it.
    pub fn write(&mut self, row: &Row) -> Result<(), DataError> {
        self.rows += 1;
        self.bytes += self.columns.push(row).map_err(|misfit| misfit.at(&self.path, self.rows))?;
        if self.bytes >= GROUP { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> Result<(), DataError> {
        let close = |file: &mut SerializedFileWriter<File>, columns: &mut Stripes| {
            let mut group = file.next_row_group()?;
            columns.write(&mut group)?;
            group.close().map(drop)
        };
        self.bytes = 0;
        close(&mut self.file, &mut self.columns).map_err(unwritten(&self.path))
    }

    /// Writes what is left and says how many rows there are.
    ///
    /// # Errors
    /// The disk refuses the last of them.
    pub fn finish(mut self) -> Result<usize, DataError> {
        if self.bytes > 0 {
            self.close_group()?;
        }
        self.file.close().map_err(unwritten(&self.path))?;
        Ok(self.rows)
    }
}

fn unwritten(path: &Path) -> impl FnOnce(ParquetError) -> DataError + '_ {
    move |error| DataError::Unwritten { path: path.to_path_buf(), message: error.to_string() }
}

/// Writes rows whose columns are told from all of them: until then they wait in a file without a name, as JSON Lines.
#[derive(Debug)]
pub struct InferringWriter {
    path: PathBuf,
    schema: Schema,
    waiting: BufWriter<File>,
    rows: usize,
}

impl InferringWriter {
    /// Rows wait in the folder of the file, which is written when all are there.
    ///
    /// # Errors
    /// The folder refuses files.
    pub fn create(path: &Path) -> Result<InferringWriter, DataError> {
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let waiting = BufWriter::new(tempfile::tempfile_in(folder).map_err(DataError::io(path))?);
        Ok(InferringWriter { path: path.to_path_buf(), schema: Schema::default(), waiting, rows: 0 })
    }

    /// Appends one row.
    ///
    /// # Errors
    /// Something in the row cannot have one type with what its column has before, or the disk refuses it.
    pub fn write(&mut self, row: &Row) -> Result<(), DataError> {
        self.rows += 1;
        self.schema.widen(row).map_err(|misfit| misfit.at(&self.path, self.rows))?;
        let written = serde_json::to_writer(&mut self.waiting, row).map_err(std::io::Error::from);
        written.and_then(|()| self.waiting.write_all(b"\n")).map_err(DataError::io(&self.path))
    }

    /// Writes the file and says how many rows there are.
    ///
    /// # Errors
    /// The disk refuses them.
    pub fn finish(self) -> Result<usize, DataError> {
        let mut file = Writer::create(&self.path, &self.schema)?;
        let mut waiting = self.waiting.into_inner().map_err(|error| DataError::io(&self.path)(error.into_error()))?;
        waiting.rewind().map_err(DataError::io(&self.path))?;
        let (mut lines, mut line) = (BufReader::new(waiting), String::new());
        while lines.read_line(&mut line).map_err(DataError::io(&self.path))? > 0 {
            let row: Row = serde_json::from_str(&line).map_err(|error| DataError::io(&self.path)(error.into()))?;
            file.write(&row)?;
            line.clear();
        }
        file.finish()
    }
}
