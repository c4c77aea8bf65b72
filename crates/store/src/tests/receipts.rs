//! What is remembered by key: receipts, checkpoints, memo, runs.

use std::fs;

use super::{Space, overwrite, receipt};
use crate::{Digest, StoreError};

#[test]
fn a_receipt_is_a_hit_as_long_as_its_outputs_are_there() {
    let space = Space::new();
    let (key, receipt) = (Digest::of("key"), receipt(space.artifact()));
    assert!(space.store.hit(&key).unwrap().is_none());
    space.store.publish(&key, &receipt).unwrap();
    assert_eq!(space.reopen().hit(&key).unwrap().unwrap(), receipt);
    fs::remove_file(space.blob("beta")).unwrap();
    assert!(space.store.hit(&key).unwrap().is_none());
    assert_eq!(space.store.receipt(&key).unwrap().unwrap(), receipt);
}

#[test]
fn a_receipt_can_be_replaced_listed_and_forgotten() {
    let space = Space::new();
    let (keys, mut receipt) = ([Digest::of("1"), Digest::of("2")], receipt(space.artifact()));
    keys.iter().for_each(|key| space.store.publish(key, &receipt).unwrap());
    receipt.seconds = 0.1 + 0.2;
    space.store.publish(&keys[0], &receipt).unwrap();
    assert_eq!(space.store.receipt(&keys[0]).unwrap().unwrap().seconds, 0.1 + 0.2);

    let mut listed: Vec<Digest> = space.store.receipts().map(|item| item.unwrap().0).collect();
    listed.sort_by_key(|key| keys.iter().position(|other| other == key));
    assert_eq!(listed, keys);
    space.store.forget(&keys[0]).unwrap();
    space.store.forget(&keys[0]).unwrap();
    assert!(space.store.receipt(&keys[0]).unwrap().is_none());
    assert_eq!(space.store.receipts().count(), 1);
}

#[test]
fn an_altered_or_misplaced_receipt_is_a_miss() {
    let space = Space::new();
    let (a, b) = (Digest::of("a"), Digest::of("b"));
    space.store.publish(&a, &receipt(space.artifact())).unwrap();
    let place = space.store.sharded("receipts", &b);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(space.store.sharded("receipts", &a), &place).unwrap();
    assert!(space.store.receipt(&b).unwrap().is_none());
    let path = space.store.sharded("receipts", &a);
    let text = fs::read_to_string(&path).unwrap().replace("0.0002", "0.0003");
    fs::write(&path, text).unwrap();
    assert!(space.store.hit(&a).unwrap().is_none());
    fs::write(&path, "").unwrap();
    assert!(space.store.receipt(&a).unwrap().is_none());
    assert_eq!(space.store.receipts().count(), 0);
}

#[test]
fn checkpoints_stay_until_they_are_cleared() {
    let space = Space::new();
    let key = Digest::of("key");
    fs::write(space.store.wip(&key).unwrap().join("step-10"), "state").unwrap();
    let again = space.reopen().wip(&key).unwrap();
    assert_eq!(fs::read_to_string(again.join("step-10")).unwrap(), "state");
    space.store.clear_wip(&key).unwrap();
    space.store.clear_wip(&key).unwrap();
    assert!(!again.exists());
}

#[test]
fn the_memo_answers_by_namespace_and_never_with_broken_values() {
    let space = Space::new();
    let key = Digest::of("question");
    assert!(space.store.memo_get("judge", &key).unwrap().is_none());
    space.store.memo_put("judge", &key, b"no").unwrap();
    space.store.memo_put("judge", &key, b"yes").unwrap();
    space.store.memo_put("../judge", &key, b"").unwrap();
    assert_eq!(space.reopen().memo_get("judge", &key).unwrap().unwrap(), b"yes");
    assert_eq!(space.store.memo_get("../judge", &key).unwrap().unwrap(), b"");
    let path = space.store.root().join("memo/judge").join(&key.hex()[..2]).join(key.hex());
    overwrite(&path);
    assert!(space.store.memo_get("judge", &key).unwrap().is_none());
    fs::write(&path, "short").unwrap();
    assert!(space.store.memo_get("judge", &key).unwrap().is_none());
}

#[test]
fn runs_are_found_by_id_by_its_beginning_and_as_the_last() {
    let space = Space::new();
    let message = space.store.run("last").unwrap_err().to_string();
    assert!(message.contains("nothing has run yet"), "{message}");
    let made: Vec<_> = (0..4).map(|_| space.store.new_run().unwrap()).collect();
    fs::write(made[0].file("run.json"), "{}").unwrap();
    assert_eq!(space.store.runs().unwrap(), made);
    assert_eq!(space.store.run("last").unwrap(), made[3]);
    assert_eq!(space.store.run(made[1].id()).unwrap(), made[1]);
    assert!(space.store.run("2").unwrap_err().to_string().contains("4 runs begin like this"));
    assert!(matches!(space.store.run("../blobs"), Err(StoreError::NoRun { .. })));
    made[1..].iter().for_each(|run| fs::remove_dir(run.path()).unwrap());
    assert_eq!(space.store.run(&made[0].id()[..12]).unwrap(), made[0]);
}
