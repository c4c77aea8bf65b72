//! Digests of the user's files: right always, and quick where that is safe.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::Duration;

use super::Space;
use crate::{Digest, Store, StoreError};

fn cached(store: &Store) -> String {
    fs::read_to_string(store.root().join("stat-cache")).unwrap_or_default()
}

/// The same size, the same time of modification, and as soon after as can be.
#[test]
fn a_file_rewritten_in_the_same_tick_is_read_again() {
    let space = Space::new();
    let path = space.path("file");
    fs::write(&path, "0000").unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    for round in 0..200 {
        let text = format!("{round:04}");
        fs::write(&path, &text).unwrap();
        File::open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(space.store.digest_path(&path).unwrap(), Digest::of(&text));
    }
    assert_eq!(cached(&space.store), "", "what has just changed is not entered");
}

#[test]
fn a_file_that_has_been_still_is_read_once() {
    let space = Space::new();
    let folder = space.folder("data", &[("a", "alpha"), ("b", "beta")]);
    sleep(Duration::from_millis(2100));
    let digest = space.store.digest_path(&folder).unwrap();
    let lines = cached(&space.store);
    assert_eq!(lines.lines().count(), 2);
    assert_eq!(space.store.digest_path(&folder).unwrap(), digest);
    assert_eq!(cached(&space.store), lines, "nothing was hashed again");

    // A cache that lies shows that it is asked, and only for the file as it was.
    let (told, _) =
        lines.lines().find(|line| line.contains(&Digest::of("alpha").hex())).unwrap().rsplit_once(' ').unwrap();
    let lie = told.replace(&Digest::of("alpha").hex(), &Digest::of("lie").hex());
    fs::write(space.store.root().join("stat-cache"), format!("{lie} {}\n", Digest::of(&lie).short())).unwrap();
    assert_eq!(space.reopen().digest_path(&folder.join("a")).unwrap(), Digest::of("lie"));
    fs::write(folder.join("a"), "ALPHA").unwrap();
    assert_eq!(space.reopen().digest_path(&folder.join("a")).unwrap(), Digest::of("ALPHA"));
}

#[test]
fn a_folder_has_the_digest_of_its_tree() {
    let space = Space::new();
    let folder = space.folder("data", &[("a", "alpha"), ("deep/b", "beta")]);
    symlink("deep/b", folder.join("link")).unwrap();
    assert_eq!(space.store.digest_path(&folder).unwrap(), space.put(&folder).bytes);
    assert_eq!(space.store.digest_path(&folder.join("a")).unwrap(), Digest::of("alpha"));
}

/// The hub's cache: a snapshot's files are links to blobs elsewhere.
#[test]
fn links_that_lead_out_of_the_user_s_folder_count_by_content() {
    let space = Space::new();
    let plain = space.folder("plain", &[("model", "weights"), ("sub/x", "y")]);
    space.folder("hub", &[("blobs/1", "weights"), ("other/x", "y"), ("snapshot/.keep", "")]);
    let snapshot = space.path("hub/snapshot");
    fs::remove_file(snapshot.join(".keep")).unwrap();
    symlink("../blobs/1", snapshot.join("model")).unwrap();
    symlink("../other", snapshot.join("sub")).unwrap();
    assert_eq!(space.store.digest_path(&snapshot).unwrap(), space.store.digest_path(&plain).unwrap());
    fs::write(space.path("hub/blobs/1"), "WEIGHTS").unwrap();
    assert_ne!(space.store.digest_path(&snapshot).unwrap(), space.store.digest_path(&plain).unwrap());

    symlink("..", snapshot.join("up")).unwrap();
    let error = space.store.digest_path(&snapshot).unwrap_err();
    assert!(matches!(error, StoreError::Link { .. }) && error.to_string().contains("leads back"), "{error}");
}

#[test]
fn a_path_with_nothing_there_is_named() {
    let space = Space::new();
    let error = space.store.digest_path(&space.path("absent.txt")).unwrap_err();
    assert!(error.to_string().contains("absent.txt") && !error.is_unusable(), "{error}");
}
