//! Walking a folder: what is in it, in one order, with every link judged.
//!
//! A link stays a link where it leads to something inside the folder by a relative path. A link that leads out is
//! refused in what is to be stored, since its meaning would not be stored with it, and followed in a folder of the
//! user's that is only hashed (the hub's cache is such folders), where its content is what counts.

use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use crate::StoreError;
use crate::error::outside;

/// What to do with links that lead out of the folder.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Leaving {
    Refuse,
    Follow,
}

/// Something in a folder.
pub(crate) struct Found {
    /// Below the folder, with `/` between the parts.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
    pub what: What,
}

#[derive(Debug, PartialEq)]
pub(crate) enum What {
    File { executable: bool },
    Link { target: String },
    EmptyFolder,
}

/// Everything in `folder` but folders that have something in them, sorted by name.
pub(crate) fn walk(folder: &Path, leaving: Leaving) -> Result<Vec<Found>, StoreError> {
    let root = fs::canonicalize(folder).map_err(outside(folder))?;
    let mut walker = Walker { root: root.clone(), leaving, trail: Vec::new(), found: Vec::new() };
    walker.enter(&root, "")?;
    walker.found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(walker.found)
}

/// Whether `target`, read from a link called `name`, stays inside the folder by its spelling.
pub(crate) fn stays_inside(name: &str, target: &Path) -> bool {
    let mut depth = name.matches('/').count();
    target.components().all(|component| match component {
        Component::CurDir => true,
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::ParentDir => depth.checked_sub(1).map(|less| depth = less).is_some(),
        Component::RootDir | Component::Prefix(_) => false,
    })
}

struct Walker {
    root: PathBuf,
    leaving: Leaving,
    /// The folders on the way to here, to see a link that leads back.
    trail: Vec<PathBuf>,
    found: Vec<Found>,
}

impl Walker {
    /// `folder` is free of links; `name` is what it is called below the root.
    fn enter(&mut self, folder: &Path, name: &str) -> Result<(), StoreError> {
        self.trail.push(folder.to_path_buf());
        let mut empty = true;
        for entry in fs::read_dir(folder).map_err(outside(folder))? {
            let path = entry.map_err(outside(folder))?.path();
            let Some(last) = path.file_name().and_then(|last| last.to_str()) else {
                return Err(StoreError::Name { path });
            };
            let name = if name.is_empty() { last.to_string() } else { format!("{name}/{last}") };
            let metadata = fs::symlink_metadata(&path).map_err(outside(&path))?;
            self.meet(path, name, &metadata)?;
            empty = false;
        }
        if empty && !name.is_empty() {
            self.push(name.to_string(), folder.to_path_buf(), What::EmptyFolder);
        }
        self.trail.pop();
        Ok(())
    }

    fn meet(&mut self, path: PathBuf, name: String, metadata: &Metadata) -> Result<(), StoreError> {
        if metadata.is_symlink() {
            return self.meet_link(path, name);
        }
        if metadata.is_dir() {
            return self.enter(&path, &name);
        }
        if !metadata.is_file() {
            return Err(StoreError::Special { path });
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        self.push(name, path, What::File { executable });
        Ok(())
    }

    fn meet_link(&mut self, path: PathBuf, name: String) -> Result<(), StoreError> {
        let target = fs::read_link(&path).map_err(outside(&path))?;
        let refuse = |why| Err(StoreError::Link { path: path.clone(), target: target.clone(), why });
        let Ok(real) = fs::canonicalize(&path) else { return refuse("leads nowhere") };
        let inside = path.starts_with(&self.root) && real.starts_with(&self.root) && stays_inside(&name, &target);
        if inside {
            let Some(text) = target.to_str() else { return Err(StoreError::Name { path }) };
            let what = What::Link { target: text.to_string() };
            self.push(name, path, what);
            return Ok(());
        }
        if self.leaving == Leaving::Refuse {
            return refuse("leads out of the folder");
        }
        if self.trail.contains(&real) {
            return refuse("leads back to a folder that it lies in");
        }
        let metadata = fs::metadata(&real).map_err(outside(&real))?;
        self.meet(real, name, &metadata)
    }

    fn push(&mut self, name: String, path: PathBuf, what: What) {
        self.found.push(Found { name, path, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_judged_by_their_spelling() {
        for (name, target, inside) in [
            ("a", "b", true),
            ("a", "./b", true),
            ("d/a", "../b", true),
            ("d/e/a", "../../b", true),
            ("a", "../b", false),
            ("d/a", "../../b", false),
            ("d/a", "../e/../../b", false),
            ("a", "/etc/passwd", false),
        ] {
            assert_eq!(stays_inside(name, Path::new(target)), inside, "{name} -> {target}");
        }
    }
}
