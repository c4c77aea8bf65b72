//! The header of a safetensors file: eight bytes of length, then JSON that says of each tensor its type, its shape and
//! where its bytes lie. Read with every check that keeps a damaged or hostile file from being believed.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::{Map, Value};

use crate::LmError;

/// Bytes of the length in front of the header.
pub const LENGTH: u64 = 8;
/// The largest header that the format allows.
const LARGEST: u64 = 100_000_000;

/// How long the header is by the file's first bytes.
///
/// # Errors
/// When a file of `size` bytes has no such header.
pub fn length(path: &Path, first: [u8; LENGTH as usize], size: u64) -> Result<u64, LmError> {
    let length = u64::from_le_bytes(first);
    match length <= LARGEST && length <= size.saturating_sub(LENGTH) {
        true => Ok(length),
        false => Err(LmError::file(path, format!("says that its header has {length} bytes, and has {size} itself"))),
    }
}

/// The tensors that `header` lists, by where they lie in the `data` bytes that follow it.
///
/// # Errors
/// Naming the tensor whose type, shape or place cannot be.
pub fn parse(path: &Path, header: &[u8], data: u64) -> Result<Vec<(String, TensorInfo)>, LmError> {
    let fields: Map<String, Value> = serde_json::from_slice(header)
        .map_err(|error| LmError::file(path, format!("its header is no JSON object: {error}")))?;
    let mut tensors = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        if name != "__metadata__" {
            let info: TensorInfo = serde_json::from_value(value)
                .map_err(|error| LmError::tensor(path, &name, format!("has a header that is wrong: {error}")))?;
            check(&info, data).map_err(|message| LmError::tensor(path, &name, message))?;
            tensors.push((name, info));
        }
    }
    tensors.sort_by(|(left, a), (right, b)| (a.data_offsets, left).cmp(&(b.data_offsets, right)));
    check_cover(path, &tensors, data)?;
    Ok(tensors)
}

fn check(info: &TensorInfo, data: u64) -> Result<(), String> {
    let (start, end) = info.data_offsets;
    if start > end || end as u64 > data {
        return Err(format!("lies at bytes {start} to {end} of {data}: the file is cut short or damaged"));
    }
    let elements = info.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let bits = elements.and_then(|elements| elements.checked_mul(info.dtype.bitsize()));
    if bits != (end - start).checked_mul(8) {
        let (shape, dtype) = (&info.shape, info.dtype);
        return Err(format!(
            "has shape {shape:?} and type {dtype}, which are not the {} bytes that it has",
            end - start
        ));
    }
    Ok(())
}

/// Every byte belongs to one tensor.
fn check_cover(path: &Path, tensors: &[(String, TensorInfo)], data: u64) -> Result<(), LmError> {
    let mut covered = 0;
    let mut before = "the header";
    for (name, info) in tensors {
        let (start, end) = info.data_offsets;
        if start != covered {
            let message = match start < covered {
                true => format!("begins at byte {start}, within tensor `{before}`"),
                false => format!("begins at byte {start}, and `{before}` before it ends at {covered}"),
            };
            return Err(LmError::tensor(path, name, message));
        }
        (covered, before) = (end, name);
    }
    match covered as u64 == data {
        true => Ok(()),
        false => Err(LmError::file(path, format!("has {data} bytes of tensors, of which {covered} belong to one"))),
    }
}

/// Length and header of a file with these tensors, in this order. Padded, so that the data are aligned.
///
/// # Errors
/// When the header would be longer than the format allows.
pub fn render(path: &Path, tensors: Vec<(String, TensorInfo)>) -> Result<Vec<u8>, LmError> {
    let failed = |error: &dyn std::fmt::Display| LmError::file(path, error);
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let metadata = Metadata::new(Some(metadata), tensors).map_err(|error| failed(&error))?;
    let mut json = serde_json::to_vec(&metadata).map_err(|error| failed(&error))?;
    json.resize(json.len().next_multiple_of(LENGTH as usize), b' ');
    let length = json.len() as u64;
    match length <= LARGEST {
        true => Ok([length.to_le_bytes().as_slice(), &json].concat()),
        false => Err(failed(&"has more tensors than the header of a safetensors file may list")),
    }
}
