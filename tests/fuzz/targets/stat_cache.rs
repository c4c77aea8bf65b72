//! Lines of the stat cache, each with the check that belongs to it.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use gazal_fuzz::Space;
use gazal_store::{Digest, Store};
use libfuzzer_sys::fuzz_target;

static SPACE: LazyLock<Space> = LazyLock::new(|| {
    let space = Space::default();
    fs::write(space.path("file"), "alpha").expect("a file");
    space
});

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|&byte| byte == b'\n').flat_map(|line| {
        let check = Digest::of(line).short();
        [line, format!(" {check}\n").as_bytes()].concat()
    });
    fs::write(SPACE.store.root().join("stat-cache"), lines.collect::<Vec<u8>>()).expect("a file");
    let store = Store::open(SPACE.store.root()).expect("a store");
    assert_eq!(store.digest_path(&SPACE.path("file")).expect("a digest"), Digest::of("alpha"));
});
