//! The index of hits answers as the receipts do, and is believed only as long as they are as they were.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::{Space, overwrite, receipt};
use crate::{Digest, Store};

fn index(space: &Space) -> Vec<u8> {
    fs::read(space.store.root().join("hit-index")).unwrap_or_default()
}

/// A store with an indexed receipt.
fn indexed() -> (Space, Digest) {
    let (space, key) = (Space::new(), Digest::of("key"));
    space.store.publish(&key, &receipt(space.artifact())).unwrap();
    sleep(Duration::from_millis(2100));
    assert!(space.reopen().made(&key).unwrap().is_some());
    assert!(!index(&space).is_empty());
    (space, key)
}

/// Whether both questions get this answer, from a store that has just been opened.
fn assert_hit(space: &Space, key: &Digest, expected: bool) {
    let store: Store = space.reopen();
    assert_eq!(store.made(key).unwrap().is_some(), expected);
    assert_eq!(store.hit(key).unwrap().is_some(), expected);
}

#[test]
fn what_has_just_been_published_is_a_hit_and_not_indexed_yet() {
    let (space, key) = (Space::new(), Digest::of("key"));
    assert!(space.store.made(&key).unwrap().is_none());
    let receipt = receipt(space.artifact());
    space.store.publish(&key, &receipt).unwrap();
    let made = space.reopen().made(&key).unwrap().unwrap();
    assert_eq!((made.output("out"), made.seconds), (Some(&receipt.outputs["out"]), receipt.seconds));
    assert_eq!((made.outputs.len(), made.output("in")), (1, None));
    assert!(index(&space).is_empty());
}

#[test]
fn an_indexed_hit_reads_neither_receipt_nor_tree() {
    let (space, key) = indexed();
    let before = index(&space);
    assert_hit(&space, &key, true);
    assert_eq!(index(&space), before, "nothing was entered again");

    // An index that lies shows that it is asked.
    let (sealed, lie) = (1.25_f64.to_le_bytes(), 9.5_f64.to_le_bytes());
    let at = before.windows(8).position(|window| window == sealed).unwrap();
    let mut bytes = before;
    bytes[at..at + 8].copy_from_slice(&lie);
    let check = blake3::hash(&bytes[12..]);
    bytes[4..12].copy_from_slice(&check.as_bytes()[..8]);
    fs::write(space.store.root().join("hit-index"), bytes).unwrap();
    assert_eq!(space.reopen().made(&key).unwrap().unwrap().seconds, 9.5);
    space.store.publish(&key, &receipt(space.artifact())).unwrap();
    assert_eq!(space.reopen().made(&key).unwrap().unwrap().seconds, 1.25, "another file in its place");
}

#[test]
fn an_indexed_hit_falls_with_anything_that_it_needs() {
    let spoil: [fn(&Space, &Digest); 5] = [
        |space, _| fs::remove_file(space.blob("beta")).unwrap(),
        |space, _| overwrite(&space.blob("alpha")),
        |space, _| overwrite(&space.store.blob_path(&space.artifact().bytes)),
        |space, key| overwrite(&space.store.sharded("receipts", key)),
        |space, key| space.store.forget(key).unwrap(),
    ];
    for spoil in spoil {
        let (space, key) = indexed();
        assert_hit(&space, &key, true);
        spoil(&space, &key);
        assert_hit(&space, &key, false);
    }
}

#[test]
fn a_lost_or_broken_index_costs_nothing_but_time() {
    let (space, key) = indexed();
    let (whole, path) = (index(&space), space.store.root().join("hit-index"));
    for bytes in [Vec::new(), whole[..whole.len() - 1].to_vec(), vec![0; 100], b"something else".to_vec()] {
        fs::write(&path, bytes).unwrap();
        assert_hit(&space, &key, true);
        assert_eq!(index(&space), whole);
    }
}
