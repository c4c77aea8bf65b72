//! Bytes that changed are found by everything that could give them away, and cost one more execution, no more.

use std::fs::{self, File};

use super::{Space, listing, overwrite, receipt, rot};
use crate::{Artifact, Damage, Digest, Fault, Store, StoreError, Verify, folder};

fn assert_damaged<T: std::fmt::Debug>(result: Result<T, StoreError>, text: &str, expected: Fault) {
    match result {
        Err(StoreError::Damaged { digest, fault }) => assert_eq!((digest, fault), (Digest::of(text), expected)),
        other => panic!("{other:?}"),
    }
}

/// A way to read an artifact, and its name.
type Reader = (&'static str, fn(&Space, &Artifact) -> Result<(), StoreError>);

const READERS: [Reader; 2] = [
    ("view", |space, artifact| space.store.view(artifact).map(|_| ())),
    ("restore", |space, artifact| space.store.restore(artifact, &space.path("copy"))),
];

#[test]
fn a_rotten_blob_is_found_named_and_made_again() {
    for (name, read) in READERS {
        let space = Space::new();
        let (artifact, key) = (space.artifact(), Digest::of("key"));
        space.store.publish(&key, &receipt(artifact)).unwrap();
        rot(&space.blob("alpha"));
        assert!(space.store.hit(&key).unwrap().is_some(), "{name}: metadata cannot tell, so the bytes must");

        let error = read(&space, &artifact).unwrap_err();
        assert!(error.to_string().contains(&Digest::of("alpha").hex()) && !error.is_unusable());
        assert_damaged(Err::<(), _>(error), "alpha", Fault::Altered);
        assert!(!space.path("copy").exists(), "nothing half-made");
        assert!(folder::list(&space.store.root().join("views")).unwrap().is_empty());
        assert!(space.store.root().join("damaged").join(Digest::of("alpha").hex()).exists());
        assert!(!space.store.has(&artifact));
        assert!(space.store.hit(&key).unwrap().is_none());
        assert!(space.store.receipt(&key).unwrap().is_some(), "what `explain` needs is still there");
        assert_damaged(read(&space, &artifact), "alpha", Fault::Missing);

        assert_eq!(space.artifact(), artifact);
        read(&space, &artifact).unwrap();
        assert!(space.store.hit(&key).unwrap().is_some());
    }
}

#[test]
fn a_write_into_a_blob_is_seen_without_reading_everything() {
    let space = Space::new();
    let (artifact, key) = (space.artifact(), Digest::of("key"));
    space.store.publish(&key, &receipt(artifact)).unwrap();
    overwrite(&space.blob("alpha"));
    assert!(space.store.hit(&key).unwrap().is_none());
    assert_damaged(space.store.check(&artifact), "alpha", Fault::Missing);
    assert_damaged(space.store.publish(&key, &receipt(artifact)), "alpha", Fault::Missing);
}

#[test]
fn a_write_through_a_view_never_reaches_a_reader() {
    let space = Space::new();
    let (artifact, key) = (space.artifact(), Digest::of("key"));
    space.store.publish(&key, &receipt(artifact)).unwrap();
    let view = space.store.view(&artifact).unwrap();
    overwrite(&view.join("a.txt"));
    assert!(space.store.hit(&key).unwrap().is_none());
    assert_damaged(space.store.view(&artifact), "alpha", Fault::Missing);

    assert_eq!(space.artifact(), artifact);
    let view = space.store.view(&artifact).unwrap();
    assert_eq!(listing(&view), listing(&space.path("made")));
}

#[test]
fn a_view_over_a_blob_that_rotted_falls_with_it() {
    let space = Space::new();
    let artifact = space.artifact();
    let view = space.store.view(&artifact).unwrap();
    rot(&space.blob("alpha"));
    assert_eq!(space.store.verify().unwrap(), [Damage::Blob { digest: Digest::of("alpha") }]);
    assert_damaged(space.store.view(&artifact), "alpha", Fault::Missing);
    space.artifact();
    assert_eq!(space.store.view(&artifact).unwrap(), view);
    assert_eq!(listing(&view), listing(&space.path("made")));
}

#[test]
fn a_view_with_something_missing_or_added_is_made_anew() {
    let space = Space::new();
    let artifact = space.artifact();
    let expected = listing(&space.path("made"));
    let spoil: [fn(&std::path::Path); 3] = [
        |view| fs::remove_file(view.join("a.txt")).unwrap(),
        |view| fs::write(view.join("extra"), "x").unwrap(),
        |view| fs::remove_dir_all(view).unwrap(),
    ];
    for spoil in spoil {
        let view = space.store.view(&artifact).unwrap();
        folder::chmod(&view, 0o755).unwrap();
        folder::chmod(&view.join("deep"), 0o755).unwrap();
        spoil(&view);
        assert_eq!(listing(&space.store.view(&artifact).unwrap()), expected);
    }
}

#[test]
fn an_executable_in_a_view_is_guarded_too() {
    let space = Space::new();
    let made = space.folder("made", &[("run.sh", "#!/bin/sh")]);
    folder::chmod(&made.join("run.sh"), 0o755).unwrap();
    let artifact = space.put(&made);
    let view = space.store.view(&artifact).unwrap();
    overwrite(&view.join("run.sh"));
    assert!(space.store.has(&artifact), "it is a copy");
    assert_eq!(listing(&space.store.view(&artifact).unwrap()), listing(&made));
}

#[test]
fn verify_names_all_damage_and_what_it_costs() {
    let space = Space::new();
    let (artifact, keys) = (space.artifact(), [Digest::of("k1"), Digest::of("k2"), Digest::of("k3")]);
    keys.iter().for_each(|key| space.store.publish(key, &receipt(artifact)).unwrap());
    assert!(space.store.verify().unwrap().is_empty());

    rot(&space.blob("beta"));
    overwrite(&space.store.sharded("receipts", &keys[1]));
    let (beta, damage) = (Digest::of("beta"), space.store.verify().unwrap());
    assert_eq!(damage.len(), 4, "{damage:?}");
    assert!(damage.contains(&Damage::Blob { digest: beta }));
    assert!(damage.contains(&Damage::Receipt { key: keys[1] }));
    for key in [keys[0], keys[2]] {
        let output = Damage::Output { key, output: "out".into(), digest: beta, fault: Fault::Missing };
        assert!(damage.contains(&output) && output.to_string().contains(&beta.hex()));
    }
    assert_eq!(space.store.usage().unwrap().part("damaged").unwrap().files, 1);
}

#[test]
fn a_sample_is_the_same_for_equal_seeds_and_all_of_them_are_everything() {
    let space = Space::new();
    let texts: Vec<String> = (0..200).map(|i| format!("file {i}")).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|text| (text.as_str(), text.as_str())).collect();
    space.put(&space.folder("made", &files));
    let hashed = |sample, seed| {
        let mut told = Vec::new();
        space.store.verify_some(&Verify { sample, seed }, &mut |done, total| told.push((done, total))).unwrap();
        let (done, total) = told.last().copied().unwrap_or_default();
        assert_eq!(done, total);
        (told.len(), total)
    };
    let all = space.store.usage().unwrap().part("blobs").unwrap().bytes;
    assert_eq!((hashed(None, 0), hashed(Some(1.0), 7)), ((201, all), (201, all)));
    assert_eq!(hashed(Some(0.0), 7), (0, 0));
    let (count, _) = hashed(Some(0.25), 7);
    assert!((20..80).contains(&count), "{count} of 201");
    assert_eq!(hashed(Some(0.25), 7), hashed(Some(0.25), 7));

    texts.iter().for_each(|text| rot(&space.blob(text)));
    let sample = |seed| space.reopen().verify_some(&Verify { sample: Some(0.25), seed }, &mut |_, _| {}).unwrap();
    let (first, other) = (sample(7), sample(8));
    assert!(!first.is_empty() && !other.is_empty() && first != other);
    assert_eq!(first.len() + other.len() + space.store.verify().unwrap().len(), 200, "each found once");
}

#[test]
fn a_damaged_manifest_of_a_tree_is_damage_like_any_other() {
    let space = Space::new();
    let artifact = space.artifact();
    rot(&space.store.blob_path(&artifact.bytes));
    let view = space.store.view(&artifact);
    assert!(matches!(view, Err(StoreError::Damaged { digest, .. }) if digest == artifact.bytes), "{view:?}");
    assert_eq!(space.artifact(), artifact);
    space.store.view(&artifact).unwrap();
}

#[test]
fn a_blob_cut_short_is_replaced_when_it_is_stored_again() {
    let space = Space::new();
    let artifact = space.artifact();
    let blob = space.blob("alpha");
    folder::chmod(&blob, 0o644).unwrap();
    File::options().write(true).open(&blob).unwrap().set_len(2).unwrap();
    assert_eq!(space.artifact(), artifact);
    assert_eq!(fs::read_to_string(&blob).unwrap(), "alpha");
}

/// `cp -r` of a store gives all files new times.
#[test]
fn a_store_that_was_copied_without_its_times_is_hashed_once_and_trusted_again() {
    let space = Space::new();
    let artifact = space.artifact();
    let blob = space.blob("alpha");
    File::open(&blob).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert!(space.store.has(&artifact));
    let restored: std::time::SystemTime = fs::metadata(&blob).unwrap().modified().unwrap();
    assert_eq!(crate::rfc3339(restored), "2001-09-09T01:46:40.000Z");
    assert!(Store::open(space.store.root()).unwrap().verify().unwrap().is_empty());
}
