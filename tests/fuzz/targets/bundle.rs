//! A bundle: whatever comes in, the store holds nothing that is not what its name says.
#![no_main]

use std::sync::LazyLock;

use gazal_fuzz::Space;
use gazal_store::Digest;
use libfuzzer_sys::fuzz_target;

static SPACE: LazyLock<Space> = LazyLock::new(Space::default);

fuzz_target!(|bytes: &[u8]| {
    let imported = SPACE.store.import(&mut &*fitted(bytes));
    let damage = SPACE.store.verify().expect("a store that can be read");
    assert!(damage.is_empty(), "{imported:?} {damage:?}");
    if let Ok(imported) = imported {
        let keys: Vec<Digest> = imported.receipts.into_iter().chain(imported.known).collect();
        assert!(keys.iter().all(|key| SPACE.store.hit(key).expect("readable").is_some()));
        SPACE.store.export(&keys, &mut Vec::new()).expect("what came in can go out");
    }
    SPACE.clear();
});

/// The bytes with every blob under its own digest and the right digest at the end, which no mutation would find.
fn fitted(bytes: &[u8]) -> Vec<u8> {
    let mut fitted = b"gazal-bundle 1\n".to_vec();
    let mut rest = bytes;
    while let Some((head, tail)) = rest.split_at_checked(41) {
        let length = u64::from_le_bytes(head[33..].try_into().expect("eight bytes"));
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(tail.len());
        let (body, tail) = tail.split_at(length);
        fitted.push(head[0]);
        fitted.extend(if head[0] == b'b' { *Digest::of(body).as_bytes() } else { head[1..33].try_into().expect("a digest") });
        fitted.extend_from_slice(&head[33..]);
        fitted.extend_from_slice(body);
        rest = tail;
    }
    let end = Digest::of(&fitted);
    fitted.push(b'e');
    fitted.extend(end.as_bytes());
    fitted
}
