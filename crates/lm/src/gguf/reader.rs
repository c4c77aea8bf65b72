//! A file that is read from front to back, never past its end and never into more memory than it is long.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::LmError;

/// Reads the fields of a file; messages name the one that is being read.
pub struct Reader {
    path: PathBuf,
    inner: BufReader<File>,
    at: u64,
    size: u64,
    /// What is being read, for messages.
    pub what: String,
}

impl Reader {
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<Reader, LmError> {
        let file = File::open(path).map_err(LmError::io(path))?;
        let metadata = file.metadata().map_err(LmError::io(path))?;
        if !metadata.is_file() {
            return Err(LmError::file(path, "is no file"));
        }
        let inner = BufReader::new(file);
        Ok(Reader { path: path.to_path_buf(), inner, at: 0, size: metadata.len(), what: "the header".into() })
    }

    /// Where the next byte lies.
    pub fn at(&self) -> u64 {
        self.at
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn into_file(self) -> File {
        self.inner.into_inner()
    }

    /// An error about what is being read.
    pub fn error(&self, message: impl std::fmt::Display) -> LmError {
        LmError::file(&self.path, format!("{}: {message}", self.what))
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// When the file ends before.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], LmError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub fn u32(&mut self) -> Result<u32, LmError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    pub fn u64(&mut self) -> Result<u64, LmError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    /// A text with its length in front.
    ///
    /// # Errors
    /// When the file ends before it, or it is no UTF-8.
    pub fn text(&mut self) -> Result<String, LmError> {
        let length = self.u64()?;
        if length > self.size - self.at {
            return Err(self.error(format!("a text of {length} bytes does not fit into the file")));
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.error("a text is not UTF-8"))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LmError> {
        if bytes.len() as u64 > self.size - self.at {
            return Err(self.error("the file is cut short"));
        }
        self.inner.read_exact(bytes).map_err(|error| self.error(error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
