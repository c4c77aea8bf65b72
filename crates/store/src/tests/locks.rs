//! Locks whose files a collection removes while others take them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::{Space, receipt};
use crate::{Collect, Digest, Removed, Store, folder};

/// Where a child works.
const PLACE: &str = "GAZAL_LOCK_PLACE";

/// The name of the test that is the child.
const CHILD: &str = "tests::locks::a_number_is_counted_up_by_one_at_a_time";

const CHILDREN: u64 = 4;
const STEPS: u64 = 300;

fn everything() -> Collect {
    Collect { grace: Duration::ZERO, ..Collect::default() }
}

/// Adds to the number in a file, as only who has a lock may.
fn count(place: &Path) {
    let store = Store::open(&place.join("store")).unwrap();
    let number = place.join("number");
    for step in 0..STEPS {
        let _lock = match step % 2 {
            0 => store.lock(&Digest::of("number")).unwrap(),
            _ => loop {
                if let Some(lock) = store.try_lock(&Digest::of("number")).unwrap() {
                    break lock;
                }
                std::thread::sleep(Duration::from_millis(1));
            },
        };
        let before: u64 = fs::read_to_string(&number).unwrap().parse().unwrap();
        fs::write(&number, (before + 1).to_string()).unwrap();
    }
}

/// One of the children where `place` is given, else all of them, one after the other.
#[test]
fn a_number_is_counted_up_by_one_at_a_time() {
    if let Some(place) = env::var_os(PLACE).map(PathBuf::from) {
        return count(&place);
    }
    let space = Space::new();
    fs::write(space.path("number"), "0").unwrap();
    (0..2).for_each(|_| count(space.dir.path()));
    assert_eq!(fs::read_to_string(space.path("number")).unwrap(), (2 * STEPS).to_string());
}

#[test]
fn locks_exclude_while_their_files_are_removed() {
    let space = Space::new();
    fs::write(space.path("number"), "0").unwrap();
    let child = |_| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", CHILD, "--test-threads=1"]).env(PLACE, space.dir.path());
        command.spawn().unwrap()
    };
    let mut children: Vec<Child> = (0..CHILDREN).map(child).collect();
    let mut removed = 0;
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        removed += space.store.collect(&everything()).unwrap().removed.get("locks").map_or(0, |locks| locks.count);
    }
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(fs::read_to_string(space.path("number")).unwrap(), (CHILDREN * STEPS).to_string());
    println!("removed the lock's file {removed} times");
}

#[test]
fn a_collection_removes_idle_locks_and_leaves_those_that_are_held() {
    let space = Space::new();
    let locks = || folder::list(&space.store.root().join("locks")).unwrap();
    drop(space.store.lock(&Digest::of("idle")).unwrap());
    space.store.view(&space.artifact()).unwrap();
    let held = space.reopen().lock(&Digest::of("held")).unwrap();
    let young = space.store.collect(&Collect::default()).unwrap();
    assert_eq!(young.removed.get("locks"), None, "within the grace");
    let dry = space.store.collect(&Collect { dry_run: true, ..everything() }).unwrap();
    assert!(dry.removed["locks"].count >= 2);
    let collected = space.store.collect(&everything()).unwrap();
    assert_eq!(collected.removed["locks"], Removed { count: 2, bytes: 0 });
    let names: Vec<PathBuf> = ["collect", &Digest::of("held").hex(), "sweep"].map(PathBuf::from).to_vec();
    let mut left: Vec<PathBuf> = locks().iter().map(|path| path.file_name().unwrap().into()).collect();
    left.sort_by_key(|name| names.iter().position(|other| other == name));
    assert_eq!(left, names);
    assert!(space.store.try_lock(&Digest::of("held")).unwrap().is_none());
    drop(held);
    assert_eq!(space.store.collect(&everything()).unwrap().removed["locks"].count, 1);
}

#[test]
fn old_doubts_of_the_remote_are_forgotten() {
    let space = Space::new();
    let (old, young) = (Digest::of("old"), Digest::of("young"));
    let doubt = |digest: &Digest, days: u64| {
        let path = space.store.sharded("remote/doubted", digest);
        folder::make_parent(&path).unwrap();
        fs::write(&path, "lost").unwrap();
        let since = std::time::SystemTime::now() - Duration::from_secs(86_400 * days);
        fs::File::open(&path).unwrap().set_modified(since).unwrap();
        path
    };
    let (old, young) = (doubt(&old, 31), doubt(&young, 29));
    space.store.publish(&Digest::of("key"), &receipt(space.artifact())).unwrap();
    let collected = space.store.collect(&everything()).unwrap();
    assert_eq!(collected.removed["remote"], Removed { count: 1, bytes: 4 });
    assert!(!old.exists() && young.exists());
}
