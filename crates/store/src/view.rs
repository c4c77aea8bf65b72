//! Trees as folders again: shared and read-only (views), or a copy of the user's own (restore).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::blob::{is_marked, seal};
use crate::disk::Writer;
use crate::error::{Blame, outside, within};
use crate::tree::{Entry, Node, Tree};
use crate::walk::{Leaving, What, walk};
use crate::{Artifact, Digest, Store, StoreError, disk, folder, hash};

/// The mode of a view's folders, and of the files in it that are executable.
const READ_ONLY: u32 = 0o555;

/// Where a restore works, inside its destination; what a killed one left there is removed by the next.
const RESTORING: &str = ".gazal-restoring";

impl Store {
    /// The artifact as a read-only folder that all its readers share. It is made once, under `tmp/`, every blob
    /// verified, and renamed when it is whole; later calls look whether every file still bears its mark.
    ///
    /// Files are links to the blobs, so a view costs no space, but for executable and split files, which are written
    /// out. It stays for as long as this store is open, whatever is
    /// collected meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a lost blob; then no view exists and the artifact has to be made again.
    pub fn view(&self, artifact: &Artifact) -> Result<PathBuf, StoreError> {
        self.hold(&[artifact.bytes])?;
        let tree = self.tree(artifact)?;
        let place = self.folder("views").join(artifact.bytes.hex());
        let _lock = self.lock_named(&format!("view-{}", artifact.bytes))?;
        if stands(&place, &tree) {
            return Ok(place);
        }
        self.bring(artifact)?;
        self.hold_and_check(artifact)?;
        let draft = self.scratch()?;
        let files = |digest: &Digest, executable, path: &Path| match executable {
            true => self.copy_sealed(digest, READ_ONLY, path),
            false => self.link_blob(digest, path),
        };
        build(&tree, draft.path(), StoreError::within, &files)?;
        self.put_view(&tree, draft.path(), &place)?;
        Ok(place)
    }

    /// Copies the artifact into `dest`, which must be empty or not there. The copy is the user's own: writable, and
    /// verified as it is made, by a reflink where the file system has them; nothing unverified appears under its name.
    ///
    /// # Errors
    /// [`StoreError::Occupied`]; [`StoreError::Damaged`] for a lost blob: then `dest` is as it was.
    pub fn restore(&self, artifact: &Artifact, dest: &Path) -> Result<(), StoreError> {
        let tree = self.tree(artifact)?;
        let (existed, draft) = (dest.exists(), dest.join(RESTORING));
        disk::make_folders(dest).map_err(outside(dest))?;
        folder::remove(&draft).map_err(outside(&draft))?;
        if !folder::list(dest).map_err(outside(dest))?.is_empty() {
            return Err(StoreError::Occupied { path: dest.to_path_buf() });
        }
        let files = |digest: &Digest, executable, path: &Path| self.copy_out(digest, executable, path);
        let done = self
            .bring(artifact)
            .and_then(|()| disk::make_folder(&draft).map_err(outside(&draft)))
            .and_then(|()| build(&tree, &draft, StoreError::outside, &files))
            .and_then(|()| move_up(&draft, dest).map_err(outside(dest)));
        if done.is_err() {
            let _ = folder::remove(&draft);
            if !existed {
                let _ = disk::remove_folder(dest);
            }
        }
        done
    }

    /// Verifies the blob and gives it one more name; copies it where the file system refuses that, and where there is no
    /// such blob, but parts of which the file is made.
    fn link_blob(&self, digest: &Digest, path: &Path) -> Result<(), StoreError> {
        if self.split(digest)?.is_none() {
            self.check_blob(digest)?;
            if disk::link(&self.blob_path(digest), path).is_ok() {
                return Ok(());
            }
        }
        self.copy_sealed(digest, 0o444, path)
    }

    /// A verified copy that is as read-only as a blob.
    fn copy_sealed(&self, digest: &Digest, mode: u32, path: &Path) -> Result<(), StoreError> {
        let mut file = Writer::create(path).map_err(within(path))?;
        self.copy_blob(digest, &mut file, path, StoreError::within)?;
        seal(&file, mode).map_err(within(path))
    }

    /// A verified copy outside the store.
    fn copy_out(&self, digest: &Digest, executable: bool, path: &Path) -> Result<(), StoreError> {
        let mut file = Writer::create(path).map_err(outside(path))?;
        if !self.clone_out(digest, &file, path)? {
            self.copy_blob(digest, &mut file, path, StoreError::outside)?;
        }
        match executable {
            true => allow_execution(&file).map_err(outside(path)),
            false => Ok(()),
        }
    }

    /// Lets the empty file share the blob's bytes until one of the two is written (a reflink), and verifies what it then
    /// has. `false` where the file system cannot, or the file is no blob: then it is still empty.
    fn clone_out(&self, digest: &Digest, file: &Writer, path: &Path) -> Result<bool, StoreError> {
        let Ok(blob) = File::open(self.blob_path(digest)) else { return Ok(false) };
        if file.clone_from(&blob).is_err() {
            return Ok(false);
        }
        if hash::digest_file(file.file()).map_err(outside(path))?.0 == *digest {
            return Ok(true);
        }
        // The blob itself is damaged, unless it has been replaced meanwhile.
        self.check_blob(digest)?;
        file.empty().map_err(outside(path))?;
        Ok(false)
    }

    /// Moves a finished view to its place, and what was there away.
    fn put_view(&self, tree: &Tree, draft: &Path, place: &Path) -> Result<(), StoreError> {
        for name in folders(tree).into_iter().rev() {
            let path = draft.join(name);
            folder::chmod(&path, READ_ONLY).map_err(within(&path))?;
        }
        if fs::symlink_metadata(place).is_ok() {
            let old = self.fresh()?;
            // A folder that is not writable can be renamed within its parent only.
            let _ = folder::chmod(place, 0o755);
            disk::rename(place, &old).map_err(within(place))?;
            folder::remove(&old).map_err(within(&old))?;
        }
        disk::rename(draft, place).map_err(within(place))?;
        folder::chmod(place, READ_ONLY).map_err(within(place))
    }
}

/// Makes the tree in the empty folder `dest`; `place_file` brings the bytes. Links come last, so that nothing is ever
/// written through one.
fn build(
    tree: &Tree,
    dest: &Path,
    blame: Blame,
    place_file: &dyn Fn(&Digest, bool, &Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for name in folders(tree) {
        let path = dest.join(name);
        disk::make_folder(&path).map_err(|error| blame(&path, error))?;
    }
    for Entry { path, node } in &tree.entries {
        if let Node::File { digest, executable, .. } = node {
            place_file(digest, *executable, &dest.join(path))?;
        }
    }
    for Entry { path, node } in &tree.entries {
        if let Node::Link { target } = node {
            let path = dest.join(path);
            disk::symlink(target, &path).map_err(|error| blame(&path, error))?;
        }
    }
    Ok(())
}

/// All folders of a tree but its root, parents first.
fn folders(tree: &Tree) -> BTreeSet<&str> {
    let parents = |path| std::iter::successors(parent(path), |path| parent(path));
    let mut names: BTreeSet<&str> = tree.entries.iter().flat_map(|entry| parents(&entry.path)).collect();
    names.extend(tree.entries.iter().filter(|entry| entry.node == Node::Folder {}).map(|entry| entry.path.as_str()));
    names
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

/// Whether the view at `place` has exactly what the tree says, every file marked. Anything odd makes a new view.
fn stands(place: &Path, tree: &Tree) -> bool {
    let Ok(found) = walk(place, Leaving::Refuse) else { return false };
    found.len() == tree.entries.len()
        && found.iter().zip(&tree.entries).all(|(found, entry)| {
            found.name == entry.path
                && match (&entry.node, &found.what) {
                    (Node::File { size, executable, .. }, What::File { executable: found_executable }) => {
                        executable == found_executable
                            && fs::symlink_metadata(&found.path).is_ok_and(|metadata| is_marked(&metadata, *size))
                    }
                    (Node::Link { target }, What::Link { target: found }) => target == found,
                    (Node::Folder {}, What::EmptyFolder) => true,
                    _ => false,
                }
        })
}

/// Whoever may read the file may execute it.
fn allow_execution(file: &Writer) -> io::Result<()> {
    let mode = file.file().metadata()?.permissions().mode();
    file.set_mode(mode | (mode & 0o444) >> 2)
}

/// Moves everything in `draft` to `dest`, and removes `draft`.
fn move_up(draft: &Path, dest: &Path) -> io::Result<()> {
    for path in folder::list(draft)? {
        if let Some(name) = path.file_name() {
            disk::rename(&path, &dest.join(name))?;
        }
    }
    disk::remove_folder(draft)
}
