//! How a model is cut into files: as `huggingface_hub` does, in the order of the tensors.

use crate::LmError;

/// Bytes of a file at most, as transformers has it.
pub const MAX_SHARD_SIZE: u64 = 50_000_000_000;

/// A size as `max_shard_size` spells it: `5GB`, `500MB`; units are powers of ten.
///
/// # Errors
/// When it is no number with a unit.
pub fn parse_size(text: &str) -> Result<u64, LmError> {
    let wrong = || LmError::Size(text.into());
    let text = text.trim();
    let units = [("TB", 12), ("GB", 9), ("MB", 6), ("KB", 3)];
    let upper = text.to_uppercase();
    let (number, power) =
        units.iter().find_map(|&(unit, power)| Some((upper.strip_suffix(unit)?, power))).unwrap_or((upper.as_str(), 0));
    let number: u64 = number.trim_end().parse().map_err(|_| wrong())?;
    number.checked_mul(10_u64.pow(power)).filter(|&size| size > 0).ok_or_else(wrong)
}

/// Groups tensors of these sizes: a group is closed before the tensor with which it would exceed `limit`; a tensor
/// larger than that is a group of its own.
pub fn split(sizes: &[u64], limit: u64) -> Vec<Vec<usize>> {
    let (mut groups, mut open, mut size) = (Vec::new(), Vec::new(), 0);
    for (index, &bytes) in sizes.iter().enumerate() {
        if bytes > limit {
            groups.push(vec![index]);
            continue;
        }
        if size + bytes > limit {
            groups.push(std::mem::take(&mut open));
            size = 0;
        }
        open.push(index);
        size += bytes;
    }
    if !open.is_empty() || groups.is_empty() {
        groups.push(open);
    }
    groups
}

/// The name of file `index` of `count`.
pub fn name(index: usize, count: usize) -> String {
    match count {
        1 => "model.safetensors".into(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
    }
}
