//! What an artifact *means*, as opposed to its bytes: keys are made of content digests, so that an upstream that
//! comes out the same stops the wave.
//!
//! A dataset is its rows: two files with equal rows are equal, however their JSON is spaced or ordered. Every
//! other type is its bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use gazal_stage_api::PortType;
use gazal_store::Digest;
use serde_json::Value;

use crate::manifest::canonical_json;

const CONTEXT: &str = "gazal-pipe 2026 dataset rows v1";

/// The content digest of the artifact in `dir`; `None` where the bytes are the content.
///
/// # Errors
/// When a file cannot be read.
pub fn content_digest(kind: PortType, dir: &Path) -> io::Result<Option<Digest>> {
    if kind != PortType::Dataset {
        return Ok(None);
    }
    let mut files = Vec::new();
    collect(dir, Path::new(""), &mut files)?;
    files.sort();
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    for name in files {
        let path = dir.join(&name);
        add(&mut hasher, name.to_string_lossy().as_bytes());
        let rows = if is_json_lines(&name) { row_digest(&path)? } else { byte_digest(&path)? };
        add(&mut hasher, rows.as_bytes());
    }
    Ok(Some(Digest::from(hasher.finalize())))
}

fn is_json_lines(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == "jsonl")
}

fn collect(root: &Path, below: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        if std::fs::metadata(entry.path())?.is_dir() {
            collect(root, &name, into)?;
        } else {
            into.push(name);
        }
    }
    Ok(())
}

fn row_digest(path: &Path) -> io::Result<blake3::Hash> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut hasher = blake3::Hasher::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = line.trim_ascii();
        if !text.is_empty() {
            match serde_json::from_slice::<Value>(text) {
                Ok(row) => add(&mut hasher, canonical_json(&row).as_bytes()),
                Err(_) => add(&mut hasher, text),
            }
        }
        line.clear();
    }
    Ok(hasher.finalize())
}

fn byte_digest(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

/// Length first, so that no two sequences of parts run together.
fn add(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn digest(files: &[(&str, &str)]) -> Option<Digest> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        content_digest(PortType::Dataset, dir.path()).unwrap()
    }

    #[test]
    fn equal_rows_are_equal_however_they_are_written() {
        let plain = digest(&[("train.jsonl", "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}\n{\"a\":2}\n")]);
        let spaced = digest(&[("train.jsonl", "{ \"b\": {\"d\": 3, \"c\": 2}, \"a\": 1 }\n\n{\"a\": 2}")]);
        assert_eq!(plain, spaced);
    }

    #[test]
    fn other_rows_order_or_names_differ() {
        let base = digest(&[("train.jsonl", "{\"a\":1}\n{\"a\":2}\n")]);
        assert_ne!(base, digest(&[("train.jsonl", "{\"a\":2}\n{\"a\":1}\n")]));
        assert_ne!(base, digest(&[("test.jsonl", "{\"a\":1}\n{\"a\":2}\n")]));
        assert_ne!(base, digest(&[("train.jsonl", "{\"a\":1}\n"), ("x.jsonl", "{\"a\":2}\n")]));
    }

    #[test]
    fn other_types_are_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(content_digest(PortType::Model, dir.path()).unwrap(), None);
    }
}
