//! Full disks, read-only file systems, clocks that go back, large artifacts, odd names, many writers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime};

use super::{Space, listing, overwrite, receipt, rot};
use crate::{Digest, Receipt, Store, StoreError, folder};

/// A file system of its own, in memory; goes with its guard.
struct Mount {
    dir: tempfile::TempDir,
}

impl Mount {
    /// `None`, said aloud, where this user may not mount.
    fn new(size: &str) -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], dir.path());
        if !mounted {
            eprintln!("passed over: this user may not mount");
        }
        mounted.then_some(Mount { dir })
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], self.dir.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

fn mount(arguments: &[&str], place: &Path) -> bool {
    Command::new("mount").args(arguments).arg(place).output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing_to_repair() {
    let Some(mount) = Mount::new("1m") else { return };
    let (space, root, key) = (Space::new(), mount.dir.path().join("store"), Digest::of("key"));
    let store = Store::open(&root).unwrap();
    let small = space.folder("small", &[("a", "alpha")]);
    store.publish(&key, &receipt(store.put_tree(&small, &|_| None).unwrap())).unwrap();
    let big = space.folder("big", &[("a", "alpha"), ("b", &"x".repeat(2 << 20))]);
    let error = store.put_tree(&big, &|_| None).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }) && error.is_unusable(), "{error}");
    assert!(error.to_string().contains("--store"), "{error}");
    drop(store);

    let store = Store::open(&root).unwrap();
    assert!(store.hit(&key).unwrap().is_some() && store.verify().unwrap().is_empty());
    assert_eq!(store.usage().unwrap().part("tmp").unwrap().bytes, 0, "what was begun is gone");
    mount.remount("size=16m");
    let artifact = store.put_tree(&big, &|_| None).unwrap();
    assert_eq!(listing(&store.view(&artifact).unwrap()), listing(&big));
}

#[test]
fn a_read_only_file_system_can_be_read_and_says_why_it_cannot_be_written() {
    let Some(mount) = Mount::new("4m") else { return };
    let (space, root, key) = (Space::new(), mount.dir.path().join("store"), Digest::of("key"));
    let made = space.folder("made", &[("a", "alpha"), ("deep/b", "beta")]);
    {
        let store = Store::open(&root).unwrap();
        store.publish(&key, &receipt(store.put_tree(&made, &|_| None).unwrap())).unwrap();
    }
    mount.remount("ro");
    let store = Store::open(&root).unwrap();
    let receipt = store.hit(&key).unwrap().unwrap();
    let artifact = receipt.outputs["out"].artifact;
    assert!(store.made(&key).unwrap().is_some() && store.verify().unwrap().is_empty());
    store.restore(&artifact, &space.path("copy")).unwrap();
    assert_eq!(listing(&space.path("copy")), listing(&made));
    assert_eq!(store.digest_path(&made).unwrap(), artifact.bytes);
    for error in [
        store.put_tree(&made, &|_| None).unwrap_err(),
        store.publish(&key, &receipt).unwrap_err(),
        store.pin("best", &key).unwrap_err(),
        store.collect(&crate::Collect::default()).unwrap_err(),
        store.view(&artifact).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::ReadOnly { .. }) && error.to_string().contains("writable"), "{error}");
    }
}

/// Runs where `$TMPDIR` lies on a file system with reflinks.
#[test]
fn a_restore_by_reflink_is_verified_and_the_user_s_own() {
    let space = Space::new();
    fs::write(space.path("probe"), vec![1; 1 << 16]).unwrap();
    if reflink_copy::reflink(space.path("probe"), space.path("clone")).is_err() {
        eprintln!("passed over: no reflinks in {}", space.path("").display());
        return;
    }
    let text = "x".repeat(1 << 20);
    let artifact = space.put(&space.folder("made", &[("big", &text), ("deep/small", "beta")]));
    space.store.restore(&artifact, &space.path("copy")).unwrap();
    assert_eq!(listing(&space.path("copy")), listing(&space.path("made")));
    fs::write(space.path("copy/big"), "mine now").unwrap();
    assert!(space.store.verify().unwrap().is_empty());
    overwrite(&space.path("copy/deep/small"));
    rot(&space.blob(&text));
    let error = space.store.restore(&artifact, &space.path("other")).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { digest, .. } if digest == Digest::of(&text)), "{error}");
    assert!(!space.path("other").exists());
}

#[test]
fn runs_keep_their_order_when_the_clock_goes_back() {
    let (space, now) = (Space::new(), SystemTime::now());
    let times = [now, now - Duration::from_secs(86_400), now - Duration::from_secs(1), now + Duration::from_secs(60)];
    let made: Vec<_> = times.into_iter().map(|time| space.store.new_run_at(time).unwrap()).collect();
    assert_eq!(space.store.runs().unwrap(), made);
    assert_eq!(space.store.run("last").unwrap(), made[3]);
    assert!(made[1].id().starts_with(made[0].id()) && made[2].id().starts_with(made[0].id()));
}

#[test]
fn an_artifact_of_ten_thousand_files_comes_back() {
    let space = Space::new();
    let made = space.folder("made", &[]);
    for index in 0..10_000 {
        let folder = made.join(format!("{}", index % 97));
        fs::create_dir_all(&folder).unwrap();
        // A hundred texts: what is measured is the number of names, not of syncs.
        fs::write(folder.join(format!("{index}.json")), format!("{{\"value\": {}}}", index % 100)).unwrap();
    }
    let artifact = space.put(&made);
    assert_eq!(space.store.tree(&artifact).unwrap().entries.len(), 10_000);
    assert_eq!(space.store.closure(&artifact).unwrap().len(), 101);
    space.store.publish(&Digest::of("key"), &receipt(artifact)).unwrap();
    assert!(space.reopen().hit(&Digest::of("key")).unwrap().is_some());
    assert_eq!(listing(&space.store.view(&artifact).unwrap()), listing(&made));
    assert_eq!(space.store.digest_path(&made).unwrap(), artifact.bytes);
}

/// Composed and decomposed, right to left, combined by joiners, as long as a name may be, with what shells dislike.
#[test]
fn names_in_any_script_come_back_byte_for_byte() {
    let space = Space::new();
    let long = "ä".repeat(127) + "z";
    let names = [
        "caf\u{e9}",
        "cafe\u{301}",
        "العربية/עברית",
        "👩‍👩‍👧‍👦 🦀",
        "日本語",
        &long,
        "a\nb\t\"'\\",
        "-rf *",
        " ",
        "\u{feff}x",
    ];
    let files: Vec<(&str, &str)> = names.iter().map(|name| (*name, *name)).collect();
    let made = space.folder("made", &files);
    symlink("cafe\u{301}", made.join("liaison é")).unwrap();
    assert_eq!(long.len(), 255);
    let artifact = space.put(&made);
    assert_eq!(space.store.tree(&artifact).unwrap().entries.len(), names.len() + 1, "two spellings are two names");
    let (view, copy) = (space.store.view(&artifact).unwrap(), space.path("copy"));
    space.store.restore(&artifact, &copy).unwrap();
    for folder in [&view, &copy] {
        assert_eq!(listing(folder), listing(&made));
    }
}

/// A link that led out and was made to lead in, or the other way, between two looks, is judged each time.
#[test]
fn a_view_with_a_link_that_was_turned_outside_is_made_anew() {
    let space = Space::new();
    fs::write(space.path("secret"), "s").unwrap();
    let made = space.folder("made", &[("a", "alpha")]);
    symlink("a", made.join("link")).unwrap();
    let artifact = space.put(&made);
    let view = space.store.view(&artifact).unwrap();
    folder::chmod(&view, 0o755).unwrap();
    fs::remove_file(view.join("link")).unwrap();
    symlink(space.path("secret"), view.join("link")).unwrap();
    assert_eq!(listing(&space.store.view(&artifact).unwrap()), listing(&made));
    assert_eq!(fs::read_to_string(space.path("secret")).unwrap(), "s");
}

/// Eight that each have made the same thing in another time: one receipt is there at the end, whole, and one of theirs.
#[test]
fn eight_writers_of_one_key_leave_one_whole_receipt() {
    let (space, key, barrier) = (Space::new(), Digest::of("key"), Barrier::new(8));
    let folders: Vec<PathBuf> =
        (0..8).map(|i| space.folder(&format!("{i}"), &[("log", &format!("{i}")), ("all", "same")])).collect();
    let write = |index: usize| {
        let store = space.reopen();
        barrier.wait();
        for _ in 0..10 {
            let artifact = store.put_tree(&folders[index], &|_| None).unwrap();
            store.publish(&key, &Receipt { seconds: index as f64, ..receipt(artifact) }).unwrap();
            let seen = store.hit(&key).unwrap().expect("never a moment without");
            let writer = seen.seconds as usize;
            assert_eq!(listing(&store.view(&seen.outputs["out"].artifact).unwrap()), listing(&folders[writer]));
        }
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8).map(|index| scope.spawn(move || write(index))).collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
    let parts: BTreeMap<_, _> =
        space.store.usage().unwrap().parts.into_iter().map(|part| (part.name, part.files)).collect();
    assert_eq!((parts["receipts"], parts["blobs"], parts["tmp"]), (1, 8 + 8 + 1, 0));
    assert!(space.store.verify().unwrap().is_empty());
}
