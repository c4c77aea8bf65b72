//! Writing so that a crash leaves either nothing or the whole: under a passing name first, named last.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::disk::Writer;
use crate::error::within;
use crate::publication::{Wait, folders_of, sync};
use crate::{Store, StoreError, disk, folder};

/// A file that is being written under `tmp/`; it goes away unless it gets its name.
pub(crate) struct Draft {
    pub file: Writer,
    path: PathBuf,
}

impl Draft {
    pub(crate) fn create(path: PathBuf) -> io::Result<Draft> {
        let file = Writer::create(&path)?;
        Ok(Draft { file, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file the name `place` unless that is taken, which is no error: whoever was first, the bytes under a
    /// digest are the same. A file system without hard links renames, which is as good for equal bytes.
    pub(crate) fn name(self, place: &Path) -> io::Result<()> {
        match disk::link(&self.path, place) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                disk::rename(&self.path, place)
            }
            other => other,
        }
    }

    /// Gives the file the name `place`, in the place of what had it.
    pub(crate) fn replace(self, place: &Path) -> io::Result<()> {
        disk::rename(&self.path, place)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = disk::remove_file(&self.path);
    }
}

/// Whether a write has to outlive a loss of power.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Durable {
    Yes,
    /// For what is checked when it is read and can be made again.
    No,
}

impl Store {
    /// Writes `bytes` as the file `place`, whole or not at all, in the place of what was there.
    pub(crate) fn write(&self, place: &Path, bytes: &[u8], durable: Durable) -> Result<(), StoreError> {
        let draft = self.draft_of(bytes)?;
        match durable {
            Durable::Yes => {
                sync(&[Wait::Draft(&draft)])?;
                self.name_durably(draft, place)
            }
            Durable::No => folder::make_parent(place).and_then(|()| draft.replace(place)).map_err(within(place)),
        }
    }

    /// A file with these bytes that has no name as yet.
    pub(crate) fn draft_of(&self, bytes: &[u8]) -> Result<Draft, StoreError> {
        let mut draft = self.draft()?;
        draft.file.write_all(bytes).map_err(within(draft.path()))?;
        Ok(draft)
    }

    /// Gives a synced draft its name, in the place of what had it, and makes that durable. The folder may be new as
    /// well, made by whoever.
    pub(crate) fn name_durably(&self, draft: Draft, place: &Path) -> Result<(), StoreError> {
        folder::make_parent(place).and_then(|()| draft.replace(place)).map_err(within(place))?;
        sync(&folders_of(place).map(Wait::Folder).collect::<Vec<_>>())
    }
}
