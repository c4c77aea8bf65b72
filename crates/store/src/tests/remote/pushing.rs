//! Giving results to a remote.

use std::fs;
use std::sync::Barrier;
use std::thread;

use super::{Site, Weather, artifact, expected, listing, noise, signing_key};
use crate::remote::Settings;
use crate::{Digest, Mode, Remote, StoreError};

const FILES: [(&str, &str); 2] = [("a.txt", "alpha"), ("b.txt", "beta")];

#[test]
fn what_is_there_is_not_sent_again() {
    for site in Site::both() {
        let (here, keys) = (site.machine(), [Digest::of("1"), Digest::of("2")]);
        let large = noise("large", 100_000);
        let files = [("a.txt", "alpha"), ("large", large.as_str())];
        keys.iter().for_each(|key| {
            here.make(key, &files);
        });
        let first = here.store.push(&keys[0]).unwrap().unwrap();
        assert_eq!((first.sent, first.present), (3, 0));
        assert!(first.bytes > 100_000 && first.conflicts.is_empty());
        let second = here.store.push(&keys[1]).unwrap().unwrap();
        assert_eq!((second.sent, second.bytes, second.present), (0, 0, 3));

        let again = here.again(&site, Mode::ReadWrite);
        let third = again.push(&keys[0]).unwrap().unwrap();
        assert_eq!((third.sent, third.present), (0, 3));
        assert!(again.remote().unwrap().traffic().sent < 10_000, "small ones are sent in vain, large ones are not");
        assert!(here.store.push(&Digest::of("never made")).unwrap().is_none());
    }
}

#[test]
fn no_receipt_is_published_over_a_blob_that_is_lost() {
    for site in Site::both() {
        let (here, key) = (site.machine(), Digest::of("key"));
        here.make(&key, &FILES);
        super::super::rot(&here.blob("beta"));
        let pushed = here.store.push(&key);
        assert!(pushed.as_ref().is_err_and(StoreError::is_damage), "{pushed:?}");
        assert!(site.files("receipts").is_empty());
        assert!(!site.blob("beta").exists());
    }
}

#[test]
fn two_results_for_one_key_are_told_and_both_stay() {
    for site in Site::both() {
        let (one, two, key) = (site.machine(), site.machine(), Digest::of("key"));
        two.believe(&one);
        let first = one.share(&key, &[("text", "first")]);
        let second = two.make(&key, &[("text", "second")]);
        let pushed = two.store.push(&key).unwrap().unwrap();
        let [conflict] = pushed.conflicts.as_slice() else { panic!("{pushed:?}") };
        assert_eq!((conflict.key, conflict.output.as_str()), (key, "out"));
        assert_eq!(conflict.principal, one.store.public_key().unwrap().to_string());
        assert_eq!((conflict.ours, conflict.theirs), (Some(artifact(&second).content), Some(artifact(&first).content)));
        two.store.push(&key).unwrap();
        assert_eq!(two.reopen().conflicts().unwrap(), pushed.conflicts, "kept, once");
        assert_eq!(site.files("receipts").len(), 2);

        let there = site.reader(&one);
        assert_eq!(there.store.hit(&key).unwrap(), Some(first));
    }
}

#[test]
fn one_principal_does_not_take_back_what_it_said() {
    for site in Site::both() {
        let (here, key) = (site.machine(), Digest::of("key"));
        let first = here.share(&key, &[("text", "first")]);
        here.make(&key, &[("text", "second")]);
        let pushed = here.store.push(&key).unwrap().unwrap();
        assert_eq!(pushed.conflicts.len(), 1);
        assert_eq!(site.reader(&here).store.hit(&key).unwrap(), Some(first));

        let record = |text: &str| {
            let mut receipt = here.make(&key, &[("text", text)]);
            receipt.outputs.get_mut("out").unwrap().role = "record".into();
            here.store.publish(&key, &receipt).unwrap();
        };
        record("third");
        fs::remove_dir_all(site.objects.join("v1/receipts")).unwrap();
        here.store.push(&key).unwrap();
        record("fourth");
        assert!(here.store.push(&key).unwrap().unwrap().conflicts.is_empty(), "records may differ");
    }
}

/// Four machines with one signing key, as the workers of one cluster have it.
#[test]
fn many_writers_of_one_key_leave_one_whole_result() {
    for site in Site::both() {
        let settings =
            Settings { mode: Mode::ReadWrite, signing_key: Some(signing_key("cluster")), ..site.settings.clone() };
        let machines: Vec<_> = (0..4)
            .map(|_| {
                let mut space = site.machine();
                space.store = space.store.clone().attach(Remote::open(settings.clone()).unwrap());
                space
            })
            .collect();
        let (key, barrier) = (Digest::of("key"), Barrier::new(4));
        machines.iter().for_each(|space| {
            space.make(&key, &FILES);
        });
        thread::scope(|scope| {
            for space in &machines {
                scope.spawn(|| {
                    barrier.wait();
                    assert!(space.store.push(&key).unwrap().unwrap().conflicts.is_empty());
                });
            }
        });
        assert_eq!(site.files("receipts").len(), 1);
        let there = site.reader(&machines[0]);
        let receipt = there.store.pull(&key).unwrap().unwrap();
        assert_eq!(listing(&there.store.view(&artifact(&receipt)).unwrap()), expected(&FILES));
    }
}

#[test]
fn what_came_from_another_keeps_its_signature() {
    let (first, second) = (Site::folder(), Site::s3());
    let (maker, key) = (first.machine(), Digest::of("key"));
    let made = maker.share(&key, &FILES);
    let carrier = first.reader(&maker);
    carrier.store.pull(&key).unwrap().unwrap();
    let onward = carrier.again(&second, Mode::ReadWrite);
    assert_eq!(onward.push(&key).unwrap().unwrap().sent, 3);
    assert!(second.receipt(&key, &maker.store.public_key().unwrap()).exists());

    assert_eq!(second.reader(&maker).store.hit(&key).unwrap(), Some(made));
    let believes_the_carrier = second.reader(&carrier);
    assert!(believes_the_carrier.store.hit(&key).unwrap().is_none(), "the carrier vouches for nothing");
    assert_eq!(believes_the_carrier.remote().refused().len(), 1);
}

#[test]
fn what_cannot_be_read_is_not_taken_back() {
    let (site, key) = (Site::s3(), Digest::of("key"));
    let here = site.machine();
    let first = here.share(&key, &[("text", "first")]);
    here.make(&key, &[("text", "second")]);
    site.wire().set(Weather::Deaf);
    let pushed = here.again(&site, Mode::ReadWrite).push(&key);
    assert!(matches!(pushed, Err(StoreError::Remote { .. })), "{pushed:?}");
    site.wire().set(Weather::Fair);
    assert_eq!(site.reader(&here).store.hit(&key).unwrap(), Some(first));
}
