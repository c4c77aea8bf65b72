//! Reference vectors for tests.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

/// A file of vectors from the folder `GAZAL_FIXTURES`, or beside it, or, where that set has none, this
/// repository's copy.
pub(crate) fn fixture(name: &str) -> serde_json::Value {
    let tree = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let folder = std::env::var_os("GAZAL_FIXTURES").map_or_else(|| tree.clone(), PathBuf::from);
    let places = [folder.join("vectors"), folder.join("../vectors"), tree.join("vectors")];
    let text = places.iter().find_map(|place| std::fs::read_to_string(place.join(name)).ok()).unwrap();
    serde_json::from_str(&text).unwrap()
}
