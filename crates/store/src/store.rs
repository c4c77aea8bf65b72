//! Opening a store, and where its parts lie.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Writer;
use crate::error::within;
use crate::hits::HitIndex;
use crate::scratch::Session;
use crate::stat_cache::StatCache;
use crate::{Digest, Remote, StoreError, disk, folder};

/// The format of the store on disk; raised when what lies there can no longer be read by older programs.
pub(crate) const FORMAT: u32 = 1;

/// What the file `format` says before the number.
const NAME: &str = "gazal-store ";

const FOLDERS: [&str; 12] =
    ["blobs", "damaged", "deep", "locks", "memo", "pins", "receipts", "recipes", "runs", "tmp", "views", "wip"];

/// A store; clones share it, and threads and processes may use it side by side.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
    pub(crate) remote: Option<Remote>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    session: Mutex<Option<Session>>,
    stats: Mutex<Option<StatCache>>,
    hits: Mutex<Option<HitIndex>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(hits) = self.hits.get_mut().unwrap_or_else(PoisonError::into_inner) {
            hits.flush(&self.root);
        }
    }
}

impl Store {
    /// Opens the store at `root`, and makes one where there is none. An existing store is only read by this.
    ///
    /// # Errors
    /// Those for which [`StoreError::is_unusable`] is true: another format, no folder, no permission, no space.
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        let root = std::path::absolute(root).map_err(within(root))?;
        let format = root.join("format");
        match fs::read(&format) {
            Ok(text) => check_format(&root, &String::from_utf8_lossy(&text))?,
            Err(error) if error.kind() == ErrorKind::NotFound => initialise(&root)?,
            Err(error) => return Err(misplaced(&format, &root, error)),
        }
        if FOLDERS.iter().any(|name| !root.join(name).is_dir()) {
            initialise(&root)?;
        }
        let (session, stats, hits) = (Mutex::new(None), Mutex::new(None), Mutex::new(None));
        Ok(Store { inner: Arc::new(Inner { root, session, stats, hits }), remote: None })
    }

    /// The store's folder, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The folder of an action's checkpoints, created; what an earlier attempt left is in it.
    pub fn wip(&self, key: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.folder("wip").join(key.hex());
        disk::make_folders(&path).map_err(within(&path))?;
        Ok(path)
    }

    /// Removes the checkpoints of an action.
    pub fn clear_wip(&self, key: &Digest) -> Result<(), StoreError> {
        let path = self.folder("wip").join(key.hex());
        folder::remove(&path).map_err(within(&path))
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.inner.root.join(name)
    }

    /// `<folder>/<first byte>/<all digits>`: a folder for each first byte, so that none grows too long.
    pub(crate) fn sharded(&self, name: &str, digest: &Digest) -> PathBuf {
        let hex = blake3::Hash::from_bytes(*digest.as_bytes()).to_hex();
        let mut path = PathBuf::with_capacity(self.inner.root.as_os_str().len() + name.len() + 70);
        path.extend([self.root(), Path::new(name), Path::new(&hex[..2]), Path::new(hex.as_str())]);
        path
    }

    pub(crate) fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.inner.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hits(&self) -> MutexGuard<'_, Option<HitIndex>> {
        self.inner.hits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, Option<StatCache>> {
        self.inner.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses what another version wrote.
fn check_format(root: &Path, text: &str) -> Result<(), StoreError> {
    let line = text.lines().next().unwrap_or_default().trim();
    match line.strip_prefix(NAME) {
        Some(version) if version.parse() == Ok(FORMAT) => Ok(()),
        found => {
            let found = found.unwrap_or(line).chars().take(40).collect();
            Err(StoreError::Format { path: root.to_path_buf(), found })
        }
    }
}

/// Makes all folders, and the file `format` last: where it lies, the folders are durable. May be repeated.
fn initialise(root: &Path) -> Result<(), StoreError> {
    let new = root.ancestors().take_while(|path| !path.is_dir()).count();
    disk::make_folders(root).map_err(|error| misplaced(root, root, error))?;
    for name in FOLDERS {
        let path = root.join(name);
        disk::make_folders(&path).map_err(within(&path))?;
    }
    let (tmp, format) = (root.join("tmp"), root.join("format"));
    let session = Session::begin(&tmp).map_err(within(&tmp))?;
    let draft = session.fresh();
    let text = format!("{NAME}{FORMAT}\n");
    Writer::create(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync()))
        .map_err(within(&draft))?;
    disk::rename(&draft, &format).map_err(within(&format))?;
    disk::sync_folder(root).map_err(within(root))?;
    // The folder's own name has to last too, and those of the folders that were made for it.
    root.ancestors().skip(1).take(new).try_for_each(|path| match disk::sync_folder(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(within(path)),
    })
}

/// Tells a store's place that is no folder from other errors.
fn misplaced(path: &Path, root: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => StoreError::NoFolder { path: root.to_path_buf() },
        _ => StoreError::within(path, error),
    }
}
