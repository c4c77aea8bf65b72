//! Folders in, the same folders out.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Space, listing};
use crate::{Digest, StoreError, folder};

#[test]
fn a_view_and_a_copy_have_what_was_stored() {
    let space = Space::new();
    let made = space.folder("made", &[("a.txt", "alpha"), ("empty", ""), ("deep/er/b", "beta"), ("x.sh", "#!/bin/sh")]);
    fs::create_dir_all(made.join("hollow/er")).unwrap();
    folder::chmod(&made.join("x.sh"), 0o755).unwrap();
    symlink("../a.txt", made.join("deep/link")).unwrap();
    symlink("er", made.join("deep/folder-link")).unwrap();
    let artifact = space.put(&made);
    assert_eq!(artifact.bytes, artifact.content);
    assert!(space.store.has(&artifact));
    assert_eq!(space.store.tree(&artifact).unwrap().size(), 5 + 4 + 9);

    let view = space.store.view(&artifact).unwrap();
    assert_eq!(listing(&view), listing(&made));
    assert_eq!(space.store.view(&artifact).unwrap(), view);
    let copy = space.path("some/where/copy");
    space.store.restore(&artifact, &copy).unwrap();
    assert_eq!(listing(&copy), listing(&made));
    assert_eq!(space.put(&copy), artifact);
    assert_eq!(space.put(&view), artifact);
}

#[test]
fn a_view_is_read_only_and_takes_no_space_and_a_copy_is_the_user_s() {
    let space = Space::new();
    let artifact = space.artifact();
    let view = space.store.view(&artifact).unwrap();
    for (path, mode) in [("", 0o555), ("deep", 0o555), ("a.txt", 0o444)] {
        assert_eq!(fs::metadata(view.join(path)).unwrap().mode() & 0o777, mode, "{path}");
    }
    assert_eq!(fs::metadata(view.join("a.txt")).unwrap().ino(), fs::metadata(space.blob("alpha")).unwrap().ino());
    assert_eq!(space.store.usage().unwrap().part("views").unwrap().bytes, 0);

    let copy = space.path("copy");
    space.store.restore(&artifact, &copy).unwrap();
    fs::write(copy.join("a.txt"), "mine now").unwrap();
    assert!(space.store.has(&artifact));
    assert!(space.store.verify().unwrap().is_empty());
}

#[test]
fn an_empty_folder_is_an_artifact() {
    let space = Space::new();
    let artifact = space.put(&space.folder("made", &[]));
    assert!(listing(&space.store.view(&artifact).unwrap()).is_empty());
    assert_eq!(space.store.view(&artifact).unwrap(), space.store.view(&artifact).unwrap());
    space.store.restore(&artifact, &space.path("copy")).unwrap();
    assert!(space.path("copy").is_dir());
}

#[test]
fn content_is_what_the_caller_says() {
    let space = Space::new();
    let made = space.folder("made", &[("rows.jsonl", "{}")]);
    let rows = Digest::of("rows");
    let artifact = space.store.put_tree(&made, &|folder| folder.join("rows.jsonl").exists().then_some(rows)).unwrap();
    assert_eq!(artifact.content, rows);
    assert_eq!(artifact.bytes, space.put(&made).bytes);
}

#[test]
fn names_modes_and_emptiness_are_part_of_the_digest() {
    let space = Space::new();
    let digest = |name: &str, files: &[(&str, &str)]| space.put(&space.folder(name, files)).bytes;
    let first = digest("1", &[("a", "x"), ("b", "y")]);
    assert_eq!(digest("2", &[("b", "y"), ("a", "x")]), first);
    assert_ne!(digest("3", &[("a", "y"), ("b", "x")]), first);
    let fourth = space.folder("4", &[("a", "x"), ("b", "y")]);
    folder::chmod(&fourth.join("a"), 0o755).unwrap();
    assert_ne!(space.put(&fourth).bytes, first);
    let fifth = space.folder("5", &[("a", "x"), ("b", "y")]);
    fs::create_dir(fifth.join("c")).unwrap();
    assert_ne!(space.put(&fifth).bytes, first);
}

#[test]
fn links_that_lead_out_are_refused_by_name() {
    let space = Space::new();
    fs::write(space.path("secret"), "s").unwrap();
    let outside = space.path("secret");
    for (target, why) in [
        (outside.to_str().unwrap(), "leads out"),
        ("../secret", "leads out"),
        ("nowhere", "leads nowhere"),
        ("link", "leads nowhere"),
    ] {
        let made = space.folder("made", &[]);
        symlink(target, made.join("link")).unwrap();
        let error = space.store.put_tree(&made, &|_| None).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, StoreError::Link { .. }) && !error.is_unusable());
        assert!(message.contains("made/link") && message.contains(target) && message.contains(why), "{message}");
        fs::remove_file(made.join("link")).unwrap();
    }
}

#[test]
fn a_link_that_leads_out_through_another_is_refused() {
    let space = Space::new();
    fs::write(space.path("secret"), "s").unwrap();
    let made = space.folder("made", &[("secret", "inside"), ("sub/x", "")]);
    symlink("..", made.join("sub/up")).unwrap();
    symlink("sub/up/../secret", made.join("link")).unwrap();
    let error = space.store.put_tree(&made, &|_| None).unwrap_err();
    assert!(error.to_string().contains("made/link"), "{error}");
}

#[test]
fn what_is_no_file_and_what_has_no_utf8_name_is_refused_by_name() {
    let space = Space::new();
    let made = space.folder("made", &[]);
    assert!(Command::new("mkfifo").arg(made.join("pipe")).status().unwrap().success());
    let error = space.store.put_tree(&made, &|_| None).unwrap_err();
    assert!(matches!(error, StoreError::Special { .. }) && error.to_string().contains("pipe"), "{error}");

    let made = space.folder("other", &[]);
    fs::write(made.join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    let error = space.store.put_tree(&made, &|_| None).unwrap_err();
    assert!(matches!(error, StoreError::Name { .. }) && error.to_string().contains("caf"), "{error}");
}

#[test]
fn a_restore_spares_what_is_there_and_clears_up_after_a_killed_one() {
    let space = Space::new();
    let artifact = space.artifact();
    let mine = space.folder("mine", &[("a.txt", "precious")]);
    let error = space.store.restore(&artifact, &mine).unwrap_err();
    assert!(matches!(error, StoreError::Occupied { .. }) && error.to_string().contains("mine"), "{error}");
    assert_eq!(fs::read_to_string(mine.join("a.txt")).unwrap(), "precious");

    let killed = space.folder("killed", &[(".gazal-restoring/half", "ha")]);
    space.store.restore(&artifact, &killed).unwrap();
    assert_eq!(listing(&killed), listing(&space.path("made")));
}

#[test]
fn a_file_that_is_stored_twice_lies_there_once() {
    let space = Space::new();
    space.put(&space.folder("1", &[("a", "same"), ("b", "same")]));
    let before = space.store.usage().unwrap();
    space.put(&space.folder("2", &[("a", "same"), ("b", "same")]));
    assert_eq!(space.store.usage().unwrap(), before);
    assert_eq!(before.part("blobs").unwrap().files, 2, "the text and the manifest");
}

#[test]
fn a_closure_names_every_blob_once_with_its_size() {
    let space = Space::new();
    let artifact = space.put(&space.folder("made", &[("a", "same"), ("b", "same"), ("c", "another")]));
    let closure = space.store.closure(&artifact).unwrap();
    let digests: Vec<Digest> = closure.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(digests, [artifact.bytes, Digest::of("same"), Digest::of("another")]);
    for (digest, size) in closure {
        assert_eq!(fs::metadata(space.store.blob_path(&digest)).unwrap().len(), size);
    }
    assert_eq!(space.store.usage().unwrap().part("blobs").unwrap().files, 3, "nothing else lies there");
}

/// Up to three levels of names in any script, with hostile punctuation.
fn names() -> impl Strategy<Value = String> {
    let part = "[^/\0]{1,12}".prop_filter("a name", |part| part != "." && part != "..");
    vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(files in vec((names(), vec(any::<u8>(), 0..3000), any::<bool>(), any::<bool>()), 0..6)) {
        let space = Space::new();
        let made = space.folder("made", &[]);
        for (name, bytes, executable, empty_folder) in files {
            let path = made.join(name);
            // A name may be taken by an earlier folder or file; the tree is then as it is.
            let _ = fs::create_dir_all(path.parent().unwrap());
            if empty_folder {
                let _ = fs::create_dir_all(&path);
            } else if fs::write(&path, bytes).is_ok() && executable {
                folder::chmod(&path, 0o755).unwrap();
            }
        }
        let artifact = space.put(&made);
        let (view, copy) = (space.store.view(&artifact).unwrap(), space.path("copy"));
        space.store.restore(&artifact, &copy).unwrap();
        prop_assert_eq!(listing(&view), listing(&made));
        prop_assert_eq!(listing(&copy), listing(&made));
        prop_assert_eq!(space.put(&copy), artifact);
        prop_assert_eq!(space.store.digest_path(&made).unwrap(), artifact.bytes);
        prop_assert_eq!(space.store.view(&artifact).unwrap(), view);
    }
}
