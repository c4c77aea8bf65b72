//! What a run with nothing to do asks of the store: every action's receipt and whether all that it made is there.
//!
//! `cargo bench -p gazal-store --bench hit`; the store lies in `$TMPDIR`. It is made in memory where `/dev/shm` is,
//! and copied: 100,000 durable receipts would take an hour of syncing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use gazal_store::{Digest, Output, Receipt, Store};
use serde_json::json;
use tempfile::TempDir;

fn main() {
    divan::main();
    // Statics are not dropped, and folders would be left behind.
    STORES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Stores by their number of actions.
static STORES: Mutex<BTreeMap<usize, TempDir>> = Mutex::new(BTreeMap::new());

fn key(index: usize) -> Digest {
    Digest::of(format!("action {index}"))
}

/// A store with so many actions, made once.
fn store(actions: usize) -> PathBuf {
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    stores.entry(actions).or_insert_with(|| make(actions)).path().join("store")
}

fn make(actions: usize) -> TempDir {
    let memory = Path::new("/dev/shm");
    let draft = if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() };
    let (store, folder) = (Store::open(&draft.path().join("store")).unwrap(), draft.path().join("made"));
    fs::create_dir(&folder).unwrap();
    (0..actions).for_each(|index| publish(&store, &folder, index));
    drop(store);
    let place = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(draft.path().join("store")).arg(place.path()).status().unwrap();
    assert!(copied.success());
    place
}

/// A receipt of the usual size, with one output of one file.
fn publish(store: &Store, folder: &Path, index: usize) {
    fs::write(folder.join("metrics.json"), format!("{{\"step\": {index}}}")).unwrap();
    let artifact = store.put_tree(folder, &|_| None).unwrap();
    let params = json!({"command": ["sh", "-c", format!("cp $GAZAL_INPUT_text/{index} $GAZAL_OUTPUT_out/")],
        "learning_rate": 2e-4, "sources": {"scripts/copy.sh": Digest::of("source")}});
    let manifest = json!({"version": 1, "kind": "exec", "revision": 3, "params": params, "seed": index,
        "inputs": {"text": [Digest::of(format!("input {index}"))]}, "device": null});
    let output = Output { artifact, kind: "files".into(), role: "value".into() };
    let receipt = Receipt {
        manifest,
        outputs: BTreeMap::from([("out".to_string(), output)]),
        seconds: 1.25,
        finished: "2025-11-21T09:33:05.000Z".into(),
        host: "here".into(),
        program: "gazal-pipe 0.1.0".into(),
        peak_bytes: Some(1 << 24),
    };
    store.publish(&key(index), &receipt).unwrap();
}

/// All actions of a store asked for by a program that has just begun: what planning takes.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 5, sample_size = 1)]
fn all_made(bencher: divan::Bencher, actions: usize) {
    let root = store(actions);
    let keys: Vec<Digest> = (0..actions).map(key).collect();
    let ask = || {
        let store = Store::open(&root).unwrap();
        keys.iter().for_each(|key| assert!(store.made(key).unwrap().is_some()));
    };
    // The index is made by the first look at what has been still for two seconds.
    std::thread::sleep(std::time::Duration::from_secs(3));
    ask();
    bencher.counter(actions).bench_local(ask);
}

/// The same with the whole receipts, manifests included.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 5, sample_size = 1)]
fn all_receipts(bencher: divan::Bencher, actions: usize) {
    let root = store(actions);
    let keys: Vec<Digest> = (0..actions).map(key).collect();
    bencher.counter(actions).bench_local(|| {
        let store = Store::open(&root).unwrap();
        keys.iter().for_each(|key| assert!(store.hit(key).unwrap().is_some()));
    });
}
