//! The store as its users drive it, on real folders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "tests do to the disk what others do")]

mod bundles;
mod collect;
mod damage;
mod failpoints;
mod hardship;
mod hits;
mod locks;
mod receipts;
mod recipes;
mod remote;
mod sharing;
mod stats;
mod trees;
mod unusable;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Artifact, Digest, Output, Receipt, Store, folder};

/// A store and a place beside it.
struct Space {
    dir: TempDir,
    store: Store,
}

impl Space {
    fn new() -> Space {
        Space::at(tempfile::tempdir().unwrap())
    }

    fn at(dir: TempDir) -> Space {
        let store = Store::open(&dir.path().join("store")).unwrap();
        Space { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Another handle on the same store, as another process would have.
    fn reopen(&self) -> Store {
        Store::open(self.store.root()).unwrap()
    }

    /// A folder `name` with these files.
    fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.path(name);
        fs::create_dir_all(&folder).unwrap();
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn put(&self, folder: &Path) -> Artifact {
        self.store.put_tree(folder, &|_| None).unwrap()
    }

    /// An artifact with two files.
    fn artifact(&self) -> Artifact {
        self.put(&self.folder("made", &[("a.txt", "alpha"), ("deep/b.txt", "beta")]))
    }

    fn blob(&self, text: &str) -> PathBuf {
        self.store.blob_path(&Digest::of(text))
    }
}

fn receipt(artifact: Artifact) -> Receipt {
    let output = Output { artifact, kind: "files".into(), role: "value".into() };
    Receipt {
        manifest: serde_json::json!({"kind": "toy", "params": {"rate": 2e-4}}),
        outputs: BTreeMap::from([("out".to_string(), output)]),
        seconds: 1.25,
        finished: "2025-11-21T09:33:05.000Z".into(),
        host: "here".into(),
        program: "gazal-pipe 0.1.0".into(),
        peak_bytes: None,
    }
}

/// Writes other bytes of the same length, as a careless program would.
fn overwrite(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    let mode = fs::metadata(path).unwrap().mode();
    folder::chmod(path, 0o644).unwrap();
    fs::write(path, bytes).unwrap();
    folder::chmod(path, mode).unwrap();
}

/// Flips a bit as a disk would: the metadata tell nothing.
fn rot(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    overwrite(path);
    File::open(path).unwrap().set_modified(modified).unwrap();
}

/// Every file below `folder` with its text, every link with its target, every folder.
fn listing(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    list_into(folder, folder, &mut all);
    all
}

fn list_into(root: &Path, folder: &Path, all: &mut BTreeMap<String, String>) {
    for path in folder::list(folder).unwrap() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
        if metadata.is_dir() {
            all.insert(name + "/", String::new());
            list_into(root, &path, all);
        } else if metadata.is_symlink() {
            all.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else {
            let executable = if metadata.mode() & 0o100 == 0 { "" } else { "x " };
            all.insert(name, format!("{executable}{}", String::from_utf8_lossy(&fs::read(&path).unwrap())));
        }
    }
}

#[test]
fn a_store_may_go_to_other_threads() {
    fn check<T: Send + Sync + Clone>() {}
    check::<Store>();
}
