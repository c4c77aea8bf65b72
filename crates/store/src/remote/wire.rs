//! A receipt as it travels: compact JSON, compressed.
//!
//! A machine that wants one artifact of a long pipeline reads the receipts of all its stages, so they are kept short.
//! Beside the receipt go the manifests of small output trees, which saves a request for each; larger ones would be
//! carried in vain by everybody who only wants what comes later.

use std::collections::BTreeSet;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use crate::{Digest, Receipt, Store, StoreError};

/// The manifests with a receipt have at most this size together, in bytes; a request costs about as much.
const INLINE: usize = 2 << 10;

/// A receipt is not larger than this, in bytes; more is an attempt to fill the memory.
const LIMIT: usize = 64 << 20;

/// From 0 to 10.
const COMPRESSION: u8 = 9;

#[derive(Serialize, Deserialize)]
pub(super) struct Parcel {
    pub receipt: Receipt,
    /// Manifests of some of the receipt's outputs, as they are stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<String>,
}

impl Parcel {
    /// The receipt with what small manifests fit in, the smallest first.
    pub(super) fn pack(store: &Store, receipt: &Receipt) -> Result<Parcel, StoreError> {
        let digests: BTreeSet<Digest> = receipt.outputs.values().map(|output| output.artifact.bytes).collect();
        let mut trees = Vec::new();
        for digest in digests {
            trees.extend(String::from_utf8(store.read_blob(&digest)?).ok());
        }
        trees.sort_by_key(String::len);
        let mut left = INLINE;
        trees.retain(|tree| left.checked_sub(tree.len()).inspect(|&less| left = less).is_some());
        Ok(Parcel { receipt: receipt.clone(), trees })
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let text =
            serde_json::to_vec(self).map_err(|source| StoreError::Encode { what: "a receipt to publish", source })?;
        Ok(compress_to_vec(&text, COMPRESSION))
    }

    /// `None` for what is no parcel, or one of a later form.
    pub(super) fn decode(bytes: &[u8]) -> Option<Parcel> {
        let text = decompress_to_vec_with_limit(bytes, LIMIT).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The manifests that are indeed those of outputs.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &[u8]> {
        let outputs = self.receipt.outputs.values();
        let wanted: BTreeSet<Digest> = outputs.map(|output| output.artifact.bytes).collect();
        self.trees.iter().map(String::as_bytes).filter(move |tree| wanted.contains(&Digest::of(tree)))
    }
}
