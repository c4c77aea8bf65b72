//! Files as bytes, decompressed where their names end in `.gz` or `.zst`.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Result};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// How the names of compressed files end.
pub(crate) const ENDINGS: [&str; 2] = [".gz", ".zst"];

/// What a file says.
pub(crate) enum Bytes {
    Plain(File),
    /// Of any number of members, as `cat a.gz b.gz` makes them.
    Gzip(Box<MultiGzDecoder<File>>),
    Zstandard(Box<zstd::Decoder<'static, BufReader<File>>>),
}

pub(crate) fn open(path: &Path) -> Result<Bytes> {
    let file = File::open(path)?;
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Bytes::Gzip(Box::new(MultiGzDecoder::new(file))),
        Some("zst") => Bytes::Zstandard(Box::new(zstd::Decoder::new(file)?)),
        _ => Bytes::Plain(file),
    })
}

/// The name of a file without the ending that says that it is compressed.
pub(crate) fn bare(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

impl Read for Bytes {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Bytes::Plain(file) => file.read(into),
            Bytes::Gzip(file) => file.read(into),
            Bytes::Zstandard(file) => file.read(into),
        }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bytes::Plain(_) => "Plain",
            Bytes::Gzip(_) => "Gzip",
            Bytes::Zstandard(_) => "Zstandard",
        })
    }
}
