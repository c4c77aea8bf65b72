//! Deep keys at the remote: signed as receipts are, and asked for where none is known here.

use super::layout::{Subject, Topic};
use crate::{Digest, Store, StoreError};

impl Subject {
    pub(super) fn deep(deep: &Digest) -> Subject {
        Subject { topic: Topic::Deep, name: *deep }
    }
}

impl Store {
    /// The action key that a trusted principal has published for a deep key.
    pub(crate) fn foreign_deep(&self, deep: &Digest) -> Result<Option<Digest>, StoreError> {
        let statement = self.statement(Subject::deep(deep))?;
        let bytes = statement.and_then(|statement| <[u8; 32]>::try_from(statement.payload).ok());
        Ok(bytes.map(Digest::from_bytes))
    }
}
