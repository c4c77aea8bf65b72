//! Records of the index of hits, each with the length and the check that belong to it.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use gazal_fuzz::Space;
use gazal_store::{Digest, Store};
use libfuzzer_sys::fuzz_target;

static SPACE: LazyLock<Space> = LazyLock::new(Space::default);

fuzz_target!(|bytes: &[u8]| {
    let records = bytes.split(|&byte| byte == 0xff).flat_map(|value| {
        let length = u32::try_from(value.len()).expect("a short value");
        [&length.to_le_bytes(), &Digest::of(value).as_bytes()[..8], value].concat()
    });
    fs::write(SPACE.store.root().join("hit-index"), records.collect::<Vec<u8>>()).expect("a file");
    // Asked for the first key that is in there; no receipt has one of the times that an entry claims.
    let key = Digest::from_bytes(bytes.get(1..33).and_then(|key| key.try_into().ok()).unwrap_or_default());
    SPACE.write("receipts", &key, b"no receipt");
    let store = Store::open(SPACE.store.root()).expect("a store");
    assert!(store.made(&key).expect("a miss").is_none());
    SPACE.clear();
});
