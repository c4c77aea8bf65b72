//! Deep keys: a second way to a result, for who has nothing of what it was made from.

use std::fs;
use std::io::ErrorKind;

use crate::durable::Durable;
use crate::{Digest, Store, StoreError};

impl Store {
    /// Remembers the action key behind a deep key, in the place of an earlier one. It is not synced: where a loss of power
    /// takes it, the result is still found by its action key, and by the deep key at the remote.
    pub fn publish_deep(&self, deep: &Digest, key: &Digest) -> Result<(), StoreError> {
        let entry = format!("{} {key}\n", seal(deep, key));
        self.write(&self.sharded("deep", deep), entry.as_bytes(), Durable::No)
    }

    /// The action key behind a deep key: one that was found here, else one that a trusted principal has published.
    pub fn deep(&self, deep: &Digest) -> Result<Option<Digest>, StoreError> {
        match self.local_deep(deep)? {
            None => self.foreign_deep(deep),
            key => Ok(key),
        }
    }

    /// The same, without the remote.
    pub(crate) fn local_deep(&self, deep: &Digest) -> Result<Option<Digest>, StoreError> {
        let path = self.sharded("deep", deep);
        let text = match fs::read_to_string(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => return Ok(None),
            other => other.map_err(|error| StoreError::within(&path, error))?,
        };
        let entry = text.trim_end().split_once(' ').and_then(|(check, key)| Some((check, key.parse().ok()?)));
        Ok(entry.filter(|(check, key)| *check == seal(deep, key).hex()).map(|(_, key)| key))
    }
}

fn seal(deep: &Digest, key: &Digest) -> Digest {
    Digest::of([deep.as_bytes().as_slice(), key.as_bytes().as_slice()].concat())
}
