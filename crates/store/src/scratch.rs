//! `tmp/`: files and folders on the store's file system that live no longer than their process.
//!
//! Each open store has a folder `tmp/<session>/` and holds the lock `tmp/<session>.lock`. Whoever begins a session
//! removes the folders whose lock is free: their owners are dead. So a killed process leaves nothing to repair. The
//! lock's file also says what the session relies on; see `holds.rs`.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::disk::Writer;
use crate::durable::Draft;
use crate::error::within;
use crate::holds::{is_lock, may_remove};
use crate::lock::{Lock, still_named};
use crate::{Digest, Store, StoreError, disk, folder};

/// A fresh folder under `tmp/`, removed when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Keeps the session, and with it the folder, alive.
    _store: Store,
}

impl Scratch {
    /// The folder, empty at first.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = folder::remove(&self.path);
    }
}

/// The part of `tmp/` that belongs to one open store.
#[derive(Debug)]
pub(crate) struct Session {
    folder: PathBuf,
    lock_path: PathBuf,
    next: AtomicU64,
    lock: Lock,
}

impl Session {
    pub(crate) fn begin(tmp: &Path) -> io::Result<Session> {
        sweep(tmp)?;
        loop {
            if let Some(session) = Session::claim(tmp)? {
                disk::make_folder(&session.folder)?;
                return Ok(session);
            }
        }
    }

    /// Takes a name nobody has; `None` if a sweep took the new lock for that of a dead owner, or the name is taken.
    fn claim(tmp: &Path) -> io::Result<Option<Session>> {
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let folder = tmp.join(format!("{}-{moment}", std::process::id()));
        let lock_path = folder.with_extension("lock");
        let file = match Writer::create(&lock_path).map(Writer::into_file) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            other => other?,
        };
        let lock = Lock::wait(file)?;
        Ok(still_named(&lock.file, &lock_path).then(|| Session { folder, lock_path, next: AtomicU64::new(0), lock }))
    }

    /// Writes down that these are relied on; see `holds.rs`.
    pub(crate) fn note(&self, digests: &[Digest]) -> io::Result<()> {
        let bytes: Vec<u8> = digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        disk::write_all(&self.lock.file, &bytes)
    }

    /// A path in the session's folder that has not been used yet.
    pub(crate) fn fresh(&self) -> PathBuf {
        self.folder.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Session {
    /// The folder first: it must not outlive its lock.
    fn drop(&mut self) {
        let Some(tmp) = self.lock_path.parent() else { return };
        if folder::remove(&self.folder).is_ok()
            && let Ok(Some(_may)) = may_remove(tmp)
        {
            let _ = disk::remove_file(&self.lock_path);
        }
    }
}

/// Removes what dead sessions left, all but their holds while a collection needs them.
fn sweep(tmp: &Path) -> io::Result<()> {
    let may_remove = may_remove(tmp)?;
    for lock_path in folder::list(tmp)?.into_iter().filter(|path| is_lock(path)) {
        let Ok(file) = disk::open_to_lock(&lock_path) else { continue };
        if let Some(_lock) = Lock::attempt(file)? {
            let removed = folder::remove(&lock_path.with_extension(""));
            if removed.is_ok() && may_remove.is_some() {
                let _ = disk::remove_file(&lock_path);
            }
        }
    }
    Ok(())
}

impl Store {
    /// An empty folder on the store's file system, for the outputs of a stage; it goes with its guard, or, if the
    /// process is killed, with the next one that writes to the store.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        let path = self.fresh()?;
        disk::make_folder(&path).map_err(within(&path))?;
        Ok(Scratch { path, _store: self.clone() })
    }

    pub(crate) fn draft(&self) -> Result<Draft, StoreError> {
        let path = self.fresh()?;
        Draft::create(path.clone()).map_err(within(&path))
    }

    /// A new path under `tmp/`; the session begins with the first, so that reading a store writes nothing.
    pub(crate) fn fresh(&self) -> Result<PathBuf, StoreError> {
        self.with_session(|session| Ok(session.fresh()))
    }

    /// Begins the session if there is none.
    pub(crate) fn with_session<T>(&self, act: impl FnOnce(&Session) -> io::Result<T>) -> Result<T, StoreError> {
        let (mut session, tmp) = (self.session(), self.folder("tmp"));
        let session = match session.take() {
            Some(begun) => session.insert(begun),
            None => session.insert(Session::begin(&tmp).map_err(within(&tmp))?),
        };
        act(session).map_err(within(&tmp))
    }
}
