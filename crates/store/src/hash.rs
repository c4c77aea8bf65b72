//! Hashing as bytes stream by.
//!
//! Files are read, not mapped: a mapped file that somebody truncates kills the process with SIGBUS, and a disk that
//! fails does the same, where reading gives an error that can be told.

use std::io::{self, ErrorKind, Read, Write};

use crate::Digest;

/// Read at most this much at a time. Smaller buffers leave the cores waiting for each other: on two cores 1 MiB gave
/// 3.9 GB/s, 8 MiB 6.8, and a mapped file 9.0.
const BUFFER: usize = 1 << 23;

/// From here on a buffer is hashed by all cores.
const PARALLEL: usize = 1 << 18;

/// Which side of a copy failed.
pub(crate) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies `source` to `sink` and returns the digest and the number of the bytes that went by.
/// `hint` is the expected length, which sizes the buffer.
pub(crate) fn copy(source: &mut impl Read, sink: &mut impl Write, hint: u64) -> Result<(Digest, u64), CopyError> {
    let mut buffer = vec![0; usize::try_from(hint.saturating_add(1)).unwrap_or(BUFFER).clamp(512, BUFFER)];
    let (mut hasher, mut total) = (blake3::Hasher::new(), 0);
    loop {
        let length = fill(source, &mut buffer).map_err(CopyError::Read)?;
        let bytes = &buffer[..length];
        if length == 0 {
            return Ok((Digest::from(hasher.finalize()), total));
        }
        update(&mut hasher, bytes);
        sink.write_all(bytes).map_err(CopyError::Write)?;
        total += length as u64;
    }
}

/// Hashes `bytes`, on all cores where that is worth while.
pub(crate) fn update(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    match bytes.len() {
        PARALLEL.. => hasher.update_rayon(bytes),
        _ => hasher.update(bytes),
    };
}

/// The digest and the length of all that `source` gives.
pub(crate) fn digest(source: &mut impl Read, hint: u64) -> io::Result<(Digest, u64)> {
    copy(source, &mut io::sink(), hint).map_err(|error| match error {
        CopyError::Read(source) | CopyError::Write(source) => source,
    })
}

/// Reads until `buffer` is full or the source has ended.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn streamed_equals_at_once() {
        for length in [0, 1, 511, 512, 513, PARALLEL - 1, PARALLEL, BUFFER, BUFFER + 1, 3 * BUFFER + 7] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            for hint in [0, length as u64, u64::MAX] {
                let mut copied = Vec::new();
                let Ok((digest, total)) = copy(&mut bytes.as_slice(), &mut copied, hint) else { panic!("{length}") };
                assert_eq!((digest, total), (Digest::of(&bytes), length as u64));
                assert!(copied == bytes);
            }
        }
    }
}
