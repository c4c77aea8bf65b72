//! The fields of a GGUF file, and where its tensors lie.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::blocks::Type;
use super::reader::Reader;
use crate::LmError;

/// More items than a list has that says something about a language model.
const MOST_ITEMS: u64 = 1 << 22;
/// Dimensions of a tensor at most.
const MOST_DIMENSIONS: u32 = 4;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Integer(i128),
    Float(f32),
    Truth(bool),
    Text(String),
    List(Vec<Field>),
}

/// A tensor in the file.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Outermost dimension first, as Hugging Face has it; the file has it the other way round.
    pub shape: Vec<usize>,
    pub kind: Type,
    /// Where its blocks begin in the file.
    start: u64,
    bytes: u64,
}

impl Stored {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A GGUF file that is open.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    file: File,
    fields: BTreeMap<String, Field>,
    tensors: BTreeMap<String, Stored>,
}

impl Gguf {
    /// Reads everything but the tensors' numbers.
    ///
    /// # Errors
    /// Naming the file and the field or tensor that is damaged.
    pub fn open(path: &Path) -> Result<Gguf, LmError> {
        let mut reader = Reader::open(path)?;
        if reader.bytes::<4>()? != *b"GGUF" {
            return Err(reader.error("this is no GGUF file"));
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(reader.error(format!("version {version} of GGUF is not supported: 2 and 3 are")));
        }
        let (tensors, fields) = (reader.u64()?, reader.u64()?);
        let fields = read_fields(&mut reader, fields)?;
        let alignment = alignment(&mut reader, &fields)?;
        let tensors = read_tensors(&mut reader, tensors, alignment)?;
        Ok(Gguf { path: path.to_path_buf(), file: reader.into_file(), fields, tensors })
    }

    pub fn tensors(&self) -> &BTreeMap<String, Stored> {
        &self.tensors
    }

    /// The blocks `start..` of a tensor that fill `buffer`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, name: &str, tensor: &Stored, start: u64, buffer: &mut [u8]) -> Result<(), LmError> {
        let failed = |error: std::io::Error| LmError::tensor(&self.path, name, format!("cannot be read: {error}"));
        self.file.read_exact_at(buffer, tensor.start + start).map_err(failed)
    }

    /// An error about a tensor.
    pub fn tensor_error(&self, name: &str, message: impl std::fmt::Display) -> LmError {
        LmError::tensor(&self.path, name, message)
    }

    /// An error about a field.
    pub fn wrong(&self, field: &str, message: impl std::fmt::Display) -> LmError {
        LmError::file(&self.path, format!("`{field}` {message}"))
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }

    /// A number that is not negative, if it is there.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn integer(&self, name: &str) -> Result<Option<usize>, LmError> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Field::Integer(value)) => {
                usize::try_from(*value).map(Some).map_err(|_| self.wrong(name, format!("cannot be {value}")))
            }
            Some(_) => Err(self.wrong(name, "is no integer")),
        }
    }

    /// A number that has to be there.
    ///
    /// # Errors
    /// When it is not, or is something else.
    pub fn needed(&self, name: &str) -> Result<usize, LmError> {
        self.integer(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    /// A number with a fraction, with the digits that it was made of.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn float(&self, name: &str) -> Result<Option<f64>, LmError> {
        match self.fields.get(name) {
            None => Ok(None),
            // The shortest digits of the float32 are those of the number that was meant.
            Some(Field::Float(value)) if value.is_finite() => Ok(value.to_string().parse().ok()),
            Some(Field::Integer(value)) => Ok(Some(*value as f64)),
            Some(_) => Err(self.wrong(name, "is no number")),
        }
    }

    /// # Errors
    /// When the field is something else.
    pub fn text(&self, name: &str) -> Result<Option<&str>, LmError> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Field::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "is no text")),
        }
    }

    /// # Errors
    /// When the field is something else.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, LmError> {
        match self.fields.get(name) {
            None => Ok(None),
            Some(Field::Truth(truth)) => Ok(Some(*truth)),
            Some(_) => Err(self.wrong(name, "is neither true nor false")),
        }
    }

    /// A list of texts that has to be there.
    ///
    /// # Errors
    /// When it is not, or is something else.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, LmError> {
        match self.fields.get(name) {
            None => Err(self.wrong(name, "is missing")),
            Some(Field::List(items)) => items
                .iter()
                .map(|item| match item {
                    Field::Text(text) => Ok(text.as_str()),
                    _ => Err(self.wrong(name, "is no list of texts")),
                })
                .collect(),
            Some(_) => Err(self.wrong(name, "is no list of texts")),
        }
    }
}

fn read_fields(reader: &mut Reader, count: u64) -> Result<BTreeMap<String, Field>, LmError> {
    let mut fields = BTreeMap::new();
    for number in 0..count {
        reader.what = format!("field {number}");
        let name = reader.text()?;
        reader.what = format!("`{name}`");
        let kind = reader.u32()?;
        let value = read_value(reader, kind)?;
        if fields.insert(name, value).is_some() {
            return Err(reader.error("is there twice"));
        }
    }
    Ok(fields)
}

fn read_value(reader: &mut Reader, kind: u32) -> Result<Field, LmError> {
    if kind != 9 {
        return read_item(reader, kind);
    }
    let (kind, count) = (reader.u32()?, reader.u64()?);
    if count > MOST_ITEMS {
        return Err(reader.error(format!("a list of {count} items is not to be believed")));
    }
    (0..count).map(|_| read_item(reader, kind)).collect::<Result<_, _>>().map(Field::List)
}

fn read_item(reader: &mut Reader, kind: u32) -> Result<Field, LmError> {
    Ok(match kind {
        0 => Field::Integer(reader.bytes::<1>()?[0].into()),
        1 => Field::Integer(i8::from_le_bytes(reader.bytes()?).into()),
        2 => Field::Integer(u16::from_le_bytes(reader.bytes()?).into()),
        3 => Field::Integer(i16::from_le_bytes(reader.bytes()?).into()),
        4 => Field::Integer(reader.u32()?.into()),
        5 => Field::Integer(i32::from_le_bytes(reader.bytes()?).into()),
        6 => Field::Float(f32::from_le_bytes(reader.bytes()?)),
        7 => match reader.bytes::<1>()?[0] {
            0 => Field::Truth(false),
            1 => Field::Truth(true),
            other => return Err(reader.error(format!("a truth value is {other}"))),
        },
        8 => Field::Text(reader.text()?),
        9 => return Err(reader.error("lists of lists are not supported")),
        10 => Field::Integer(reader.u64()?.into()),
        11 => Field::Integer(i64::from_le_bytes(reader.bytes()?).into()),
        12 => Field::Float(f64::from_le_bytes(reader.bytes()?) as f32),
        other => return Err(reader.error(format!("there is no type {other}"))),
    })
}

/// To how many bytes the places of tensors are aligned.
fn alignment(reader: &mut Reader, fields: &BTreeMap<String, Field>) -> Result<u64, LmError> {
    let name = "general.alignment";
    let alignment = match fields.get(name) {
        None => 32,
        Some(Field::Integer(value)) => u64::try_from(*value).unwrap_or_default(),
        Some(_) => 0,
    };
    reader.what = format!("`{name}`");
    match alignment.is_power_of_two() {
        true => Ok(alignment),
        false => Err(reader.error("is no power of two")),
    }
}

fn read_tensors(reader: &mut Reader, count: u64, alignment: u64) -> Result<BTreeMap<String, Stored>, LmError> {
    let mut tensors = BTreeMap::new();
    for number in 0..count {
        reader.what = format!("tensor {number}");
        let name = reader.text()?;
        reader.what = format!("tensor `{name}`");
        let tensor = read_tensor(reader, alignment)?;
        if tensors.insert(name, tensor).is_some() {
            return Err(reader.error("is there twice"));
        }
    }
    let data = reader.at().next_multiple_of(alignment);
    for (name, tensor) in &mut tensors {
        let end = data.checked_add(tensor.start).and_then(|start| start.checked_add(tensor.bytes));
        if end.is_none_or(|end| end > reader.size()) {
            reader.what = format!("tensor `{name}`");
            let (start, bytes, size) = (tensor.start, tensor.bytes, reader.size().saturating_sub(data));
            return Err(reader.error(format!("{bytes} bytes at {start} do not fit into the {size} of the file")));
        }
        tensor.start += data;
    }
    Ok(tensors)
}

fn read_tensor(reader: &mut Reader, alignment: u64) -> Result<Stored, LmError> {
    let count = reader.u32()?;
    if !(1..=MOST_DIMENSIONS).contains(&count) {
        return Err(reader.error(format!("has {count} dimensions")));
    }
    let mut shape = Vec::new();
    for _ in 0..count {
        let size = reader.u64()?;
        shape.push(usize::try_from(size).map_err(|_| reader.error(format!("has a dimension of {size}")))?);
    }
    let (kind, start) = (reader.u32()?, reader.u64()?);
    let kind = Type::of(kind).map_err(|message| reader.error(message))?;
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let (row, block) = (shape[0], kind.elements());
    if row % block != 0 {
        return Err(reader.error(format!("has rows of {row} numbers, which are no whole blocks of {block}")));
    }
    if start % alignment != 0 {
        return Err(reader.error(format!("begins at {start}, which is not aligned to {alignment}")));
    }
    let bytes = elements.and_then(|elements| (elements / block).checked_mul(kind.bytes()));
    let bytes = bytes.ok_or_else(|| reader.error(format!("has shape {shape:?}")))?;
    shape.reverse();
    Ok(Stored { shape, kind, start, bytes: bytes as u64 })
}
