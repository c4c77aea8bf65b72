//! A remote that has lost or altered what it promised: that costs work, and never gives wrong bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{Mode, Site, Space, artifact, cut, expected, listing, noise};
use crate::{Digest, Fault, Receipt, StoreError, folder};

#[derive(Clone, Copy, Debug)]
enum Harm {
    Delete,
    Cut,
    Flip,
}

const HARMS: [Harm; 3] = [Harm::Delete, Harm::Cut, Harm::Flip];

fn harm(path: &Path, how: Harm) {
    match how {
        Harm::Delete => fs::remove_file(path).unwrap(),
        Harm::Cut => cut(path),
        Harm::Flip => {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 16;
            fs::write(path, bytes).unwrap();
        }
    }
}

/// A share of the paths, the same ones for the same seed.
fn chosen(paths: Vec<PathBuf>, percent: u64, seed: u64) -> Vec<PathBuf> {
    let draw = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        u64::from(Digest::of(format!("{seed} {name}")).as_bytes()[0]) * 100 < percent * 256
    };
    let mut paths: Vec<PathBuf> = paths.into_iter().filter(|path| draw(path)).collect();
    paths.sort();
    paths
}

/// Some actions with what they make. Files are shared among them, and one tree is too large to go with its receipt.
struct Works {
    keys: Vec<Digest>,
    files: Vec<Vec<(String, String)>>,
}

impl Works {
    fn new() -> Works {
        let works = 0..4;
        let files = works.clone().map(|work| {
            let count = if work == 3 { 16 } else { 2 };
            let own = (0..count).map(|file| (format!("d/{file}"), noise(&format!("{work} {file}"), 500 + 100 * file)));
            own.chain([("shared".to_string(), "all have this".to_string())]).collect()
        });
        Works { keys: works.map(|work| Digest::of(format!("work {work}"))).collect(), files: files.collect() }
    }

    fn files(&self, work: usize) -> Vec<(&str, &str)> {
        self.files[work].iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
    }

    fn share(&self, here: &Space) -> Vec<Receipt> {
        self.keys.iter().enumerate().map(|(work, key)| here.share(key, &self.files(work))).collect()
    }
}

/// What an engine does with each work: use the hit, or do the work and share it. Returns how many were done.
fn run(works: &Works, site: &Site, space: &Space) -> usize {
    let mut done = 0;
    for (work, key) in works.keys.iter().enumerate() {
        let expected = expected(&works.files(work));
        // A new process each time, as a worker is.
        let store = space.again(site, Mode::ReadWrite);
        let view = store.hit(key).unwrap().map(|receipt| store.view(&artifact(&receipt)));
        match view {
            Some(Ok(view)) => assert_eq!(listing(&view), expected, "wrong bytes"),
            Some(Err(StoreError::Damaged { .. })) | None => {
                let store = space.again(site, Mode::ReadWrite);
                assert!(store.hit(key).unwrap().is_none(), "what turned out to be lost is believed again");
                let receipt = space.make(key, &works.files(work));
                store.push(key).unwrap().unwrap();
                assert_eq!(listing(&store.view(&artifact(&receipt)).unwrap()), expected);
                done += 1;
            }
            Some(Err(error)) => panic!("{error}"),
        }
    }
    done
}

#[test]
fn losses_cost_work_and_the_next_machine_finds_all_mended() {
    let (whole, works) = (Site::folder(), Works::new());
    let here = whole.machine();
    works.share(&here);
    for (percent, how) in [5, 25, 100].into_iter().flat_map(|percent| HARMS.map(|how| (percent, how))) {
        // Every machine writes durably, which takes its time; so each site has only some of the turns.
        let site = if percent == 25 { Site::folder() } else { Site::s3() };
        copy(&whole.objects, &site.objects);
        let blobs = site.files("blobs");
        assert_eq!(blobs.len(), 4 + 3 * 2 + 16 + 1);
        let harmed = chosen(blobs, percent, 3407);
        assert!(!harmed.is_empty(), "{percent}");
        harmed.iter().for_each(|path| harm(path, how));

        let second = site.machine();
        second.believe(&here);
        let done = run(&works, &site, &second);
        assert!(done > 0 && (percent < 100 || done == 4), "{percent}% {how:?}: {done} done");
        assert!(second.store.verify().unwrap().is_empty());

        let third = site.machine();
        third.believe(&here);
        third.store.trust("second", &second.store.public_key().unwrap()).unwrap();
        assert_eq!(run(&works, &site, &third), 0, "{percent}% {how:?}: the pushes have mended the remote");
    }
}

#[test]
fn a_lost_blob_is_named_and_its_receipt_is_not_believed_again() {
    for (how, fault) in [(Harm::Delete, Fault::Missing), (Harm::Cut, Fault::Altered), (Harm::Flip, Fault::Altered)] {
        for site in Site::both() {
            let (here, key) = (site.machine(), Digest::of("key"));
            let made = artifact(&here.share(&key, &[("a", "alpha"), ("b", "beta")]));
            harm(&site.blob("beta"), how);
            let there = site.reader(&here);
            assert!(there.store.hit(&key).unwrap().is_some(), "promised");
            let error = there.store.restore(&made, &there.path("copy")).unwrap_err();
            let StoreError::Damaged { digest, fault: found } = error else { panic!("{error}") };
            assert_eq!((digest, found), (Digest::of("beta"), fault));
            assert!(!there.path("copy").exists() && !there.blob("beta").exists());

            assert!(there.store.hit(&key).unwrap().is_none());
            assert!(there.again(&site, Mode::Read).hit(&key).unwrap().is_none(), "nor by another process");
            assert!(!there.store.sharded("remote/receipts", &key).exists(), "the thin copy is dropped");

            let pulled = there.again(&site, Mode::Read).pull(&key);
            assert!(pulled.is_err_and(|error| error.is_damage()), "who asks explicitly is told");
            fs::write(site.blob("beta"), "beta").unwrap();
            let again = there.again(&site, Mode::Read);
            assert!(again.pull(&key).unwrap().is_some(), "and finds it mended");
            assert_eq!(listing(&again.view(&made).unwrap()), expected(&[("a", "alpha"), ("b", "beta")]));
        }
    }
}

#[test]
fn a_second_result_may_take_the_place_of_one_that_is_lost() {
    let site = Site::s3();
    let (here, key) = (site.machine(), Digest::of("key"));
    here.share(&key, &[("a", "first")]);
    harm(&site.blob("first"), Harm::Delete);
    fs::remove_dir_all(here.store.root().join("receipts")).unwrap();
    fs::remove_file(here.blob("first")).unwrap();
    let receipt = here.store.hit(&key).unwrap().unwrap();
    assert!(here.store.view(&artifact(&receipt)).is_err());
    let second = here.share(&key, &[("a", "second")]);
    assert_eq!(site.reader(&here).store.hit(&key).unwrap(), Some(second));
    assert_eq!(here.store.conflicts().unwrap().len(), 1, "and the difference is told");
}

/// A manifest with a sound digest that was never a tree's, and a blob of endless size in its place.
#[test]
fn a_manifest_that_is_none_is_an_error_and_not_a_tree() {
    let site = Site::folder();
    let (here, key) = (site.machine(), Digest::of("key"));
    let made = artifact(&here.share(&key, &[("a", "alpha")]));
    let there = site.reader(&here);
    let manifest = site.objects.join("v1/blobs").join(&made.bytes.hex()[..2]).join(made.bytes.hex());
    fs::File::options().write(true).open(&manifest).unwrap().set_len(1 << 40).unwrap();
    fs::remove_dir_all(there.store.root().join("blobs")).unwrap();
    fs::create_dir(there.store.root().join("blobs")).unwrap();
    let viewed = there.store.view(&made);
    assert!(matches!(viewed, Err(StoreError::Damaged { fault: Fault::Altered, .. })), "{viewed:?}");
    assert!(there.remote().traffic().received < 1 << 20, "not even begun");
}

/// Whatever is harmed, blobs and receipts, in whatever way: each view is right or says that it is damaged, and what was
/// promised wrongly is no hit any more.
#[test]
fn whatever_is_lost_all_that_is_read_is_right() {
    let (whole, works) = (Site::folder(), Works::new());
    let here = whole.machine();
    works.share(&here);
    let harms = prop::collection::vec((0..200_usize, 0..3_usize), 0..40);
    proptest!(ProptestConfig::with_cases(24), |(harms in harms)| {
        let site = Site::folder();
        copy(&whole.objects, &site.objects);
        let mut objects = site.files("blobs");
        objects.extend(site.files("receipts"));
        objects.sort();
        let harms: BTreeMap<usize, usize> = harms.into_iter().map(|(at, how)| (at % objects.len(), how)).collect();
        harms.iter().for_each(|(&at, &how)| harm(&objects[at], HARMS[how]));
        let right = read_all(&works, &site.reader(&here))?;
        prop_assert!(!harms.is_empty() || right == works.keys.len());
    });
}

/// Reads what there is; returns how many works were there.
fn read_all(works: &Works, there: &Space) -> Result<usize, TestCaseError> {
    let mut right = 0;
    for (work, key) in works.keys.iter().enumerate() {
        let Some(receipt) = there.store.hit(key).unwrap() else { continue };
        match there.store.view(&artifact(&receipt)) {
            Ok(view) => {
                prop_assert_eq!(listing(&view), expected(&works.files(work)));
                right += 1;
            }
            Err(error) => {
                prop_assert!(error.is_damage(), "{}", error);
                prop_assert!(there.store.hit(key).unwrap().is_none());
            }
        }
    }
    prop_assert!(there.store.verify().unwrap().is_empty());
    Ok(right)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in folder::list(from).unwrap() {
        let place = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &place),
            false => fs::copy(&path, &place).map(|_| ()).unwrap(),
        }
    }
}
