//! What an artifact *means*, as opposed to its bytes: keys are made of content digests, so that an upstream that
//! comes out the same stops the wave.
//!
//! A dataset is its rows: two files with equal rows are equal, however their JSON is spaced or ordered, and whether they
//! are JSON Lines or Parquet ([`gazal_data::parquet`] says what the rows of a Parquet file are). Every other type is its
//! bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
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
    files.sort_by_cached_key(|name| (rows_name(name), name.clone()));
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    for name in files {
        let path = dir.join(&name);
        add(&mut hasher, rows_name(&name).to_string_lossy().as_bytes());
        let rows = match form(&name) {
            Form::Lines => line_digest(&path)?,
            Form::Columns => column_digest(&path)?,
            Form::Other => byte_digest(&path)?,
        };
        add(&mut hasher, rows.as_bytes());
    }
    Ok(Some(Digest::from(hasher.finalize())))
}

/// What a file of a data set consists of, by its name.
#[derive(PartialEq)]
enum Form {
    Lines,
    Columns,
    Other,
}

fn form(name: &Path) -> Form {
    match name.extension() {
        Some(extension) if extension == "jsonl" => Form::Lines,
        _ if gazal_data::rows::is_parquet(name) => Form::Columns,
        _ => Form::Other,
    }
}

/// A file of rows is called the same in each form.
fn rows_name(name: &Path) -> PathBuf {
    if form(name) == Form::Columns { name.with_extension("jsonl") } else { name.to_path_buf() }
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

fn line_digest(path: &Path) -> io::Result<blake3::Hash> {
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

fn column_digest(path: &Path) -> io::Result<blake3::Hash> {
    let damaged = |error| io::Error::new(ErrorKind::InvalidData, error);
    let mut hasher = blake3::Hasher::new();
    for row in gazal_data::parquet::read(path).map_err(damaged)? {
        add(&mut hasher, canonical_json(&Value::Object(row.map_err(damaged)?)).as_bytes());
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
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn digest(files: &[(&str, &str)]) -> Option<Digest> {
        let bytes: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        digest_of(&bytes).unwrap()
    }

    fn digest_of(files: &[(&str, &[u8])]) -> io::Result<Option<Digest>> {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        content_digest(PortType::Dataset, dir.path())
    }

    /// A Parquet file with the columns `id` and `text`, so many rows a group.
    fn columns(ids: &[i64], texts: &[Option<&str>], per_group: usize, compression: Compression) -> Vec<u8> {
        let schema = "message rows { required int64 id; optional binary text (STRING); }";
        let properties = WriterProperties::builder().set_compression(compression).build();
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        for (ids, texts) in ids.chunks(per_group).zip(texts.chunks(per_group)) {
            let mut group = file.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(ids, None, None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<ByteArray> = texts.iter().flatten().map(|text| ByteArray::from(*text)).collect();
            let levels: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        file.into_inner().unwrap()
    }

    #[test]
    fn rows_are_the_same_in_parquet_and_in_json_lines() {
        let text =
            r#"{"id":1,"text":"a"}"#.to_string() + "\n" + r#"{"text":null,"id":2}"# + "\n" + r#"{"id":3,"text":"é"}"#;
        let (ids, texts) = ([1, 2, 3], [Some("a"), None, Some("é")]);
        let lines = digest(&[("train.jsonl", &text), ("readme.md", "x")]);
        let zstd = Compression::ZSTD(Default::default());
        for (per_group, compression) in [(3, Compression::UNCOMPRESSED), (1, Compression::SNAPPY), (2, zstd)] {
            let bytes = columns(&ids, &texts, per_group, compression);
            assert_eq!(digest_of(&[("train.parquet", &bytes), ("readme.md", b"x")]).unwrap(), lines);
        }
        let other =
            |ids, texts| digest_of(&[("train.parquet", &columns(ids, texts, 3, zstd)), ("readme.md", b"x")]).unwrap();
        assert_ne!(other(&[1, 2, 4], &texts), lines, "a cell");
        assert_ne!(other(&[2, 1, 3], &[None, Some("a"), Some("é")]), lines, "the order of rows");
        assert_ne!(
            digest(&[("train.jsonl", &text.replace(r#""text":null,"#, "")), ("readme.md", "x")]),
            lines,
            "no key"
        );
        let (one, two) = (columns(&[1], &[None], 1, zstd), columns(&[2], &[None], 1, zstd));
        let both =
            |lines: &str, columns: &[u8]| digest_of(&[("a.jsonl", lines.as_bytes()), ("a.parquet", columns)]).unwrap();
        let (one_line, two_line) = (r#"{"id":1,"text":null}"#, r#"{"id":2,"text":null}"#);
        assert_ne!(both(one_line, &two), both(two_line, &one), "which of two files has which rows");
    }

    #[test]
    fn a_damaged_parquet_file_is_named() {
        let whole = columns(&[1, 2], &[Some("a"), None], 2, Compression::SNAPPY);
        for bytes in [&whole[..whole.len() - 9], &whole[..20], b"PAR1"] {
            let error = digest_of(&[("train.parquet", bytes)]).unwrap_err();
            assert!(error.to_string().contains("train.parquet"), "{error}");
        }
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
