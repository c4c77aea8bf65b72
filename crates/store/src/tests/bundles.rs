//! Bundles arrive whole, or as much of them as is whole.

use std::fs;

use super::{Space, listing, receipt, rot};
use crate::{Digest, Imported, StoreError};

/// A store with two actions that share a file.
fn full() -> (Space, [Digest; 2]) {
    let (space, keys) = (Space::new(), [Digest::of("one"), Digest::of("two")]);
    for (key, name) in keys.iter().zip(["one", "two"]) {
        let made = space.folder(name, &[("own", name), ("shared", "both have it"), ("deep/empty", "")]);
        space.store.publish(key, &receipt(space.put(&made))).unwrap();
    }
    (space, keys)
}

fn export(space: &Space, keys: &[Digest]) -> Vec<u8> {
    let mut bundle = Vec::new();
    space.store.export(keys, &mut bundle).unwrap();
    bundle
}

/// What an import of something that is not whole says, and what it took.
fn import_broken(space: &Space, bundle: &[u8]) -> (String, Imported) {
    match space.store.import(&mut &*bundle) {
        Err(StoreError::Bundle { why, imported }) => (why, imported),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bundle_carries_receipts_and_all_that_they_made() {
    let (from, keys) = full();
    let bundle = export(&from, &keys);
    let to = Space::new();
    let imported = to.store.import(&mut bundle.as_slice()).unwrap();
    assert_eq!(imported.receipts.len(), 2);
    assert_eq!((imported.known.len(), imported.blobs), (0, 2 + 2 + 2));
    assert_eq!(imported.bytes, from.store.usage().unwrap().part("blobs").unwrap().bytes);
    for (key, name) in keys.iter().zip(["one", "two"]) {
        let hit = to.reopen().hit(key).unwrap().unwrap();
        assert_eq!(Some(&hit), from.store.receipt(key).unwrap().as_ref());
        let view = to.store.view(&hit.outputs["out"].artifact).unwrap();
        assert_eq!(listing(&view), listing(&from.path(name)));
    }
    let again = to.store.import(&mut bundle.as_slice()).unwrap();
    assert_eq!((again.receipts.len(), again.known.len(), again.blobs), (0, 2, 0));
    assert_eq!(export(&to, &[keys[1], keys[0], keys[1]]), bundle, "equal contents are equal bytes");
}

#[test]
fn what_is_not_there_cannot_be_exported() {
    let (space, keys) = full();
    let mut bundle = Vec::new();
    let error = space.store.export(&[Digest::of("nobody")], &mut bundle).unwrap_err();
    assert!(matches!(error, StoreError::NoReceipt { .. }), "{error}");
    rot(&space.blob("one"));
    assert!(space.store.export(&keys, &mut bundle).unwrap_err().is_damage());
    let (why, imported) = import_broken(&Space::new(), &bundle);
    assert!(why.contains("cut short") && imported.receipts.is_empty(), "{why}");
}

#[test]
fn a_bundle_cut_short_anywhere_gives_what_is_whole() {
    let (from, keys) = full();
    let bundle = export(&from, &keys);
    let to = Space::new();
    let mut hits = 0;
    for length in (0..bundle.len()).step_by(31).chain([bundle.len() - 1]) {
        let (why, imported) = import_broken(&to, &bundle[..length]);
        assert!(why.contains("cut short"), "{length}: {why}");
        hits += imported.receipts.len();
        let whole = keys.iter().filter(|key| to.reopen().hit(key).unwrap().is_some()).count();
        assert_eq!(whole, hits);
    }
    assert_eq!(hits, 2, "all but the end is there");
    assert!(to.store.verify().unwrap().is_empty());
}

#[test]
fn an_altered_bundle_gives_what_is_whole_and_says_so() {
    let (from, keys) = full();
    let bundle = export(&from, &keys);
    for at in (0..bundle.len()).step_by(89) {
        let (to, mut altered) = (Space::new(), bundle.clone());
        altered[at] ^= 4;
        let (why, imported) = import_broken(&to, &altered);
        assert!(!why.is_empty());
        for key in keys {
            let hit = to.reopen().hit(&key).unwrap();
            assert_eq!(hit.is_some(), imported.receipts.contains(&key), "byte {at}");
            if let Some(hit) = hit {
                assert_eq!(Some(hit), from.store.receipt(&key).unwrap(), "byte {at}");
            }
        }
        assert!(to.store.verify().unwrap().is_empty(), "byte {at}");
    }
    let at = bundle.windows(3).position(|window| window == b"one").unwrap();
    let mut altered = bundle;
    altered[at] ^= 4;
    let (why, imported) = import_broken(&Space::new(), &altered);
    assert_eq!(
        (why.as_str(), imported.receipts),
        ("2 of its parts are altered", vec![keys[1]]),
        "the blob and its receipt"
    );
}

#[test]
fn other_files_and_versions_are_refused() {
    let (space, keys) = full();
    let newer =
        export(&space, &keys).iter().enumerate().map(|(at, &byte)| if at == 13 { b'2' } else { byte }).collect();
    for bytes in [newer, b"something else, and long enough".to_vec()] {
        let error = space.store.import(&mut bytes.as_slice()).unwrap_err();
        assert!(!error.is_unusable() && error.to_string().contains("another version"), "{error}");
    }
    assert!(fs::read_dir(space.store.root().join("damaged")).unwrap().next().is_none());
}
