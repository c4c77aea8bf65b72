//! Several threads and processes on one store.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::{Space, listing, receipt};
use crate::{Artifact, Digest, Store, folder};

#[test]
fn the_same_tree_published_at_once_is_stored_once_and_whole() {
    let space = Space::new();
    let text = "x".repeat(300_000);
    let files: Vec<(String, String)> = (0..8).map(|i| (format!("d{}/{i}", i % 3), format!("{i}{text}"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (made, key, barrier) = (space.folder("made", &files), Digest::of("key"), Barrier::new(4));
    let publish = |store: Store| {
        barrier.wait();
        let artifact = store.put_tree(&made, &|_| None).unwrap();
        store.publish(&key, &receipt(artifact)).unwrap();
        assert_eq!(listing(&store.view(&artifact).unwrap()), listing(&made));
        artifact
    };
    let artifacts: Vec<Artifact> = thread::scope(|scope| {
        let stores = [space.store.clone(), space.store.clone(), space.reopen(), space.reopen()];
        let threads: Vec<_> = stores.into_iter().map(|store| scope.spawn(|| publish(store))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(artifacts.iter().all(|artifact| *artifact == artifacts[0]));
    assert!(space.store.hit(&key).unwrap().is_some());
    assert!(space.store.verify().unwrap().is_empty());
    let usage = space.store.usage().unwrap();
    assert_eq!(usage.part("blobs").unwrap().files, 9);
    assert_eq!(usage.part("tmp").unwrap().files, 1, "the lock of the one session that goes on");
}

#[test]
fn a_store_may_be_made_by_many_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/b/store");
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Store::open(&root))).collect();
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap().is_ok()));
    });
}

#[test]
fn a_lock_excludes_other_handles_until_it_is_dropped() {
    let space = Space::new();
    let (other, key) = (space.reopen(), Digest::of("key"));
    let lock = space.store.lock(&key).unwrap();
    assert!(other.try_lock(&key).unwrap().is_none());
    assert!(space.store.try_lock(&key).unwrap().is_none(), "the same handle too");
    assert!(other.try_lock(&Digest::of("another")).unwrap().is_some());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| other.lock(&key).map(|_lock| Instant::now()).unwrap());
        thread::sleep(Duration::from_millis(50));
        let released = Instant::now();
        drop(lock);
        assert!(waiting.join().unwrap() >= released);
    });
    assert!(other.try_lock(&key).unwrap().is_some());
}

#[test]
fn scratch_goes_with_its_guard_and_outlives_the_handle() {
    let space = Space::new();
    let store = space.reopen();
    let (one, two) = (store.scratch().unwrap(), store.scratch().unwrap());
    assert_ne!(one.path(), two.path());
    drop(store);
    fs::create_dir(one.path().join("locked")).unwrap();
    fs::write(one.path().join("locked/file"), "x").unwrap();
    folder::chmod(&one.path().join("locked"), 0o555).unwrap();
    let (path, other) = (one.path().to_path_buf(), two.path().to_path_buf());
    drop(one);
    assert!(!path.exists() && other.exists());
    drop(two);
    assert!(folder::list(&space.store.root().join("tmp")).unwrap().is_empty());
}

#[test]
fn a_sweep_spares_the_living() {
    let space = Space::new();
    let scratch = space.store.scratch().unwrap();
    let other = space.reopen();
    let _other_scratch = other.scratch().unwrap();
    assert!(scratch.path().exists());
}

/// Runs itself a second time as the process that is killed.
#[test]
fn a_killed_process_leaves_nothing_to_repair() {
    let key = Digest::of("key");
    if let Some(root) = std::env::var_os("GAZAL_STORE_TEST_VICTIM") {
        let store = Store::open(Path::new(&root)).unwrap();
        let _lock = store.lock(&key).unwrap();
        let scratch = store.scratch().unwrap();
        fs::write(scratch.path().join("half"), "ha").unwrap();
        fs::write(store.wip(&key).unwrap().join("ready"), "").unwrap();
        thread::sleep(Duration::from_secs(60));
        return;
    }
    let space = Space::new();
    let ready = space.store.wip(&key).unwrap().join("ready");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::sharing::a_killed_process_leaves_nothing_to_repair"])
        .env("GAZAL_STORE_TEST_VICTIM", space.store.root())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !ready.exists() {
        assert!(victim.try_wait().unwrap().is_none(), "it ended early");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(space.store.try_lock(&key).unwrap().is_none());
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(space.store.try_lock(&key).unwrap().is_some());
    let tmp = space.store.root().join("tmp");
    assert_eq!(folder::list(&tmp).unwrap().len(), 2, "the dead session and its lock");
    drop(space.store.scratch().unwrap());
    assert_eq!(folder::list(&tmp).unwrap().len(), 2, "the living one's");
    assert!(ready.exists(), "checkpoints stay");
}
