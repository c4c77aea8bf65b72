//! What can go wrong with a store, and what a person can do about it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::store::FORMAT;
use crate::{Digest, Imported};

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store was written by a program with another format.
    #[error("the store {} has the format `{found}`, and this program reads format {FORMAT}: {}", path.display(), remedy(found))]
    Format { path: PathBuf, found: String },
    /// The store's place is taken by something that is no folder.
    #[error("{}: the store's place is not a folder: remove it, or choose another store with --store DIR", path.display())]
    NoFolder { path: PathBuf },
    /// The store may not be read or written.
    #[error("{}: no permission: make the store readable and writable (chmod -R u+rwX), or choose another with --store DIR", path.display())]
    Denied { path: PathBuf },
    /// The store lies on a file system that is mounted read-only.
    #[error("{}: the file system is read-only: mount it writable, or choose another store with --store DIR", path.display())]
    ReadOnly { path: PathBuf },
    /// There is no space left where the store lies.
    #[error("{}: the disk (or your quota) is full: free some space, or choose another store with --store DIR", path.display())]
    Full { path: PathBuf },
    /// Stored bytes are gone or are not what their name says; the action that made them has to run again.
    #[error("blob {digest} is {fault}: what was made from it has to be made again")]
    Damaged { digest: Digest, fault: Fault },
    /// A symbolic link that cannot be kept.
    #[error("{}: the link to `{}` {why}: put the file itself there, or a relative link inside the folder", path.display(), target.display())]
    Link { path: PathBuf, target: PathBuf, why: &'static str },
    /// A pipe, a socket or a device.
    #[error("{}: neither a file nor a folder nor a link, and cannot be stored", path.display())]
    Special { path: PathBuf },
    /// A name that is not UTF-8.
    #[error("{}: the name is not valid UTF-8: rename it", path.display())]
    Name { path: PathBuf },
    /// A file that did not hold still while it was hashed.
    #[error("{}: it changed while it was read: wait until nothing writes to it", path.display())]
    Changed { path: PathBuf },
    /// The folder to restore into has something in it.
    #[error("{}: the folder is not empty: name another, or empty it", path.display())]
    Occupied { path: PathBuf },
    /// Nothing is known of an action.
    #[error("there is no receipt of the action {key}: it has not been run with this store, or was forgotten")]
    NoReceipt { key: Digest },
    /// What is pinned is not removed.
    #[error("the action {key} is pinned as {}: unpin it first", quoted(names))]
    Pinned { key: Digest, names: Vec<String> },
    /// A pin that cannot be read, so that nobody knows what it keeps.
    #[error("{}: this pin cannot be read: remove the file, and pin again what it was to keep", path.display())]
    Pin { path: PathBuf },
    /// A bundle that is not whole.
    #[error("the bundle is not whole: {why}; {} receipts were taken from it: get it anew for the others", imported.receipts.len())]
    Bundle { why: String, imported: Imported },
    /// No run has this name.
    #[error("there is no run `{name}` in {}{hint}", path.display())]
    NoRun { path: PathBuf, name: String, hint: String },
    /// A remote that cannot be used as it is configured, or does not do what it was asked for.
    #[error("the remote {url}: {why}: {remedy}")]
    Remote { url: String, why: String, remedy: &'static str },
    /// A key or a principal's name that is none.
    #[error("{what}: {why}")]
    Trust { what: String, why: String },
    /// A value that has no JSON form, such as a map whose keys are no texts.
    #[error("{what} cannot be written as JSON: {source}")]
    Encode { what: &'static str, source: serde_json::Error },
    /// Anything else that the operating system said.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// How a blob is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// Its bytes are not those that its name promises; it has been moved to `damaged/`.
    Altered,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Missing => "missing",
            Fault::Altered => "damaged",
        })
    }
}

impl StoreError {
    /// Whether the store as a whole cannot be used (format, permissions, full), so that nothing is worth trying.
    pub fn is_unusable(&self) -> bool {
        use StoreError::{Denied, Format, Full, NoFolder, ReadOnly};
        matches!(self, Format { .. } | NoFolder { .. } | Denied { .. } | ReadOnly { .. } | Full { .. })
    }

    /// Whether stored bytes are lost, so that the receipts over them are misses from now on.
    pub fn is_damage(&self) -> bool {
        matches!(self, StoreError::Damaged { .. })
    }

    /// An error at a path of the store itself, such as a file in the folder of a run.
    pub fn within(path: &Path, source: io::Error) -> StoreError {
        let path = path.to_path_buf();
        match source.kind() {
            ErrorKind::PermissionDenied => StoreError::Denied { path },
            ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { path },
            _ => StoreError::Io { path, source },
        }
    }

    /// An error at a path of the user's.
    pub(crate) fn outside(path: &Path, source: io::Error) -> StoreError {
        StoreError::Io { path: path.to_path_buf(), source }
    }
}

/// [`StoreError::within`] or [`StoreError::outside`]: whose path it is decides what an error means.
pub(crate) type Blame = fn(&Path, io::Error) -> StoreError;

/// `map_err(within(path))`
pub(crate) fn within(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |source| StoreError::within(path, source)
}

/// `map_err(outside(path))`
pub(crate) fn outside(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |source| StoreError::outside(path, source)
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What to do about a store of format `found`.
fn remedy(found: &str) -> &'static str {
    match found.parse::<u32>() {
        Ok(version) if version > FORMAT => {
            "use the newer gazal-pipe that wrote it, or choose another store with --store DIR"
        }
        Ok(_) => "it is older and cannot be migrated: remove the folder, or choose another store with --store DIR",
        Err(_) => "it is no store of gazal-pipe: choose another folder with --store DIR",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operating_system_s_refusals_make_the_store_unusable() {
        for (code, text) in [(13, "permission"), (1, "permission"), (28, "full"), (122, "quota"), (30, "read-only")] {
            let error = StoreError::within(Path::new("/s/blobs"), io::Error::from_raw_os_error(code));
            assert!(error.is_unusable(), "{code}");
            let message = error.to_string();
            assert!(message.contains("/s/blobs") && message.contains(text) && message.contains("--store"), "{message}");
        }
    }

    #[test]
    fn the_user_s_own_files_do_not() {
        let error = StoreError::outside(Path::new("/u/notes"), io::Error::from_raw_os_error(13));
        assert!(!error.is_unusable());
        assert!(error.to_string().contains("/u/notes"));
    }
}
