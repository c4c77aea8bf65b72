//! Collections: what goes, what stays, and that nobody loses what they rely on.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use super::{Space, listing, receipt, rot};
use crate::{Artifact, Collect, Collected, Digest, Receipt, Removed, StoreError, folder};

const DAY: Duration = Duration::from_secs(86_400);

/// Everything is old enough.
fn collect() -> Collect {
    Collect { grace: Duration::ZERO, ..Collect::default() }
}

/// The key of an action that made these files in so many seconds; by another process, which has ended.
fn publish(space: &Space, name: &str, seconds: f64, files: &[(&str, &str)]) -> Digest {
    let (store, key) = (space.reopen(), Digest::of(name));
    let artifact = store.put_tree(&space.folder(name, files), &|_| None).unwrap();
    store.publish(&key, &Receipt { seconds, ..receipt(artifact) }).unwrap();
    key
}

fn artifact(space: &Space, key: &Digest) -> Artifact {
    space.store.receipt(key).unwrap().unwrap().outputs["out"].artifact
}

fn is_hit(space: &Space, key: &Digest) -> bool {
    space.reopen().hit(key).unwrap().is_some()
}

/// A collection by a process of its own; what it says is what is then so.
fn run(space: &Space, collect: &Collect) -> Collected {
    let store = space.reopen();
    let size = store.usage().unwrap().bytes();
    let told = store.collect(&Collect { dry_run: true, ..collect.clone() }).unwrap();
    assert_eq!(store.usage().unwrap().bytes(), size, "a dry run removes nothing");
    let collected = store.collect(collect).unwrap();
    assert_eq!(collected, told, "a dry run tells what happens");
    assert_eq!(collected.left(), store.usage().unwrap().bytes());
    collected
}

fn evicted(collected: &Collected) -> Vec<Digest> {
    collected.evicted.iter().map(|evicted| evicted.key).collect()
}

#[test]
fn what_an_action_made_stays_and_what_nothing_refers_to_goes() {
    let space = Space::new();
    let key = publish(&space, "a", 1.0, &[("x", "alpha"), ("y", "beta")]);
    space.reopen().put_tree(&space.folder("loose", &[("x", "alpha"), ("z", "gamma")]), &|_| None).unwrap();
    assert!(run(&space, &Collect::default()).removed.is_empty(), "younger than the grace");
    let collected = run(&space, &collect());
    assert_eq!(collected.removed["blobs"].count, 2, "gamma and its tree");
    assert!(is_hit(&space, &key) && !space.blob("gamma").exists());
    assert!(run(&space, &collect()).removed.is_empty());
}

#[test]
fn what_the_memo_holds_outlives_the_results_made_of_it() {
    let space = Space::new();
    let key = publish(&space, "a", 1.0, &[("x", "alpha")]);
    space.reopen().memo_put("judge", &Digest::of("question"), b"answer").unwrap();
    run(&space, &Collect { max_size: Some(0), ..collect() });
    assert!(!is_hit(&space, &key));
    assert_eq!(space.reopen().memo_get("judge", &Digest::of("question")).unwrap().unwrap(), b"answer");
}

#[test]
fn an_action_that_lost_a_blob_keeps_nothing_but_its_receipt() {
    let space = Space::new();
    let key = publish(&space, "a", 1.0, &[("x", "alpha"), ("y", "beta")]);
    fs::remove_file(space.blob("alpha")).unwrap();
    let kept = Collect { keep: BTreeSet::from([key]), ..collect() };
    assert!(run(&space, &kept).removed.is_empty(), "unless it is kept");
    run(&space, &collect());
    assert!(!space.blob("beta").exists());
    assert!(space.store.receipt(&key).unwrap().is_some());

    let forget = |age| Collect { forget: Some(age), ..collect() };
    assert!(run(&space, &forget(DAY)).removed.is_empty());
    assert_eq!(run(&space, &forget(Duration::ZERO)).removed["receipts"].count, 1);
    assert!(space.store.receipt(&key).unwrap().is_none());
}

#[test]
fn damage_and_old_checkpoints_and_old_runs_go() {
    let space = Space::new();
    let key = publish(&space, "a", 1.0, &[("x", "alpha")]);
    rot(&space.blob("alpha"));
    space.store.verify().unwrap();
    let (old, locked) = (Digest::of("old"), Digest::of("locked"));
    for key in [&key, &old, &locked] {
        fs::write(space.store.wip(key).unwrap().join("step-10"), "state").unwrap();
    }
    let runs: Vec<_> = (0..3).map(|_| space.store.new_run().unwrap()).collect();
    fs::write(runs[0].file("log"), "log").unwrap();
    let _lock = space.reopen().lock(&locked).unwrap();

    assert!(run(&space, &Collect { keep_runs: Some(0), ..Collect::default() }).removed.is_empty());
    let store = space.reopen();
    let collected = store.collect(&Collect { keep: BTreeSet::from([key]), keep_runs: Some(1), ..collect() }).unwrap();
    assert_eq!(collected.removed["damaged"].bytes, 5);
    assert_eq!((collected.removed["wip"].count, collected.removed["runs"].count), (1, 2));
    assert!(!space.store.root().join("wip").join(old.hex()).exists());
    assert_eq!(space.store.runs().unwrap(), runs[2..]);
}

#[test]
fn a_limit_takes_the_cheapest_per_byte_that_is_not_shared() {
    let space = Space::new();
    let text = |letter: &str, length: usize| letter.repeat(length);
    let (big, small, shared) = (text("b", 50_000), text("s", 1000), text("x", 90_000));
    let cheap = publish(&space, "cheap", 1.0, &[("f", &big)]);
    let dear = publish(&space, "dear", 100.0, &[("f", &text("d", 50_000))]);
    let one = publish(&space, "one", 1.0, &[("f", &shared), ("g", &small)]);
    let two = publish(&space, "two", 1e6, &[("f", &shared)]);
    let size = space.store.usage().unwrap().bytes();

    let limit = |below: u64| Collect { max_size: Some(size - below), ..collect() };
    assert!(run(&space, &limit(0)).evicted.is_empty());
    let collected = run(&space, &limit(10_000));
    assert_eq!(evicted(&collected), [cheap]);
    assert!(collected.left() <= size - 10_000);
    assert!(!is_hit(&space, &cheap) && is_hit(&space, &dear) && is_hit(&space, &one));
    assert!(space.store.receipt(&cheap).unwrap().is_some(), "what plans go on from");

    let collected = run(&space, &limit(101_000));
    assert_eq!(evicted(&collected), [one, dear], "a second owner of the shared blob is left");
    assert!(is_hit(&space, &two));
    assert!(space.store.verify().unwrap().iter().all(|damage| damage.to_string().contains("missing")));
}

#[test]
fn kept_and_pinned_actions_stay_whatever_the_limit() {
    let space = Space::new();
    let keys = ["a", "b", "c"].map(|name| publish(&space, name, 1.0, &[("f", &name.repeat(1000))]));
    space.store.pin("the paper/v1", &keys[1]).unwrap();
    let all = Collect { max_size: Some(0), keep: BTreeSet::from([keys[0]]), ..collect() };
    assert_eq!(evicted(&run(&space, &all)), [keys[2]]);
    assert!(is_hit(&space, &keys[0]) && is_hit(&space, &keys[1]) && !is_hit(&space, &keys[2]));
}

#[test]
fn pins_survive_are_listed_and_guard_from_removal() {
    let space = Space::new();
    let (a, b) =
        (publish(&space, "a", 1.0, &[("f", "only a"), ("g", "both")]), publish(&space, "b", 1.0, &[("g", "both")]));
    assert!(matches!(space.store.pin("x", &Digest::of("nobody")), Err(StoreError::NoReceipt { .. })));
    for name in ["best", "../日本 🦀", "best"] {
        space.store.pin(name, &a).unwrap();
    }
    let pins = space.reopen().pins().unwrap();
    assert_eq!(pins.into_iter().collect::<Vec<_>>(), [("../日本 🦀".to_string(), a), ("best".to_string(), a)]);
    let error = space.store.remove(&a).unwrap_err();
    assert!(matches!(error, StoreError::Pinned { .. }) && error.to_string().contains("`best`"), "{error}");
    space.store.pin("best", &b).unwrap();
    fs::write(space.store.wip(&a).unwrap().join("step-10"), "state").unwrap();
    assert!(space.store.unpin("../日本 🦀").unwrap() && !space.store.unpin("../日本 🦀").unwrap());

    let removed = space.reopen().remove(&a).unwrap().removed;
    assert_eq!((removed["receipts"].count, removed["blobs"].count), (1, 2), "its tree and its file");
    assert_eq!(removed["wip"], Removed { count: 1, bytes: 5 });
    assert!(space.store.receipt(&a).unwrap().is_none() && is_hit(&space, &b) && !space.blob("only a").exists());
    assert!(matches!(space.store.remove(&a), Err(StoreError::NoReceipt { .. })));

    fs::write(space.store.root().join("pins/best"), "{").unwrap();
    let error = space.store.collect(&collect()).unwrap_err();
    assert!(error.to_string().contains("pins/best") && error.to_string().contains("pin again"), "{error}");
}

#[test]
fn views_go_first_unless_somebody_reads_them() {
    let space = Space::new();
    let made = space.folder("made", &[("run", &"x".repeat(10_000))]);
    folder::chmod(&made.join("run"), 0o755).unwrap();
    let key = publish(&space, "made", 1.0, &[]);
    let artifact = artifact(&space, &key);
    let reader = space.reopen();
    let view = reader.view(&artifact).unwrap();
    let size = space.store.usage().unwrap().bytes();
    let limit = Collect { max_size: Some(size - 5000), ..collect() };
    assert!(!run(&space, &limit).removed.contains_key("views"), "its bytes would not come free");
    assert_eq!(listing(&view), listing(&made));

    drop(reader);
    let collected = run(&space, &limit);
    assert!(collected.evicted.is_empty() && collected.removed["views"].bytes == 10_000, "{collected:?}");
    assert!(!view.exists() && is_hit(&space, &key));
    assert_eq!(listing(&space.reopen().view(&artifact).unwrap()), listing(&made));
    space.store.forget(&key).unwrap();
    assert_eq!(run(&space, &collect()).removed["views"].count, 1, "nobody made it");
}

#[test]
fn what_a_living_process_has_put_is_not_taken_before_its_receipt() {
    let space = Space::new();
    let made = space.folder("made", &[("x", "alpha")]);
    let artifact = space.reopen().put_tree(&made, &|_| None).unwrap();
    let writer = space.reopen();
    assert_eq!(writer.put_tree(&made, &|_| None).unwrap(), artifact, "found, not written");
    assert!(run(&space, &collect()).removed.is_empty());
    writer.publish(&Digest::of("key"), &receipt(artifact)).unwrap();
    drop(writer);
    assert!(run(&space, &collect()).removed.is_empty());
    space.store.forget(&Digest::of("key")).unwrap();
    assert_eq!(run(&space, &collect()).removed["blobs"].count, 2);
}

#[test]
fn a_clock_that_goes_back_makes_nothing_garbage() {
    let space = Space::new();
    space.reopen().put_tree(&space.folder("made", &[("x", "alpha")]), &|_| None).unwrap();
    let key = publish(&space, "a", 1.0, &[("y", "beta")]);
    let yesterday = Collect { now: SystemTime::now() - DAY, ..collect() };
    assert!(run(&space, &yesterday).removed.is_empty());
    let tomorrow = Collect { now: SystemTime::now() + DAY, grace: DAY / 2, ..collect() };
    assert_eq!(run(&space, &tomorrow).removed["blobs"].count, 2);
    assert!(is_hit(&space, &key));
}

/// Writers put, publish, view and end; a collector takes all it may, all the time.
#[test]
fn nobody_loses_anything_beside_a_collection() {
    let space = Space::new();
    let folders: Vec<_> =
        (0..6).map(|i| space.folder(&format!("{i}"), &[("own", &format!("{i}")), ("all", "same")])).collect();
    let done = AtomicBool::new(false);
    let work = |writer: usize| {
        for round in 0..30 {
            let (store, made) = (space.reopen(), &folders[(writer * 5 + round) % folders.len()]);
            let (artifact, key) = (store.put_tree(made, &|_| None).unwrap(), Digest::of([writer as u8, round as u8]));
            store.publish(&key, &receipt(artifact)).unwrap();
            assert!(store.hit(&key).unwrap().is_some(), "held by its writer");
            let view = store.view(&artifact).unwrap();
            thread::yield_now();
            assert_eq!(listing(&view), listing(made));
        }
    };
    let collections = thread::scope(|scope| {
        let writers: Vec<_> = (0..3).map(|writer| scope.spawn(move || work(writer))).collect();
        let collector = scope.spawn(|| {
            let (store, mut count) = (space.reopen(), 0);
            while !done.load(Ordering::Relaxed) {
                store.collect(&Collect { max_size: Some(0), forget: Some(Duration::ZERO), ..collect() }).unwrap();
                count += 1;
            }
            count
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        collector.join().unwrap()
    });
    assert!(collections > 0);
    drop(space.reopen().collect(&Collect { max_size: Some(0), ..collect() }).unwrap());
    assert_eq!(space.store.usage().unwrap().part("blobs").unwrap().files, 0);
    assert_eq!(folder::list(&space.store.root().join("tmp")).unwrap().len(), 0, "no session is left");
}
