//! Blobs: immutable bytes under their digest.
//!
//! A blob is read-only and bears [`MARK`] as its time of modification from before it is named. A write through any of
//! its names (views link to blobs) takes the mark away, and [`Store::intact`] then hashes instead of trusting.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::disk::Writer;
use crate::durable::Draft;
use crate::error::{Blame, outside, within};
use crate::hash::{self, CopyError};
use crate::publication::Unsynced;
use crate::{Digest, Fault, Store, StoreError, disk, folder};

/// Seconds after 1970 that say "these are the bytes that were hashed".
const MARK: u64 = 1_000_000_000;

/// Whether the metadata are those of a whole, untouched blob of `size` bytes.
pub(crate) fn is_marked(metadata: &Metadata, size: u64) -> bool {
    let mark = i64::try_from(MARK).unwrap_or_default();
    metadata.is_file() && metadata.len() == size && metadata.mtime() == mark && metadata.mtime_nsec() == 0
}

/// Makes a written file read-only, marked and durable.
pub(crate) fn seal(file: &Writer, mode: u32) -> io::Result<()> {
    finish(file, mode)?;
    file.sync()
}

/// Makes a written file read-only and marked.
fn finish(file: &Writer, mode: u32) -> io::Result<()> {
    file.set_mode(mode)?;
    set_mark(file.file())
}

fn set_mark(file: &File) -> io::Result<()> {
    disk::set_modified(file, UNIX_EPOCH + Duration::from_secs(MARK))
}

impl Store {
    /// Stores a file's bytes. They are hashed before they are copied, so that what is there already costs no writing.
    /// The digest is that of the bytes that were copied, whatever happens to the file meanwhile.
    pub(crate) fn put_file(&self, source: &Path, unsynced: &mut Unsynced) -> Result<(Digest, u64), StoreError> {
        let (digest, size) = File::open(source).and_then(|file| hash::digest_file(&file)).map_err(outside(source))?;
        self.hold_file(&digest)?;
        if unsynced.has(&digest) {
            return Ok((digest, size));
        }
        if self.intact(&digest, size)? {
            self.note_file(&digest, unsynced)?;
            return Ok((digest, size));
        }
        let recipe = self.parts_of(source, &digest, size)?;
        if let Some(recipe) = &recipe {
            // Its tensors may be in a file that came just before.
            unsynced.name()?;
            if self.put_split(source, (&digest, recipe), unsynced)? {
                return Ok((digest, size));
            }
        }
        let stored = self.copy_in(source, unsynced)?;
        match recipe {
            Some(recipe) if stored == (digest, size) => self.write_recipe(&digest, &recipe)?,
            _ => {}
        }
        Ok(stored)
    }

    /// What makes a stored file durable.
    fn note_file(&self, digest: &Digest, unsynced: &mut Unsynced) -> Result<(), StoreError> {
        match self.split(digest)? {
            Some(recipe) => recipe.parts.iter().for_each(|(part, _)| unsynced.note(&self.blob_path(part))),
            None => unsynced.note(&self.blob_path(digest)),
        }
        Ok(())
    }

    /// Copies a file into a blob.
    fn copy_in(&self, source: &Path, unsynced: &mut Unsynced) -> Result<(Digest, u64), StoreError> {
        let file = File::open(source).map_err(outside(source))?;
        let mut draft = self.draft()?;
        let (digest, size) = hash::copy_file(&file, Some(&mut draft.file)).map_err(|error| match error {
            CopyError::Read(error) => StoreError::outside(source, error),
            CopyError::Write(error) => StoreError::within(draft.path(), error),
        })?;
        self.publish_blob(draft, &digest, unsynced)?;
        Ok((digest, size))
    }

    pub(crate) fn put_bytes(&self, bytes: &[u8], unsynced: &mut Unsynced) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        self.hold(&[digest])?;
        if unsynced.has(&digest) {
            return Ok(digest);
        }
        if self.intact(&digest, bytes.len() as u64)? {
            unsynced.note(&self.blob_path(&digest));
            return Ok(digest);
        }
        self.publish_blob(self.draft_of(bytes)?, &digest, unsynced)?;
        Ok(digest)
    }

    /// Hands over a written blob; it has its name when that is settled, or before.
    pub(crate) fn publish_blob(
        &self,
        draft: Draft,
        digest: &Digest,
        unsynced: &mut Unsynced,
    ) -> Result<(), StoreError> {
        // A file that changed while it was read has another digest than the one that is held.
        self.hold(&[*digest])?;
        finish(&draft.file, 0o444).map_err(within(draft.path()))?;
        unsynced.add(draft, digest, self.blob_path(digest))
    }

    /// Whether the blob is there and whole: by its metadata where it has its mark, else by its bytes. One that is not
    /// whole is moved away.
    pub(crate) fn intact(&self, digest: &Digest, size: u64) -> Result<bool, StoreError> {
        absorb_damage(self.expect_blob(digest, size))
    }

    /// Like [`Store::intact`], with an error for a blob that is not.
    pub(crate) fn expect_blob(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        match self.expect_whole(digest, size) {
            Err(StoreError::Damaged { fault: Fault::Missing, .. }) => self.expect_split(digest, size),
            other => other,
        }
    }

    /// Like [`Store::expect_blob`], of what is one blob and no recipe.
    pub(crate) fn expect_whole(&self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if is_marked(&metadata, size) => Ok(()),
            Ok(_) => self.check_blob(digest),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(StoreError::Damaged { digest: *digest, fault: Fault::Missing })
            }
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    /// Hashes the blob: an error, and the blob moved away, if it is damaged. Gives it its mark if it has lost it.
    pub(crate) fn check_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        let read = |file: &File| hash::copy_file(file, None);
        let Some(file) = self.read_whole(digest, read, &path, StoreError::within)? else {
            return self.stream_split(digest, &mut io::sink(), &path, StoreError::within);
        };
        let metadata = file.metadata().map_err(within(&path))?;
        if !is_marked(&metadata, metadata.len()) {
            // Without the right to set times the blob is hashed each time, which is slow but right.
            let _ = set_mark(&file);
        }
        Ok(())
    }

    /// The blob's bytes, verified.
    pub(crate) fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.stream_blob(digest, &mut bytes, &self.blob_path(digest), StoreError::within)?;
        Ok(bytes)
    }

    /// Copies the blob to `sink` and verifies it on the way: after an error, what the sink got is worth nothing.
    /// `place` and `blame` name the sink where writing to it fails.
    pub(crate) fn stream_blob(
        &self,
        digest: &Digest,
        sink: &mut impl Write,
        place: &Path,
        blame: Blame,
    ) -> Result<(), StoreError> {
        match self.stream_whole(digest, sink, place, blame)? {
            Some(_) => Ok(()),
            None => self.stream_split(digest, sink, place, blame),
        }
    }

    /// Like [`Store::stream_blob`], to an empty file.
    pub(crate) fn copy_blob(
        &self,
        digest: &Digest,
        sink: &mut Writer,
        place: &Path,
        blame: Blame,
    ) -> Result<(), StoreError> {
        let copy = |file: &File| hash::copy_file(file, Some(sink));
        match self.read_whole(digest, copy, place, blame)? {
            Some(_) => Ok(()),
            None => self.stream_split(digest, sink, place, blame),
        }
    }

    /// Like [`Store::stream_blob`], of what is one blob; `None` where there is none.
    pub(crate) fn stream_whole(
        &self,
        digest: &Digest,
        sink: &mut impl Write,
        place: &Path,
        blame: Blame,
    ) -> Result<Option<File>, StoreError> {
        let copy = |mut file: &File| {
            let size = file.metadata().map_err(CopyError::Read)?.len();
            hash::copy(&mut file, sink, size)
        };
        self.read_whole(digest, copy, place, blame)
    }

    /// Verifies what `copy` has read of a blob.
    fn read_whole(
        &self,
        digest: &Digest,
        copy: impl FnOnce(&File) -> Result<(Digest, u64), CopyError>,
        place: &Path,
        blame: Blame,
    ) -> Result<Option<File>, StoreError> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(within(&path))?,
        };
        match copy(&file) {
            Ok((found, _)) if found == *digest => Ok(Some(file)),
            Err(CopyError::Write(error)) => Err(blame(place, error)),
            Ok(_) | Err(CopyError::Read(_)) => {
                self.quarantine(digest, &file)?;
                Err(StoreError::Damaged { digest: *digest, fault: Fault::Altered })
            }
        }
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.sharded("blobs", digest)
    }

    /// Moves a damaged blob away, unless another process has put a better one in its place meanwhile. It loses its
    /// mark first, under all its names, so that the views that link to it are damaged too.
    fn quarantine(&self, digest: &Digest, damaged: &File) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        disk::set_modified(damaged, SystemTime::now()).map_err(within(&path))?;
        let held = damaged.metadata().map_err(within(&path))?;
        match fs::symlink_metadata(&path) {
            Ok(named) if folder::same_file(&held, &named) => {
                disk::rename(&path, &self.folder("damaged").join(digest.hex())).map_err(within(&path))
            }
            _ => Ok(()),
        }
    }
}

/// `Ok(false)` for damage; other errors stay errors.
pub(crate) fn absorb_damage(result: Result<(), StoreError>) -> Result<bool, StoreError> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error),
    }
}
