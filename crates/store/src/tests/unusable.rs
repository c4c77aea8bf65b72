//! Stores that cannot be used say so, with the path and the remedy.

use std::fs;

use super::{Space, receipt};
use crate::{Digest, Store, StoreError, folder};

#[test]
fn other_formats_are_refused() {
    let space = Space::new();
    let format = space.store.root().join("format");
    assert_eq!(fs::read_to_string(&format).unwrap(), "gazal-store 1\n");
    for (text, found, remedy) in [
        ("gazal-store 2\n", "`2`", "newer"),
        ("gazal-store 0\n", "`0`", "older"),
        ("something else", "`something else`", "no store"),
        ("", "``", "no store"),
    ] {
        fs::write(&format, text).unwrap();
        let error = Store::open(space.store.root()).unwrap_err();
        let message = error.to_string();
        assert!(error.is_unusable() && matches!(error, StoreError::Format { .. }), "{error:?}");
        for part in [found, remedy, "--store", space.store.root().to_str().unwrap()] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn a_file_in_the_store_s_place_is_refused_and_kept() {
    let space = Space::new();
    let file = space.path("file");
    fs::write(&file, "mine").unwrap();
    for root in [file.clone(), file.join("below")] {
        let error = Store::open(&root).unwrap_err();
        assert!(error.is_unusable() && error.to_string().contains("not a folder"), "{error}");
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
}

/// The default store's folder has tracked files in it.
#[test]
fn a_folder_with_other_files_may_become_a_store() {
    let space = Space::new();
    let root = space.folder("cache", &[("README.md", "the store")]);
    Store::open(&root).unwrap();
    Store::open(&root).unwrap();
    assert_eq!(fs::read_to_string(root.join("README.md")).unwrap(), "the store");
}

#[test]
fn a_store_whose_making_was_interrupted_is_completed() {
    let space = Space::new();
    fs::remove_file(space.store.root().join("format")).unwrap();
    fs::remove_dir_all(space.store.root().join("views")).unwrap();
    fs::remove_dir_all(space.store.root().join("blobs")).unwrap();
    let store = space.reopen();
    store.put_tree(&space.folder("made", &[("a", "x")]), &|_| None).unwrap();
    assert!(store.verify().unwrap().is_empty());
}

#[test]
fn reading_a_store_writes_nothing() {
    let space = Space::new();
    let (key, artifact) = (Digest::of("key"), space.artifact());
    space.store.publish(&key, &receipt(artifact)).unwrap();
    let before = space.store.usage().unwrap();
    let reader = space.reopen();
    assert!(reader.hit(&key).unwrap().is_some());
    assert!(reader.run("last").is_err());
    assert_eq!(reader.usage().unwrap(), before);
}

#[test]
fn a_store_that_may_not_be_written_says_so() {
    let space = Space::new();
    let locks = space.store.root().join("locks");
    folder::chmod(&locks, 0o555).unwrap();
    let result = space.store.lock(&Digest::of("key"));
    if fs::write(locks.join("probe"), "").is_ok() {
        eprintln!("passed over: this user may write everywhere");
        return;
    }
    let error = result.unwrap_err();
    assert!(error.is_unusable() && error.to_string().contains("locks"), "{error}");
    folder::chmod(&locks, 0o755).unwrap();
}
