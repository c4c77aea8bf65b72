//! Folders: made durable, listed, removed, measured.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::disk;

/// Makes the folder that `path` is to lie in.
pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), disk::make_folders)
}

/// The paths in `folder`, sorted; none where there is no folder.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

/// Removes a folder and all in it, read-only folders too; it may be gone already.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match disk::remove_tree(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(folder)?;
            disk::remove_tree(folder)
        }
        other => other,
    }
}

/// Makes `folder` and all folders in it writable for their owner.
fn open_up(folder: &Path) -> io::Result<()> {
    chmod(folder, 0o755)?;
    for path in list(folder)? {
        if fs::symlink_metadata(&path)?.is_dir() {
            open_up(&path)?;
        }
    }
    Ok(())
}

pub(crate) fn chmod(path: &Path, mode: u32) -> io::Result<()> {
    disk::set_mode(path, mode)
}

/// Calls `each` with every file and link below `folder`; what vanishes meanwhile is passed over.
pub(crate) fn each_file(folder: &Path, each: &mut dyn FnMut(&Path, &fs::Metadata)) -> io::Result<()> {
    for path in list(folder)? {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => each_file(&path, each)?,
            Ok(metadata) => each(&path, &metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether two looks found the same file.
pub(crate) fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}
