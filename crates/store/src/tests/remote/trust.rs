//! Whose receipts count.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::{Site, Space, signing_key};
use crate::remote::Settings;
use crate::{Digest, Mode, Principal, Reason, Remote, StoreError};

const FILES: [(&str, &str); 1] = [("a.txt", "alpha")];

#[test]
fn a_stranger_s_receipt_is_no_hit_until_the_stranger_is_trusted() {
    for site in Site::both() {
        let (here, there, key) = (site.machine(), site.machine_in(Mode::Read), Digest::of("key"));
        let made = here.share(&key, &FILES);
        assert!(there.store.hit(&key).unwrap().is_none() && there.store.pull(&key).unwrap().is_none());
        let refused = there.remote().refused();
        let id = here.store.public_key().unwrap().id();
        assert_eq!((refused[0].key, refused[0].why, &refused[0].principal), (key, Reason::Stranger, &id));
        assert!(refused[0].to_string().contains("cache trust"));

        there.believe(&here);
        let again = there.again(&site, Mode::Read);
        assert_eq!(again.hit(&key).unwrap(), Some(made));
        assert!(there.store.distrust("other").unwrap());
        assert!(!there.store.distrust("other").unwrap());
        assert!(again.hit(&key).unwrap().is_none(), "what was fetched in that name counts no more");
        assert!(there.reopen().receipt(&key).unwrap().is_none());
        assert_eq!(there.reopen().receipts().count(), 0);
    }
}

#[test]
fn no_altered_byte_gets_through() {
    for site in Site::both() {
        let (here, key) = (site.machine(), Digest::of("key"));
        here.share(&key, &FILES);
        let place = site.receipt(&key, &here.store.public_key().unwrap());
        let whole = fs::read(&place).unwrap();
        let step = whole.len() / 40 + 1;
        for at in (0..whole.len()).step_by(step) {
            let mut altered = whole.clone();
            altered[at] ^= 1 << (at % 8);
            fs::write(&place, &altered).unwrap();
            let there = site.reader(&here);
            assert!(there.store.hit(&key).unwrap().is_none(), "byte {at}");
            let refused = there.remote().refused();
            let told = matches!(refused[0].why, Reason::Forged | Reason::Unsigned | Reason::Stranger);
            assert!(told && refused.len() == 1 && refused[0].key == key, "{refused:?}");
            fs::write(&place, &whole[..at]).unwrap();
            assert!(there.again(&site, Mode::Read).hit(&key).unwrap().is_none(), "cut at {at}");
        }
        fs::write(&place, &whole).unwrap();
        assert!(site.reader(&here).store.hit(&key).unwrap().is_some());
    }
}

#[test]
fn a_receipt_does_not_count_under_another_key_or_in_another_s_name() {
    for site in Site::both() {
        let (here, stranger) = (site.machine(), site.machine());
        let (key, other) = (Digest::of("key"), Digest::of("other"));
        here.share(&key, &FILES);
        let mine = here.store.public_key().unwrap();

        let moved = site.receipt(&other, &mine);
        fs::create_dir_all(moved.parent().unwrap()).unwrap();
        fs::copy(site.receipt(&key, &mine), moved).unwrap();
        let there = site.reader(&here);
        assert!(there.store.hit(&other).unwrap().is_none());
        assert_eq!(there.remote().refused()[0].why, Reason::Forged);

        stranger.share(&key, &[("a.txt", "poison")]);
        fs::copy(site.receipt(&key, &stranger.store.public_key().unwrap()), site.receipt(&key, &mine)).unwrap();
        assert!(there.store.hit(&key).unwrap().is_none());
        let refused = there.remote().refused();
        assert!(refused[1..].iter().all(|refused| refused.why == Reason::Stranger), "{refused:?}");

        fs::write(site.receipt(&key, &mine), b"{\"outputs\":{}}").unwrap();
        let there = site.reader(&here);
        assert!(there.store.hit(&key).unwrap().is_none());
        assert_eq!(there.remote().refused()[0].why, Reason::Unsigned);

        here.store.push(&key).unwrap().unwrap();
        assert!(site.reader(&here).store.hit(&key).unwrap().is_some(), "who owns the place puts it right");
    }
}

#[test]
fn a_kept_receipt_is_judged_each_time() {
    let site = Site::s3();
    let (here, key) = (site.machine(), Digest::of("key"));
    here.share(&key, &FILES);
    let there = site.reader(&here);
    assert!(there.store.hit(&key).unwrap().is_some());
    let kept = there.store.sharded("remote/receipts", &key);
    let mut bytes = fs::read(&kept).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&kept, bytes).unwrap();
    assert!(there.reopen().receipt(&key).unwrap().is_none());
    assert!(there.store.hit(&key).unwrap().is_some(), "the remote still has it");
}

#[test]
fn the_first_who_is_trusted_is_heard() {
    for site in Site::both() {
        let (one, two, key) = (site.machine(), site.machine(), Digest::of("key"));
        one.share(&key, &[("a.txt", "poison")]);
        let good = two.share(&key, &FILES);
        let there = site.reader(&two);
        assert_eq!(there.store.hit(&key).unwrap(), Some(good.clone()));
        there.store.trust("one", &one.store.public_key().unwrap()).unwrap();
        assert_eq!(there.again(&site, Mode::Read).hit(&key).unwrap(), Some(good), "what was kept stays");
    }
}

#[test]
fn keys_are_made_once_kept_secret_and_may_be_given() {
    let space = Space::new();
    assert!(space.store.principals().unwrap().is_empty(), "no key before it is needed");
    let key = space.store.public_key().unwrap();
    assert_eq!(space.reopen().public_key().unwrap(), key);
    let file = space.store.root().join("trust/self.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(space.store.principals().unwrap(), [Principal { name: "self".into(), key }]);

    let site = Site::folder();
    let settings = Settings { mode: Mode::ReadWrite, signing_key: Some(signing_key("given")), ..site.settings };
    let store = space.reopen().attach(Remote::open(settings).unwrap());
    assert_eq!(store.public_key().unwrap(), signing_key("given").public_key());
    let names: Vec<String> = store.principals().unwrap().into_iter().map(|principal| principal.name).collect();
    assert_eq!(names, ["given", "self"]);

    fs::remove_file(space.store.root().join("trust/self.pub")).unwrap();
    assert_eq!(space.reopen().public_key().unwrap(), key, "a crash between the two files costs nothing");
    assert_eq!(space.store.principals().unwrap().len(), 1);
    assert!(!format!("{store:?}").contains("secret"));
}

#[test]
fn principals_are_kept_by_name() {
    let space = Space::new();
    let [one, two] = ["one", "two"].map(|seed| signing_key(seed).public_key());
    space.store.trust("ci@example.org", &one).unwrap();
    space.store.trust("bob", &one).unwrap();
    space.store.trust("bob", &two).unwrap();
    let names = |space: &Space| -> Vec<(String, String)> {
        let principals = space.reopen().principals().unwrap();
        principals.into_iter().map(|principal| (principal.name, principal.key.to_string())).collect()
    };
    assert_eq!(names(&space), [("bob".into(), two.to_string()), ("ci@example.org".into(), one.to_string())]);
    for name in ["", "self", "given", "../bob", "a/b", ".hidden", "two words"] {
        let error = space.store.trust(name, &one).unwrap_err();
        assert!(matches!(&error, StoreError::Trust { what, .. } if what.contains(name)), "{error}");
    }
    let file = space.store.root().join("trust/bob.pub");
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "no key").unwrap();
    let error = space.store.principals().unwrap_err().to_string();
    assert!(error.contains("bob.pub") && error.contains("remove it"), "{error}");
}
