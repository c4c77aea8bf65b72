//! A remote that cannot be reached, breaks down, or is configured wrongly.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use super::{Site, Space, Weather, artifact, expected, listing, noise};
use crate::remote::{Patience, Settings};
use crate::{Digest, Mode, Remote, StoreError};

const FILES: [(&str, &str); 2] = [("a.txt", "alpha"), ("b.txt", "beta")];

#[test]
fn a_remote_that_goes_away_leaves_misses() {
    let mut site = Site::s3();
    let (here, keys) = (site.machine(), [Digest::of("1"), Digest::of("2"), Digest::of("3")]);
    for (key, text) in keys.iter().zip(["one", "two", "three"]) {
        here.share(key, &[("text", text)]);
    }
    let there = site.reader(&here);
    let receipts = [0, 1].map(|index| there.store.hit(&keys[index]).unwrap().unwrap());
    there.store.view(&artifact(&receipts[0])).unwrap();
    site.stop();

    let lost = there.store.view(&artifact(&receipts[1]));
    assert!(lost.is_err_and(|error| error.is_damage()), "its maker has to run");
    assert!(there.store.hit(&keys[0]).unwrap().is_some(), "all of it is here");
    assert!(there.store.hit(&keys[1]).unwrap().is_none(), "it cannot be had");
    assert!(there.again(&site, Mode::Read).hit(&keys[1]).unwrap().is_none(), "nor in another process");
    assert!(there.store.hit(&keys[2]).unwrap().is_none(), "never asked for");

    there.make(&keys[1], &[("text", "two")]);
    assert!(there.store.hit(&keys[1]).unwrap().is_some());
    here.make(&Digest::of("4"), &FILES);
    let pushed = here.store.push(&Digest::of("4"));
    assert!(matches!(&pushed, Err(StoreError::Remote { url, .. }) if url.contains("results")), "{pushed:?}");
}

/// An address where nobody listens: the listener is gone before it is used.
fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn nobody_there_is_told_once_and_costs_one_attempt() {
    let mut site = Site::s3();
    site.settings.options.insert("AWS_ENDPOINT".into(), nobody());
    let space = site.machine_in(Mode::Read);
    space.remote().check().unwrap();
    for number in 0..100 {
        assert!(space.store.hit(&Digest::of(format!("{number}"))).unwrap().is_none());
    }
    assert_eq!(space.remote().traffic().requests, 1, "then it is left alone");
    let warning = space.remote().warning().unwrap();
    assert!(warning.contains("s3://results/some/where") && warning.contains("check the network"), "{warning}");
}

#[test]
fn silence_ends_after_a_while() {
    let mut site = Site::s3();
    let (here, key) = (site.machine(), Digest::of("key"));
    here.share(&key, &FILES);
    site.wire().set(Weather::Silence);
    let silence = Duration::from_millis(50);
    site.settings.patience = Patience { silence, retries: 0, ..site.settings.patience };
    let there = site.reader(&here);
    assert!(there.store.hit(&key).unwrap().is_none());
    assert!(there.store.hit(&Digest::of("another")).unwrap().is_none());
    assert_eq!(there.remote().traffic().requests, 1);
    assert!(there.remote().warning().is_some());
}

#[test]
fn a_remote_that_rested_is_tried_again() {
    let mut site = Site::s3();
    let (here, key) = (site.machine(), Digest::of("key"));
    here.share(&key, &FILES);
    let right = site.settings.options["AWS_ENDPOINT"].clone();
    site.settings.options.insert("AWS_ENDPOINT".into(), nobody());
    site.settings.patience.rest = Duration::ZERO;
    let there = site.reader(&here);
    assert!(there.store.hit(&key).unwrap().is_none());
    let asked = there.remote().traffic().requests;
    assert!(there.store.hit(&key).unwrap().is_none());
    assert!(there.remote().traffic().requests > asked, "silence is not remembered as a miss");
    site.settings.options.insert("AWS_ENDPOINT".into(), right);
    assert!(there.again(&site, Mode::Read).hit(&key).unwrap().is_some());
}

/// Every second connection fails. Nothing is asserted on how much gets through, but all that does must be right.
#[test]
fn broken_answers_and_cut_connections_never_make_wrong_bytes() {
    let texts: Vec<(String, String)> =
        (0..12).map(|file| (format!("{file}"), noise(&format!("{file}"), 60_000))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let cuts = [1, 3_000, 70_000, 200_000].map(|after| Weather::Cuts { every: 2, after });
    for weather in [Weather::Errors(2), Weather::Errors(3)].into_iter().chain(cuts) {
        let (site, key) = (Site::s3(), Digest::of("key"));
        let here = site.machine();
        here.share(&key, &files);
        site.wire().set(weather);
        let there = site.reader(&here);
        for _ in 0..5 {
            let store = there.again(&site, Mode::Read);
            let Some(receipt) = store.hit(&key).unwrap() else { continue };
            match store.view(&artifact(&receipt)) {
                Ok(view) => assert_eq!(listing(&view), expected(&files)),
                Err(error) => assert!(error.is_damage(), "{error}"),
            }
        }
        site.wire().set(Weather::Fair);
        assert!(there.again(&site, Mode::Read).pull(&key).unwrap().is_some());
        assert!(there.store.verify().unwrap().is_empty());
        assert!(site.wire().connections() > 1);
    }
}

#[test]
fn a_push_through_bad_weather_leaves_all_or_no_receipt() {
    let large = noise("large", 9 << 20);
    let files = [("a", "alpha"), ("large", large.as_str())];
    for weather in [Weather::Errors(2), Weather::Cuts { every: 2, after: 500 }] {
        let (site, key) = (Site::s3(), Digest::of("key"));
        let here = site.machine();
        let made = here.make(&key, &files);
        site.wire().set(weather);
        for _ in 0..3 {
            let _ = here.again(&site, Mode::ReadWrite).push(&key);
            let there = site.reader(&here);
            site.wire().set(Weather::Fair);
            if there.store.hit(&key).unwrap().is_some() {
                assert_eq!(there.store.pull(&key).unwrap().as_ref(), Some(&made), "its blobs came before it");
            }
            site.wire().set(weather);
        }
        site.wire().set(Weather::Fair);
        here.again(&site, Mode::ReadWrite).push(&key).unwrap().unwrap();
        assert_eq!(site.reader(&here).store.pull(&key).unwrap(), Some(made));
    }
}

#[test]
fn a_wrong_configuration_is_told_with_its_remedy() {
    let site = Site::s3();
    let with = |change: fn(&mut Settings)| {
        let mut settings = site.settings.clone();
        change(&mut settings);
        let done = Remote::open(settings).and_then(|remote| remote.check());
        let Err(error @ StoreError::Remote { .. }) = done else { panic!("{done:?}") };
        error.to_string()
    };
    let error = with(|settings| settings.url = "s3://no-such-bucket/x".into());
    assert!(error.contains("no such bucket") && error.contains("make the bucket"), "{error}");
    let error = with(|settings| {
        settings.options.insert("AWS_SECRET_ACCESS_KEY".into(), "wrong".into());
    });
    assert!(error.contains("AWS_SECRET_ACCESS_KEY"), "{error}");
    let error = with(|settings| settings.url = "ftp://somewhere".into());
    assert!(error.contains("ftp://") && error.contains("s3://BUCKET"), "{error}");
    let error = with(|settings| settings.url = "/no/such/folder".into());
    assert!(error.contains("/no/such/folder") && error.contains("make it"), "{error}");
    let error = with(|settings| {
        settings.options.insert("AWS_ALLOW_HTTP".into(), "perhaps".into());
    });
    assert!(error.contains("perhaps"), "{error}");
    #[cfg(not(feature = "gcs"))]
    assert!(with(|settings| settings.url = "gs://bucket".into()).contains("--features gcs"));
    #[cfg(not(feature = "azure"))]
    assert!(with(|settings| settings.url = "az://container".into()).contains("--features azure"));
}

#[test]
fn wrong_credentials_in_the_middle_of_a_run_are_misses_with_a_warning() {
    let mut site = Site::s3();
    let (here, key) = (site.machine(), Digest::of("key"));
    here.share(&key, &FILES);
    site.settings.options.insert("AWS_SECRET_ACCESS_KEY".into(), "expired".into());
    let there: Space = site.reader(&here);
    assert!(there.store.hit(&key).unwrap().is_none());
    let warning = there.remote().warning().unwrap();
    assert!(warning.contains("s3://results") && warning.contains("AWS_SECRET_ACCESS_KEY"), "{warning}");
}
