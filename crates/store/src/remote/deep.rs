//! Deep keys: from what an action was made of, all the way down, to its action key.
//!
//! Who computes them and when they decide is the caller's business. Here they are kept: in `deep/`, sealed as receipts
//! are, and at the remote, signed as receipts are.

use std::fs;
use std::io::ErrorKind;

use super::layout::{Subject, Topic};
use crate::durable::Durable;
use crate::{Digest, Store, StoreError};

/// Ties the digest before an entry to where it lies.
const CONTEXT: &str = "gazal-pipe 2026 deep entry v1";

impl Subject {
    pub(super) fn deep(deep: &Digest) -> Subject {
        Subject { topic: Topic::Deep, name: *deep }
    }
}

impl Store {
    /// Remembers the action key behind a deep key, in the place of an earlier one.
    pub fn publish_deep(&self, deep: &Digest, key: &Digest) -> Result<(), StoreError> {
        let entry = format!("{} {key}\n", seal(deep, key));
        self.write(&self.sharded("deep", deep), entry.as_bytes(), Durable::Yes)
    }

    /// The action key behind a deep key: one that was found here, else one that a trusted principal has published.
    ///
    /// # Errors
    /// Never for altered entries, which are none; only where the store cannot be read.
    pub fn deep(&self, deep: &Digest) -> Result<Option<Digest>, StoreError> {
        if let Some(key) = self.local_deep(deep)? {
            return Ok(Some(key));
        }
        let statement = self.statement(Subject::deep(deep))?;
        let bytes = statement.and_then(|statement| <[u8; 32]>::try_from(statement.payload).ok());
        Ok(bytes.map(Digest::from_bytes))
    }

    /// The same, without the remote.
    pub(super) fn local_deep(&self, deep: &Digest) -> Result<Option<Digest>, StoreError> {
        let path = self.sharded("deep", deep);
        match fs::read(&path) {
            Ok(entry) => Ok(read_entry(deep, &entry)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }
}

fn read_entry(deep: &Digest, entry: &[u8]) -> Option<Digest> {
    let (sealed, key) = std::str::from_utf8(entry).ok()?.trim_end().split_once(' ')?;
    let key: Digest = key.parse().ok()?;
    (sealed == seal(deep, &key).hex()).then_some(key)
}

fn seal(deep: &Digest, key: &Digest) -> Digest {
    Digest::derive(CONTEXT, [deep.as_bytes().as_slice(), key.as_bytes()].concat())
}
