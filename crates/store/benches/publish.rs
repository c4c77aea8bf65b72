//! What a small action costs beside its own work: an artifact of one file is put, and a receipt published over it,
//! durably. And what putting and hashing a large file costs, in bytes a second.
//!
//! `cargo bench -p gazal-store --bench publish`; the store lies in `$TMPDIR`, whose disk is what is measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use divan::Bencher;
use divan::counter::BytesCount;
use gazal_store::{Digest, Output, Receipt, Store};
use serde_json::json;
use tempfile::TempDir;

/// Of the large file, in bytes.
const LARGE: usize = 1 << 28;

fn main() {
    divan::main();
}

/// A store and a folder with one file beside it.
struct Space {
    dir: TempDir,
    store: Store,
    next: Cell<usize>,
}

impl Space {
    fn new() -> Space {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        fs::create_dir(dir.path().join("made")).unwrap();
        Space { dir, store, next: Cell::new(0) }
    }

    fn made(&self) -> PathBuf {
        self.dir.path().join("made")
    }

    /// A store with nothing in it.
    fn unseen(&self) -> Store {
        let index = self.next.replace(self.next.get() + 1);
        Store::open(&self.dir.path().join(format!("store {index}"))).unwrap()
    }

    /// Something to publish that has not been published yet.
    fn fresh(&self) -> Digest {
        let index = self.next.replace(self.next.get() + 1);
        fs::write(self.made().join("metrics.json"), format!("{{\"step\": {index}}}")).unwrap();
        Digest::of(format!("action {index}"))
    }
}

fn receipt(store: &Store, key: &Digest, made: &Path) {
    let mut publication = store.publication();
    let artifact = publication.put_tree(made, &|_| None).unwrap();
    let output = Output { artifact, kind: "files".into(), role: "value".into() };
    let receipt = Receipt {
        manifest: json!({"version": 1, "kind": "source", "params": {"path": key}}),
        outputs: BTreeMap::from([("out".to_string(), output)]),
        seconds: 1.0,
        finished: "2025-11-21T09:33:05.000Z".into(),
        host: "here".into(),
        program: "gazal-pipe".into(),
        peak_bytes: None,
    };
    publication.publish(key, &receipt).unwrap();
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn small(bencher: Bencher) {
    let space = Space::new();
    receipt(&space.store, &space.fresh(), &space.made());
    bencher.with_inputs(|| space.fresh()).bench_local_values(|key| receipt(&space.store, &key, &space.made()));
}

/// A file in the page cache that no store has seen.
fn large(space: &Space) -> PathBuf {
    let path = space.made().join("large");
    fs::write(&path, (0..LARGE).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<u8>>()).unwrap();
    path
}

/// By stores that have never seen it.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn hash(bencher: Bencher) {
    let space = Space::new();
    let path = large(&space);
    bencher
        .counter(BytesCount::new(LARGE))
        .with_inputs(|| space.unseen())
        .bench_local_values(|store| store.digest_path(&path).unwrap());
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn put(bencher: Bencher) {
    let space = Space::new();
    large(&space);
    bencher
        .counter(BytesCount::new(LARGE))
        .with_inputs(|| space.unseen())
        .bench_local_values(|store| store.put_tree(&space.made(), &|_| None).unwrap());
}
