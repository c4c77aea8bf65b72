//! Where the tensors of a safetensors file lie: eight bytes of header length, a JSON header, data.
//! <https://github.com/huggingface/safetensors#format>
//!
//! Only the offsets matter here. Tensors that do not follow each other without a gap are no error: what lies between
//! them is a part like any other. Whatever cannot be understood is a file like any other.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The limit that the format's own library has.
const LONGEST_HEADER: u64 = 100_000_000;

/// The data of a tensor, in bytes from the end of the header.
#[derive(Deserialize)]
struct Span {
    data_offsets: (u64, u64),
}

/// Whether a file of this name is a safetensors file, by its name.
pub(crate) fn is_named(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "safetensors")
}

/// The lengths of the parts of which a file of `size` bytes consists, in order: the header, the tensors, and what lies
/// between and behind them. `None` for what is no safetensors file.
pub(crate) fn parts(file: &mut File, size: u64) -> io::Result<Option<Vec<u64>>> {
    let mut length = [0; 8];
    if size < 8 {
        return Ok(None);
    }
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER.min(size - 8) {
        return Ok(None);
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    Ok(spans(&header).and_then(|spans| cut(&spans, 8 + length, size)))
}

/// The tensors in the order of their data; empty ones have none.
fn spans(header: &[u8]) -> Option<Vec<(u64, u64)>> {
    let entries: BTreeMap<String, &RawValue> = serde_json::from_slice(header).ok()?;
    let tensors = entries.iter().filter(|(name, _)| *name != "__metadata__");
    let span =
        |(_, text): (&String, &&RawValue)| serde_json::from_str::<Span>(text.get()).ok().map(|span| span.data_offsets);
    let mut spans: Vec<(u64, u64)> = tensors.map(span).collect::<Option<_>>()?;
    spans.retain(|(start, end)| start != end);
    spans.sort_unstable();
    Some(spans)
}

/// Cuts the file at the borders of its tensors; `None` where they overlap or lead out of it.
fn cut(spans: &[(u64, u64)], header: u64, size: u64) -> Option<Vec<u64>> {
    let (mut parts, mut at) = (vec![header], header);
    for (start, end) in spans {
        let (start, end) = (header.checked_add(*start)?, header.checked_add(*end)?);
        if start < at || end < start || end > size {
            return None;
        }
        parts.extend([start - at, end - start]);
        at = end;
    }
    parts.push(size - at);
    parts.retain(|&length| length > 0);
    Some(parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::Write;

    use super::*;

    fn lengths(header: &str, data: usize) -> Option<Vec<u64>> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![7; data]);
        read(&bytes)
    }

    fn read(bytes: &[u8]) -> Option<Vec<u64>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(bytes).unwrap();
        parts(&mut File::open(file.path()).unwrap(), bytes.len() as u64).unwrap()
    }

    fn tensor(name: &str, start: u64, end: u64) -> String {
        format!(r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{start},{end}]}}"#)
    }

    #[test]
    fn a_file_is_cut_at_its_tensors_whatever_the_header_s_order() {
        let header =
            format!("{{{},{},\"__metadata__\":{{\"format\":\"pt\"}}}}  ", tensor("b", 4, 10), tensor("a", 0, 4));
        let head = 8 + header.len() as u64;
        assert_eq!(lengths(&header, 10).unwrap(), [head, 4, 6]);
        assert_eq!(lengths(&header, 13).unwrap(), [head, 4, 6, 3], "bytes behind the last");
        let gap = format!("{{{},{},{}}}", tensor("a", 1, 4), tensor("e", 4, 4), tensor("b", 6, 7));
        assert_eq!(lengths(&gap, 7).unwrap(), [8 + gap.len() as u64, 1, 3, 2, 1], "gaps");
        assert_eq!(lengths("{}", 0).unwrap(), [10]);
    }

    #[test]
    fn what_is_no_safetensors_file_is_none() {
        for (header, data) in [
            ("[]".to_string(), 0),
            ("{".to_string(), 0),
            ("{\"a\":1}".to_string(), 9),
            (format!("{{{}}}", tensor("a", 0, 10)), 9),
            (format!("{{{}}}", tensor("a", 5, 4)), 9),
            (format!("{{{},{}}}", tensor("a", 0, 5), tensor("b", 4, 9)), 9),
            (format!("{{{}}}", tensor("a", 0, u64::MAX)), 9),
        ] {
            assert!(lengths(&header, data).is_none(), "{header}");
        }
        assert!(read(b"").is_none() && read(b"short").is_none() && read(&[255; 40]).is_none());
    }
}
