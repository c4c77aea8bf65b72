//! Kernel locks: they end with their holder, however it ends, so there is never one to clean up.
//!
//! The files behind the locks of actions and views are removed by a collection, or there would be one for every action
//! that has ever run. A lock on a removed file excludes nobody; so a file is removed only by who holds its lock, and
//! whoever gets a lock looks whether its file still has its name, and else begins anew with the file that has.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::within;
use crate::{Digest, Store, StoreError, disk, folder};

/// Excludes all other holders, in this process and in others, until it is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when it is dropped"]
pub struct Lock {
    pub(crate) file: File,
}

impl Drop for Lock {
    /// Closing would do, but for a child that is between fork and exec and still holds the descriptor.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Waits for the lock on `file`.
    pub(crate) fn wait(file: File) -> io::Result<Lock> {
        loop {
            match file.lock() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other.map(|()| Lock { file }),
            }
        }
    }

    /// Waits for the lock on `file`, to be held together with others that share it.
    pub(crate) fn share(file: File) -> io::Result<Lock> {
        loop {
            match file.lock_shared() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other.map(|()| Lock { file }),
            }
        }
    }

    /// The shared lock on `file`, if nobody has it alone.
    pub(crate) fn try_share(file: File) -> io::Result<Option<Lock>> {
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Lock { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The lock on `file`, if nobody has it.
    pub(crate) fn attempt(file: File) -> io::Result<Option<Lock>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The file behind a lock.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    disk::open_lock(path)
}

/// Whether the file has this name, which another may have got meanwhile.
pub(crate) fn still_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => folder::same_file(&held, &named),
        _ => false,
    }
}

/// Removes the file behind a lock, if nobody has the lock; whether it did.
pub(crate) fn remove(path: &Path) -> io::Result<bool> {
    let file = match disk::open_to_lock(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match Lock::attempt(file)? {
        Some(lock) if still_named(&lock.file, path) => disk::remove_file(path).map(|()| true),
        _ => Ok(false),
    }
}

impl Store {
    /// The lock of an action; waits until its holder lets go. To be able to give up waiting, use [`Store::try_lock`].
    ///
    /// Hold it while looking for the receipt a second time, running, and publishing.
    pub fn lock(&self, key: &Digest) -> Result<Lock, StoreError> {
        self.lock_named(&key.hex())
    }

    /// The lock of an action, or `None` where somebody has it.
    pub fn try_lock(&self, key: &Digest) -> Result<Option<Lock>, StoreError> {
        let path = self.folder("locks").join(key.hex());
        loop {
            match open(&path).and_then(Lock::attempt).map_err(within(&path))? {
                Some(lock) if !still_named(&lock.file, &path) => {}
                taken => return Ok(taken),
            }
        }
    }

    pub(crate) fn lock_named(&self, name: &str) -> Result<Lock, StoreError> {
        let path = self.folder("locks").join(name);
        loop {
            let lock = open(&path).and_then(Lock::wait).map_err(within(&path))?;
            if still_named(&lock.file, &path) {
                return Ok(lock);
            }
        }
    }
}
