//! The body of a receipt; the seal is put before it, since no mutation would find one.
#![no_main]

use std::sync::LazyLock;

use gazal_engine::Manifest;
use gazal_fuzz::Space;
use gazal_store::{Digest, Receipt};
use libfuzzer_sys::fuzz_target;

static SPACE: LazyLock<Space> = LazyLock::new(Space::default);

fuzz_target!(|body: &[u8]| {
    let key = Digest::of("a key");
    let seal = Digest::of([key.as_bytes().as_slice(), body].concat());
    SPACE.write("receipts", &key, &[format!("{seal}\n").as_bytes(), body].concat());
    let read = SPACE.store.receipt(&key).expect("a damaged receipt is a miss");
    assert_eq!(read.is_some(), serde_json::from_slice::<Receipt>(body).is_ok());
    assert!(SPACE.store.hit(&key).expect("a damaged receipt is a miss").is_none_or(|hit| hit.outputs.is_empty()));
    if let Some(receipt) = read {
        let _ = Manifest::from_value(&receipt.manifest).map(|manifest| manifest.key());
        SPACE.look_around();
        SPACE.store.publish(&key, &Receipt { outputs: Default::default(), ..receipt.clone() }).expect("published");
        let again = SPACE.store.receipt(&key).expect("readable").expect("what was published is there");
        assert_eq!(again, Receipt { outputs: Default::default(), ..receipt });
    }
});
