//! Safetensors files whose tensors come one after the other, in any order.
//!
//! The header is written first, from names and shapes, in the order of the `safetensors` crate (by name): the same
//! tensors are the same bytes, whatever order they come in. Files get their names when they are complete.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use tempfile::NamedTempFile;

use super::{Precision, header, index, shards};
use crate::LmError;

/// Numbers that are converted at once.
const CHUNK: usize = 64 * 1024;

/// A tensor that is to come: name and shape.
pub type Planned = (String, Vec<usize>);

/// One file that is being written.
#[derive(Debug)]
pub struct FileWriter {
    path: PathBuf,
    file: NamedTempFile,
    precision: Precision,
    /// Where tensors that are still to come begin, and how many numbers they have.
    places: BTreeMap<String, (u64, usize)>,
}

impl FileWriter {
    /// Begins the file `path` with these tensors.
    ///
    /// # Errors
    /// When a name is there twice or the file cannot be made.
    pub fn create(path: &Path, plan: &[Planned], precision: Precision) -> Result<FileWriter, LmError> {
        let mut plan = plan.to_vec();
        plan.sort();
        if let Some(pair) = plan.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LmError::tensor(path, &pair[0].0, "is there twice"));
        }
        let (mut infos, mut counts, mut end) = (Vec::with_capacity(plan.len()), Vec::with_capacity(plan.len()), 0);
        for (name, shape) in plan {
            let count: usize = shape.iter().product();
            let start = end;
            end += count * precision.size();
            counts.push((name.clone(), (start as u64, count)));
            infos.push((name, TensorInfo { dtype: dtype(precision), shape, data_offsets: (start, end) }));
        }
        let head = header::render(path, infos)?;
        let place = |(name, (start, count))| (name, (head.len() as u64 + start, count));
        let places = counts.into_iter().map(place).collect();
        let file = temporary(path, &head, end as u64).map_err(LmError::io(path))?;
        Ok(FileWriter { path: path.to_path_buf(), file, precision, places })
    }

    /// Writes one tensor's numbers, row-major.
    ///
    /// # Errors
    /// When it is not planned, came already, or has another size.
    pub fn write(&mut self, name: &str, values: &[f32]) -> Result<(), LmError> {
        let place = self.place(name)?;
        if values.len() != place.count {
            let message = format!("has {} numbers, expected {}", values.len(), place.count);
            return Err(LmError::tensor(&self.path, name, message));
        }
        place.write(0, values)
    }

    /// Where one tensor's numbers go that come in parts.
    ///
    /// # Errors
    /// When it is not planned or came already.
    pub fn place(&mut self, name: &str) -> Result<Place<'_>, LmError> {
        let place = self.places.remove(name);
        let (start, count) = place.ok_or_else(|| LmError::tensor(&self.path, name, "is not to be written"))?;
        Ok(Place { file: self, start, count })
    }

    fn put(&self, start: u64, values: &[f32]) -> std::io::Result<()> {
        let file = self.file.as_file();
        if self.precision == Precision::F32 {
            return file.write_all_at(bytemuck::cast_slice(values), start);
        }
        let mut buffer: Vec<u16> = Vec::with_capacity(CHUNK.min(values.len()));
        for (index, chunk) in values.chunks(CHUNK).enumerate() {
            buffer.clear();
            match self.precision {
                Precision::Bf16 => buffer.extend(chunk.iter().map(|&value| bf16::from_f32(value).to_bits())),
                _ => buffer.extend(chunk.iter().map(|&value| f16::from_f32(value).to_bits())),
            }
            file.write_all_at(bytemuck::cast_slice(&buffer), start + (index * CHUNK * size_of::<u16>()) as u64)?;
        }
        Ok(())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When a tensor did not come.
    pub fn finish(self) -> Result<(), LmError> {
        if let Some(name) = self.places.keys().next() {
            return Err(LmError::tensor(&self.path, name, "was not written"));
        }
        self.file.persist(&self.path).map(drop).map_err(|error| LmError::io(&self.path)(error.error))
    }
}

/// Where one tensor's numbers go, in parts of any order and from several threads; that all of them come is the caller's
/// part.
#[derive(Debug)]
pub struct Place<'a> {
    file: &'a FileWriter,
    start: u64,
    count: usize,
}

impl Place<'_> {
    /// Writes the numbers from the `from`th on.
    ///
    /// # Errors
    /// When there are more than the tensor has, or the file cannot be written.
    pub fn write(&self, from: usize, values: &[f32]) -> Result<(), LmError> {
        let (path, end) = (&self.file.path, from + values.len());
        if end > self.count {
            return Err(LmError::file(path, format!("numbers {from} to {end} of a tensor of {}", self.count)));
        }
        let start = self.start + (from * self.file.precision.size()) as u64;
        self.file.put(start, values).map_err(LmError::io(path))
    }
}

fn dtype(precision: Precision) -> Dtype {
    match precision {
        Precision::F32 => Dtype::F32,
        Precision::Bf16 => Dtype::BF16,
        Precision::F16 => Dtype::F16,
    }
}

/// A file beside `path` of the whole size, with its first bytes; it goes if it never gets a name.
fn temporary(path: &Path, head: &[u8], data: u64) -> std::io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    let file = builder.prefix(".tensors").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    file.as_file().set_len(head.len() as u64 + data)?;
    file.as_file().write_all_at(head, 0)?;
    Ok(file)
}

/// A model that is being written: `model.safetensors`, or shards and their index.
#[derive(Debug)]
pub struct ModelWriter {
    folder: PathBuf,
    files: Vec<FileWriter>,
    /// Tensor to place in `files`.
    shards: BTreeMap<String, usize>,
    parameters: usize,
    size: u64,
}

impl ModelWriter {
    /// Begins a model of these tensors in `folder`, no file of which is larger than `max_shard_size` bytes unless one
    /// tensor is.
    ///
    /// # Errors
    /// When a name is there twice or a file cannot be made.
    pub fn create(
        folder: &Path,
        plan: &[Planned],
        precision: Precision,
        max_shard_size: u64,
    ) -> Result<ModelWriter, LmError> {
        let counts: Vec<usize> = plan.iter().map(|(_, shape)| shape.iter().product()).collect();
        let sizes: Vec<u64> = counts.iter().map(|count| (count * precision.size()) as u64).collect();
        let groups = shards::split(&sizes, max_shard_size);
        let (mut files, mut places) = (Vec::with_capacity(groups.len()), BTreeMap::new());
        for (shard, group) in groups.iter().enumerate() {
            let path = folder.join(shards::name(shard, groups.len()));
            for &tensor in group {
                let name = &plan[tensor].0;
                if places.insert(name.clone(), shard).is_some() {
                    return Err(LmError::tensor(&path, name, "is there twice"));
                }
            }
            let plan: Vec<Planned> = group.iter().map(|&tensor| plan[tensor].clone()).collect();
            files.push(FileWriter::create(&path, &plan, precision)?);
        }
        let (parameters, size) = (counts.iter().sum(), sizes.iter().sum());
        Ok(ModelWriter { folder: folder.to_path_buf(), files, shards: places, parameters, size })
    }

    /// Writes one tensor's numbers, row-major.
    ///
    /// # Errors
    /// When it is not planned, came already, or has another size.
    pub fn write(&mut self, name: &str, values: &[f32]) -> Result<(), LmError> {
        let shard = self.shards.get(name).copied().unwrap_or_default();
        self.files[shard].write(name, values)
    }

    /// Where one tensor's numbers go that come in parts.
    ///
    /// # Errors
    /// When it is not planned or came already.
    pub fn place(&mut self, name: &str) -> Result<Place<'_>, LmError> {
        let shard = self.shards.get(name).copied().unwrap_or_default();
        self.files[shard].place(name)
    }

    /// Gives the files their names, and writes the index if there are several.
    ///
    /// # Errors
    /// When a tensor did not come or a file cannot be written.
    pub fn finish(self) -> Result<(), LmError> {
        let ModelWriter { folder, files, shards: places, parameters, size } = self;
        let count = files.len();
        for file in files {
            file.finish()?;
        }
        let path = folder.join(index::FILE);
        if count > 1 {
            let map = places.into_iter().map(|(name, shard)| (name, shards::name(shard, count))).collect();
            return fs::write(&path, index::render(&map, parameters, size)).map_err(LmError::io(&path));
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LmError::io(&path)(error)),
            _ => Ok(()),
        }
    }
}
