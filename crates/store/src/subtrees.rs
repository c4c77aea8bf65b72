//! Hashing a large file with all cores, each of which reads what it hashes.
//!
//! One buffer that is filled by a thread and hashed by all of them goes from cache to cache, and nobody hashes while it
//! is filled. Here each thread reads a leaf of [`LEAF`] bytes into memory of its own, by its place in the file, and hashes
//! it while it is still in that core's cache.
//!
//! Why that is the same digest: BLAKE3 is a tree. The left subtree of an input holds the largest power of two of chunks
//! (1 KiB) that leaves something for the right one, and the value of a subtree depends on its bytes and on where in the
//! input it begins, not on what else there is. So subtrees can be hashed in any order if each is told its place
//! (`set_input_offset`), and are joined two by two as the tree says; only the last join says that it is the root. The
//! length has to be known for this, since it decides how the tree is cut: a file that turns out to have another one is
//! given back unhashed. (`blake3::hazmat` is called so since this is easily done wrong.)
//!
//! Above [`WINDOW`] the left subtree is done before the right one begins: threads that read at places far from each
//! other would have the disk go to and fro between them.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};

use crate::Digest;
use crate::disk::Writer;
use crate::hash::CopyError;

/// What a thread reads and hashes at a time, in bytes: a power of two. Less costs system calls, more does not fit
/// into a core's cache.
const LEAF: u64 = 1 << 17;

/// Subtrees above this size in bytes are done one after the other.
const WINDOW: u64 = 1 << 24;

/// Smaller files are not worth waking the threads for.
pub(crate) const WORTH_WHILE: u64 = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Hashes the first `length` bytes of `source`, and copies them to the same places of `sink` if there is one.
/// `None` for a file that is shorter or longer than that; then what is in the sink is worth nothing.
pub(crate) fn copy(source: &File, sink: Option<&Writer>, length: u64) -> Result<Option<Digest>, CopyError> {
    Job { source, sink, leaf: LEAF, window: WINDOW }.run(length)
}

#[derive(Clone, Copy)]
struct Job<'a> {
    source: &'a File,
    sink: Option<&'a Writer>,
    leaf: u64,
    window: u64,
}

impl Job<'_> {
    fn run(self, length: u64) -> Result<Option<Digest>, CopyError> {
        if length <= self.leaf {
            return Ok(None);
        }
        match self.halves(0, length) {
            Ok((left, right)) if self.ends_at(length).map_err(CopyError::Read)? => {
                Ok(Some(Digest::from(merge_subtrees_root(&left, &right, Mode::Hash))))
            }
            Err(CopyError::Read(error)) if error.kind() != ErrorKind::UnexpectedEof => Err(CopyError::Read(error)),
            Err(CopyError::Write(error)) => Err(CopyError::Write(error)),
            Ok(_) | Err(CopyError::Read(_)) => Ok(None),
        }
    }

    /// The subtree of `length` bytes that begins at `start`.
    fn subtree(self, start: u64, length: u64) -> Result<ChainingValue, CopyError> {
        if length <= self.leaf {
            return self.hash(start, usize::try_from(length).unwrap_or_default());
        }
        let (left, right) = self.halves(start, length)?;
        Ok(merge_subtrees_non_root(&left, &right, Mode::Hash))
    }

    fn halves(self, start: u64, length: u64) -> Result<(ChainingValue, ChainingValue), CopyError> {
        let middle = left_subtree_len(length);
        let left = || self.subtree(start, middle);
        let right = || self.subtree(start + middle, length - middle);
        if length > self.window {
            return Ok((left()?, right()?));
        }
        let (left, right) = rayon::join(left, right);
        Ok((left?, right?))
    }

    fn hash(self, start: u64, length: usize) -> Result<ChainingValue, CopyError> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(buffer.len().max(length), 0);
            let bytes = &mut buffer[..length];
            self.source.read_exact_at(bytes, start).map_err(CopyError::Read)?;
            if let Some(sink) = self.sink {
                sink.write_all_at(bytes, start).map_err(CopyError::Write)?;
            }
            Ok(Hasher::new().set_input_offset(start).update(bytes).finalize_non_root())
        })
    }

    /// Whether nothing lies behind the bytes that were hashed.
    fn ends_at(self, length: u64) -> io::Result<bool> {
        loop {
            match self.source.read_at(&mut [0], length) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map(|read| read == 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::Write;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Bytes of which no two chunks are equal.
    fn bytes(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Hasher::new().update(b"subtrees").finalize_xof().fill(&mut bytes);
        bytes
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// Copies with small leaves and windows, so that small files have deep trees.
    fn assert_right(length: usize, leaf: u64, window: u64) {
        let (bytes, dir) = (bytes(length), tempfile::tempdir().unwrap());
        let sink = Writer::create(&dir.path().join("sink")).unwrap();
        let (source, expected) = (file(&bytes), Digest::of(&bytes));
        let job = |sink| Job { source: &source, sink, leaf, window };
        let all = length as u64;
        if all <= leaf {
            assert_eq!(job(None).run(all).ok().unwrap(), None, "{length} is no tree of leaves of {leaf}");
            return;
        }
        assert_eq!(job(None).run(all).ok().unwrap(), Some(expected), "{length} in leaves of {leaf}");
        assert_eq!(job(Some(&sink)).run(all).ok().unwrap(), Some(expected));
        let mut copied = vec![0; length + 1];
        assert_eq!(sink.file().read_at(&mut copied, 0).unwrap(), length);
        assert!(copied[..length] == bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_length_gives_what_one_hasher_gives(
            length in 0_usize..200_000, leaf in 10_u32..15, window in 0_u32..20,
        ) {
            assert_right(length, 1 << leaf, 1 << window);
        }

        #[test]
        fn so_do_lengths_around_the_ends_of_chunks_and_subtrees(
            power in 10_u32..18, count in 1_usize..4, off in 0_usize..5, leaf in 10_u32..15,
        ) {
            assert_right((count << power) + off - 2, 1 << leaf, 1 << 14);
        }
    }

    #[test]
    fn so_do_whole_leaves_and_windows() {
        for length in [LEAF + 1, WORTH_WHILE, 3 * LEAF - 1, WINDOW, WINDOW + 1, WINDOW + LEAF] {
            assert_right(usize::try_from(length).unwrap(), LEAF, WINDOW);
        }
    }

    #[test]
    fn a_file_of_another_length_is_given_back() {
        let source = file(&bytes(10_000));
        let run = |length| Job { source: &source, sink: None, leaf: 1024, window: 1 << 20 }.run(length).ok().unwrap();
        assert!(run(10_000).is_some());
        for length in [1025, 8192, 9_999, 10_001, 16_384, 1 << 16] {
            assert_eq!(run(length), None, "{length}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_written_is_said() {
        let (source, folder) = (file(&bytes(10_000)), tempfile::tempdir().unwrap());
        let job = Job { source: &source, sink: None, leaf: 1024, window: 1 << 20 };
        let full = Writer::append(Path::new("/dev/full")).unwrap();
        assert!(matches!(Job { sink: Some(&full), ..job }.run(10_000), Err(CopyError::Write(_))));
        let folder = File::open(folder.path()).unwrap();
        assert!(matches!(Job { source: &folder, ..job }.run(10_000), Err(CopyError::Read(_))));
    }
}
