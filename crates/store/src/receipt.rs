//! Receipts: what an action made, under its key.
//!
//! A receipt's file is one line with a digest of the key and the text, and the text, JSON. A receipt that was altered,
//! cut short or moved to another key is not read: its action is a miss.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::within;
use crate::{Artifact, Digest, Store, StoreError, disk, folder};

/// That an action was executed, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// What the key is the digest of.
    pub manifest: serde_json::Value,
    /// By the name of the output.
    pub outputs: BTreeMap<String, Output>,
    /// How long the execution took.
    pub seconds: f64,
    /// When it ended, RFC 3339 in UTC; see [`crate::rfc3339`].
    pub finished: String,
    /// The machine.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// The most memory it had, if that is known.
    pub peak_bytes: Option<u64>,
}

/// One output of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    pub artifact: Artifact,
    /// The type of its port.
    pub kind: String,
    /// `value` or `record`.
    pub role: String,
}

impl Store {
    /// The receipt of an action, whether or not its outputs are still there.
    pub fn receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        match self.local_receipt(key)? {
            None => self.foreign_receipt(key),
            receipt => Ok(receipt),
        }
    }

    /// The same, without the remote.
    pub(crate) fn local_receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        let path = self.sharded("receipts", key);
        match fs::read(&path) {
            Ok(bytes) => Ok(unseal(key, &bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    /// Removes a receipt, if there is one; the blobs stay.
    pub fn forget(&self, key: &Digest) -> Result<(), StoreError> {
        let path = self.sharded("receipts", key);
        match disk::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::within(&path, error)),
            _ => self.forget_foreign(key),
        }
    }

    /// All receipts that can be read, in the order of their keys; then those that were fetched from a remote, whose
    /// blobs need not be here.
    pub fn receipts(&self) -> impl Iterator<Item = Result<(Digest, Receipt), StoreError>> + use<> {
        let here = self.named("receipts");
        let known: BTreeSet<Digest> = here.iter().filter_map(|key| key.as_ref().ok().copied()).collect();
        let is_new = move |key: &Result<Digest, StoreError>| key.as_ref().map_or(true, |key| !known.contains(key));
        let fetched = self.named("remote/receipts").into_iter().filter(is_new);
        let with = |read: fn(&Store, &Digest) -> Result<Option<Receipt>, StoreError>| {
            let store = self.clone();
            move |key: Result<Digest, StoreError>| {
                key.and_then(|key| Ok(read(&store, &key)?.map(|receipt| (key, receipt)))).transpose()
            }
        };
        let here = here.into_iter().filter_map(with(Store::local_receipt));
        here.chain(fetched.filter_map(with(Store::kept_receipt)))
    }

    /// The digests in a sharded folder, in order; other names are not ours.
    pub(crate) fn named(&self, name: &str) -> Vec<Result<Digest, StoreError>> {
        let list = |path: &Path| folder::list(path).map_err(within(path));
        let shards = match list(&self.folder(name)) {
            Ok(shards) => shards,
            Err(error) => return vec![Err(error)],
        };
        let mut digests = Vec::new();
        for shard in shards.iter().filter(|path| path.is_dir()) {
            match list(shard) {
                Ok(paths) => digests.extend(paths.iter().filter_map(|path| named_digest(path)).map(Ok)),
                Err(error) => digests.push(Err(error)),
            }
        }
        digests
    }
}

fn named_digest(path: &Path) -> Option<Digest> {
    path.file_name()?.to_str()?.parse().ok()
}

/// A receipt as it is stored.
pub(crate) fn seal(key: &Digest, receipt: &Receipt) -> Result<Vec<u8>, StoreError> {
    let body = serde_json::to_vec_pretty(receipt).map_err(|source| StoreError::Encode { what: "a receipt", source })?;
    let mut bytes = format!("{}\n", seal_of(key, &body)).into_bytes();
    bytes.extend(body);
    Ok(bytes)
}

pub(crate) fn unseal(key: &Digest, bytes: &[u8]) -> Option<Receipt> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let sealed: Digest = line.parse().ok()?;
    (sealed == seal_of(key, body)).then(|| serde_json::from_slice(body).ok())?
}

/// Binds a text to the digest it is stored under.
pub(crate) fn seal_of(key: &Digest, body: &[u8]) -> Digest {
    Digest::of([key.as_bytes().as_slice(), body].concat())
}
