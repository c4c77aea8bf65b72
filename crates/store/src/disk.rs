//! The disk: every change that the store makes there, one function each. Nothing else in this crate creates, writes,
//! syncs, names or removes anything, which `.clippy.toml` beside the sources sees to.
//!
//! So each of them is a **fail point** of this crate's tests: `GAZAL_FAIL_AT=7` in the environment makes the seventh
//! change of the process its last, or, with `GAZAL_FAIL_HOW`, one that fails with this error of the operating system
//! (`28`: no space, `5`: a broken disk). A write is done by half before. In other builds there is nothing of this.
#![allow(clippy::disallowed_methods, reason = "here they are allowed")]

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

/// A file that is written.
#[derive(Debug)]
pub(crate) struct Writer(File);

impl Writer {
    /// A file that is not there yet.
    pub(crate) fn create(path: &Path) -> io::Result<Writer> {
        point::pass()?;
        OpenOptions::new().read(true).write(true).create_new(true).open(path).map(Writer)
    }

    /// The end of a file, made if it is not there.
    pub(crate) fn append(path: &Path) -> io::Result<Writer> {
        point::pass()?;
        OpenOptions::new().append(true).create(true).open(path).map(Writer)
    }

    /// For what changes nothing.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    pub(crate) fn into_file(self) -> File {
        self.0
    }

    pub(crate) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        point::write(bytes, |bytes| self.0.write_all_at(bytes, at))
    }

    /// Takes back all that was written.
    pub(crate) fn empty(&self) -> io::Result<()> {
        point::pass()?;
        self.0.set_len(0)
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        point::pass()?;
        self.0.set_permissions(Permissions::from_mode(mode))
    }

    /// Makes its bytes durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        point::pass()?;
        self.0.sync_all()
    }

    /// Shares the bytes of another file until one of the two is written.
    pub(crate) fn clone_from(&self, other: &File) -> io::Result<()> {
        point::pass()?;
        reflink_copy::reflink_file(other, &self.0)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all(&self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    point::write(bytes, |bytes| file.write_all(bytes))
}

pub(crate) fn set_modified(file: &File, time: SystemTime) -> io::Result<()> {
    point::pass()?;
    file.set_modified(time)
}

/// Adds to a file, which is made if it is not there.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Writer::append(path)?.write_all(bytes)
}

/// A file that is there, to be locked.
pub(crate) fn open_to_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// A file to be locked, made if it is not there.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    if !path.exists() {
        point::pass()?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    point::pass()?;
    File::open(path)?.sync_all()
}

pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    point::pass()?;
    fs::create_dir(path)
}

/// The same, with all folders above it; it may be there.
pub(crate) fn make_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    point::pass()?;
    fs::create_dir_all(path)
}

pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    point::pass()?;
    fs::hard_link(from, to)
}

pub(crate) fn symlink(target: &str, path: &Path) -> io::Result<()> {
    point::pass()?;
    std::os::unix::fs::symlink(target, path)
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    point::pass()?;
    fs::rename(from, to)
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    point::pass()?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    point::pass()?;
    fs::remove_file(path)
}

/// Removes an empty folder.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    point::pass()?;
    fs::remove_dir(path)
}

/// Removes a folder and all in it.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    point::pass()?;
    fs::remove_dir_all(path)
}

#[cfg(not(test))]
mod point {
    use std::io;

    #[inline(always)]
    pub(super) fn pass() -> io::Result<()> {
        Ok(())
    }

    #[inline(always)]
    pub(super) fn write(bytes: &[u8], write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        write(bytes)
    }
}

#[cfg(test)]
pub(crate) mod point {
    use std::env;
    use std::io;
    use std::process::abort;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    pub(crate) const AT: &str = "GAZAL_FAIL_AT";
    pub(crate) const HOW: &str = "GAZAL_FAIL_HOW";

    /// Which change, and the error that it gives; without one it is the last.
    static PLAN: LazyLock<Option<(u64, Option<i32>)>> = LazyLock::new(|| {
        let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
        Some((number(AT)?, number(HOW).and_then(|errno| i32::try_from(errno).ok())))
    });

    static PASSED: AtomicU64 = AtomicU64::new(0);

    /// So many changes were made, or begun.
    pub(crate) fn passed() -> u64 {
        PASSED.load(Ordering::Relaxed)
    }

    pub(super) fn pass() -> io::Result<()> {
        write(&[], |_| Ok(()))
    }

    pub(super) fn write(bytes: &[u8], write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let count = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        match *PLAN {
            Some((at, how)) if at == count => {
                write(&bytes[..bytes.len() / 2])?;
                how.map_or_else(|| abort(), |errno| Err(io::Error::from_raw_os_error(errno)))
            }
            _ => write(bytes),
        }
    }
}
