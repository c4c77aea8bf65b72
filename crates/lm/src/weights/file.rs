//! A safetensors file that is open, and the tensors in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use half::{bf16, f16};
use safetensors::Dtype;

use super::header;
use crate::LmError;

/// Numbers that are converted at once.
const CHUNK: usize = 4 * 1024;

/// An open file and how long it was then.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    size: u64,
}

/// A tensor in a file.
#[derive(Clone, Debug)]
pub struct Entry {
    source: Arc<Source>,
    dtype: Dtype,
    pub shape: Vec<usize>,
    /// Where its bytes begin in the file.
    start: u64,
    bytes: usize,
    kept: OnceLock<Vec<f32>>,
}

/// A type that tensors have in memory.
pub trait Number: bytemuck::Pod {
    const DTYPE: Dtype;
}

impl Number for f32 {
    const DTYPE: Dtype = Dtype::F32;
}

impl Number for bf16 {
    const DTYPE: Dtype = Dtype::BF16;
}

impl Number for f16 {
    const DTYPE: Dtype = Dtype::F16;
}

impl Source {
    /// # Errors
    /// Naming what cannot be opened or is no file.
    pub fn open(path: &Path) -> Result<Source, LmError> {
        let file = File::open(path).map_err(LmError::io(path))?;
        let metadata = file.metadata().map_err(LmError::io(path))?;
        match metadata.is_file() {
            true => Ok(Source { path: path.to_path_buf(), file, size: metadata.len() }),
            false => Err(LmError::file(path, "is no file")),
        }
    }

    /// The tensors by name.
    ///
    /// # Errors
    /// Naming file and tensor where the header is wrong.
    pub fn entries(self: &Arc<Source>) -> Result<Vec<(String, Entry)>, LmError> {
        let path = &self.path;
        let mut first = [0; header::LENGTH as usize];
        self.file.read_exact_at(&mut first, 0).map_err(|_| LmError::file(path, "has no header: it is cut short"))?;
        let length = header::length(path, first, self.size)?;
        let mut json = vec![0; length as usize];
        self.file.read_exact_at(&mut json, header::LENGTH).map_err(LmError::io(path))?;
        let data = header::LENGTH + length;
        let entry = |(name, info): (String, safetensors::tensor::TensorInfo)| {
            let (start, end) = info.data_offsets;
            let (start, bytes) = (data + start as u64, end - start);
            (
                name,
                Entry {
                    source: self.clone(),
                    dtype: info.dtype,
                    shape: info.shape,
                    start,
                    bytes,
                    kept: OnceLock::new(),
                },
            )
        };
        Ok(header::parse(path, &json, self.size - data)?.into_iter().map(entry).collect())
    }
}

impl Entry {
    pub fn error(&self, name: &str, message: impl std::fmt::Display) -> LmError {
        LmError::tensor(&self.source.path, name, message)
    }

    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// The numbers, read once and kept.
    pub fn kept(&self, name: &str) -> Result<&[f32], LmError> {
        if let Some(values) = self.kept.get() {
            return Ok(values);
        }
        let values = self.read(name, |value| value)?;
        Ok(self.kept.get_or_init(|| values))
    }

    /// The numbers as they are in the file if they are of that type there, else by way of float32.
    pub fn read<T: Number>(&self, name: &str, convert: impl Fn(f32) -> T) -> Result<Vec<T>, LmError> {
        let failed = |error: std::io::Error| self.error(name, format!("cannot be read: {error}"));
        if self.dtype == T::DTYPE {
            let mut values = vec![T::zeroed(); self.bytes / size_of::<T>()];
            let bytes = bytemuck::cast_slice_mut(&mut values);
            self.source.file.read_exact_at(bytes, self.start).map_err(failed)?;
            return Ok(values);
        }
        let count = self.bytes / self.width(name)?;
        let mut values = Vec::with_capacity(count);
        let mut buffer = [0.0; CHUNK];
        for start in (0..count).step_by(CHUNK) {
            let part = &mut buffer[..CHUNK.min(count - start)];
            self.read_at(name, start, part)?;
            values.extend(part.iter().map(|&value| convert(value)));
        }
        Ok(values)
    }

    /// The numbers from the `start`th on, as many as there is room for.
    pub fn read_at(&self, name: &str, start: usize, into: &mut [f32]) -> Result<(), LmError> {
        let failed = |error: std::io::Error| self.error(name, format!("cannot be read: {error}"));
        let width = self.width(name)?;
        let (count, end) = (self.bytes / width, start + into.len());
        if end > count {
            return Err(self.error(name, format!("has {count} numbers, and {start} to {end} are to be read")));
        }
        let place = |at: usize| self.start + (at * width) as u64;
        if self.dtype == Dtype::F32 {
            return self.source.file.read_exact_at(bytemuck::cast_slice_mut(into), place(start)).map_err(failed);
        }
        let mut buffer = [0; CHUNK * LARGEST];
        for (at, part) in into.chunks_mut(CHUNK).enumerate() {
            let bytes = &mut buffer[..part.len() * width];
            self.source.file.read_exact_at(bytes, place(start + at * CHUNK)).map_err(failed)?;
            widen(self.dtype, bytes, part);
        }
        Ok(())
    }

    fn width(&self, name: &str) -> Result<usize, LmError> {
        width(self.dtype).ok_or_else(|| self.error(name, format!("has type {}, which is not supported", self.dtype)))
    }
}

/// Bytes of a number at most.
const LARGEST: usize = 8;

/// Bytes of a number of a type that can be read.
fn width(dtype: Dtype) -> Option<usize> {
    match dtype {
        Dtype::F32 | Dtype::I32 => Some(4),
        Dtype::BF16 | Dtype::F16 => Some(2),
        Dtype::F64 | Dtype::I64 => Some(8),
        _ => None,
    }
}

fn widen(dtype: Dtype, bytes: &[u8], into: &mut [f32]) {
    match dtype {
        Dtype::BF16 => each(bytes, into, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F16 => each(bytes, into, |b| f16::from_le_bytes(b).to_f32()),
        Dtype::F32 => each(bytes, into, f32::from_le_bytes),
        Dtype::I32 => each(bytes, into, |b| i32::from_le_bytes(b) as f32),
        Dtype::F64 => each(bytes, into, |b| f64::from_le_bytes(b) as f32),
        Dtype::I64 => each(bytes, into, |b| i64::from_le_bytes(b) as f32),
        _ => {}
    }
}

fn each<const N: usize>(bytes: &[u8], into: &mut [f32], widen: impl Fn([u8; N]) -> f32) {
    bytes.as_chunks::<N>().0.iter().zip(into).for_each(|(&bytes, number)| *number = widen(bytes));
}
