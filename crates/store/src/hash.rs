//! Hashing as bytes stream by; large files by [`crate::subtrees`].
//!
//! Files are read, not mapped: a mapped file that somebody truncates kills the process with SIGBUS, and a disk that
//! fails does the same, where reading gives an error that can be told.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};

use crate::disk::Writer;
use crate::{Digest, subtrees};

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

impl CopyError {
    fn source(self) -> io::Error {
        match self {
            CopyError::Read(source) | CopyError::Write(source) => source,
        }
    }
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

/// Copies a file from its start to an empty one, if there is one, and returns the digest and the length of what was
/// copied. A file that changes its length meanwhile is read once more, up to where it then ends.
pub(crate) fn copy_file(mut source: &File, sink: Option<&mut Writer>) -> Result<(Digest, u64), CopyError> {
    let size = source.metadata().map_err(CopyError::Read)?.len();
    if size >= subtrees::WORTH_WHILE {
        if let Some(digest) = subtrees::copy(source, sink.as_deref(), size)? {
            return Ok((digest, size));
        }
        sink.as_ref().map_or(Ok(()), |sink| sink.empty()).map_err(CopyError::Write)?;
    }
    match sink {
        Some(sink) => copy(&mut source, sink, size),
        None => copy(&mut source, &mut io::sink(), size),
    }
}

/// The digest and the length of a file.
pub(crate) fn digest_file(file: &File) -> io::Result<(Digest, u64)> {
    copy_file(file, None).map_err(CopyError::source)
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
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    /// Of zeros, any length is right whose digest and copy are those of so many zeros.
    #[test]
    fn a_file_that_grows_and_shrinks_meanwhile_is_told_as_it_was_read() {
        let (dir, done) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
        let path = dir.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len(2 * subtrees::WORTH_WHILE).unwrap();
        let told = thread::scope(|scope| {
            scope.spawn(|| {
                for step in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    file.set_len(subtrees::WORTH_WHILE + step * 77_777 % (1 << 22)).unwrap();
                }
            });
            let copy_to = |name: usize| {
                let mut sink = Writer::create(&dir.path().join(name.to_string()))?;
                let copied = copy_file(&File::open(&path)?, Some(&mut sink)).map_err(CopyError::source);
                copied.and_then(|copied| Ok((copied, sink.file().metadata()?.len())))
            };
            let told: io::Result<Vec<_>> = (0..20).map(copy_to).collect();
            done.store(true, Ordering::Relaxed);
            told
        });
        for ((digest, size), copied) in told.unwrap() {
            assert_eq!(digest, Digest::of(vec![0; usize::try_from(size).unwrap()]));
            assert_eq!(copied, size);
        }
    }

    #[test]
    fn files_of_any_length_are_copied_from_their_start() {
        let dir = tempfile::tempdir().unwrap();
        let large = subtrees::WORTH_WHILE;
        for length in [0, 1, large - 1, large, large + 1, 3 * large + 5] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
            let (from, to) = (dir.path().join("from"), dir.path().join(format!("to {length}")));
            fs::write(&from, &bytes).unwrap();
            let copied = copy_file(&File::open(&from).unwrap(), Some(&mut Writer::create(&to).unwrap()));
            assert_eq!(copied.ok().unwrap(), (Digest::of(&bytes), length));
            assert_eq!(digest_file(&File::open(&from).unwrap()).unwrap(), (Digest::of(&bytes), length));
            assert!(fs::read(&to).unwrap() == bytes);
        }
    }

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
