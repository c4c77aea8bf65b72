//! What is remembered of rows: a few numbers of each in memory, and records of equal lengths in a temporary file, for
//! rows that are looked at again.

use std::fs::File;
use std::io::Error;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::DataError;

/// Records by their index, in a file without a name as soon as there are more than a few.
pub struct Records {
    folder: PathBuf,
    length: usize,
    file: Option<File>,
    /// Bytes in the file.
    written: u64,
    /// Those after them.
    waiting: Vec<u8>,
}

/// Bytes that wait to be written, about; as many are read together.
const BLOCK: usize = 1 << 18;

impl Records {
    /// Of so many bytes each, in the folder for temporary files.
    pub fn new(length: usize) -> Records {
        Records { folder: std::env::temp_dir(), length, file: None, written: 0, waiting: Vec::new() }
    }

    /// Where the file will be made.
    pub fn set_folder(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// Adds a record that consists of these parts.
    pub fn push(&mut self, parts: [&[u8]; 2]) -> Result<(), DataError> {
        parts.iter().for_each(|part| self.waiting.extend_from_slice(part));
        if self.waiting.len() < BLOCK { Ok(()) } else { self.write().map_err(|error| self.error(error)) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile_in(&self.folder)?,
        };
        file.write_all_at(&self.waiting, self.written)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        self.file = Some(file);
        Ok(())
    }

    /// Puts a record that is there into a buffer of its length.
    pub fn read(&self, index: u32, into: &mut [u8]) -> Result<(), DataError> {
        self.read_at(u64::from(index) * self.length as u64, into).map_err(|error| self.error(error))
    }

    fn read_at(&self, start: u64, into: &mut [u8]) -> Result<(), Error> {
        match &self.file {
            Some(file) if start < self.written => file.read_exact_at(into, start),
            _ => {
                let start = (start - self.written) as usize;
                into.copy_from_slice(&self.waiting[start..start + into.len()]);
                Ok(())
            }
        }
    }

    /// All records in order, many at a time, each time with the index of the first.
    pub fn each(&self, mut block: impl FnMut(u32, &[u8])) -> Result<(), DataError> {
        let mut bytes = vec![0; BLOCK / self.length * self.length];
        let mut start = 0;
        while start < self.written {
            let part = bytes.len().min((self.written - start) as usize);
            self.read_at(start, &mut bytes[..part]).map_err(|error| self.error(error))?;
            block((start / self.length as u64) as u32, &bytes[..part]);
            start += part as u64;
        }
        block((start / self.length as u64) as u32, &self.waiting);
        Ok(())
    }

    fn error(&self, error: Error) -> DataError {
        DataError::io(&self.folder)(error)
    }
}

/// So many numbers of each row in memory, by its index.
pub struct Numbers<T> {
    width: usize,
    /// In chunks, so that growing copies none.
    chunks: Vec<Vec<T>>,
    rows: usize,
}

/// Rows of a chunk.
const CHUNK: usize = 4096;

impl<T: Copy> Numbers<T> {
    pub fn new(width: usize) -> Numbers<T> {
        Numbers { width, chunks: Vec::new(), rows: 0 }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn push(&mut self, numbers: impl Iterator<Item = T>) {
        if self.rows.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK * self.width));
        }
        self.rows += 1;
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.extend(numbers);
        }
    }

    pub fn get(&self, index: u32) -> &[T] {
        let index = index as usize;
        &self.chunks[index / CHUNK][index % CHUNK * self.width..][..self.width]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn records_are_the_same_in_memory_and_in_the_file() {
        let mut records = Records::new(12);
        let record = |index: u32| [index.to_le_bytes(), (!index).to_le_bytes(), [7; 4]].concat();
        for index in 0..60_000 {
            let record = record(index);
            records.push(record.split_at(5).into()).unwrap();
        }
        assert!(records.written > 2 * BLOCK as u64 && !records.waiting.is_empty());
        let mut found = [0; 12];
        for index in (0..60_000).step_by(7).chain([59_999]) {
            records.read(index, &mut found).unwrap();
            assert_eq!(found, record(index)[..]);
        }
        let mut next = 0;
        records
            .each(|first, block| {
                assert_eq!(first, next);
                for found in block.chunks(12) {
                    assert_eq!(found, record(next));
                    next += 1;
                }
            })
            .unwrap();
        assert_eq!(next, 60_000);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let mut records = Records::new(BLOCK);
        records.set_folder(PathBuf::from("none/such"));
        assert!(records.push([&vec![0; BLOCK], &[]]).unwrap_err().to_string().contains("none/such"));
    }
}
