//! Receipts from the remote. They are "thin": here without their blobs, which follow when somebody reads them.

use super::layout::{Subject, Topic};
use super::statements::Statement;
use super::wire::Parcel;
use crate::publication::Unsynced;
use crate::{Digest, Receipt, Store, StoreError};

impl Subject {
    pub(super) fn receipt(key: &Digest) -> Subject {
        Subject { topic: Topic::Receipt, name: *key }
    }
}

impl Store {
    /// Asks the remote for the receipts of these actions, several at a time, so that [`Store::hit`] on each need not
    /// wait for an answer. For a caller that knows many keys beforehand.
    ///
    /// # Errors
    /// Where the store cannot be read or written; a remote that does not answer is no error.
    pub fn foresee(&self, keys: &[Digest]) -> Result<(), StoreError> {
        let mut subjects = Vec::new();
        for key in keys {
            let subject = Subject::receipt(key);
            if self.local_receipt(key)?.is_none() && self.kept(subject)?.is_none() {
                subjects.push(subject);
            }
        }
        self.gather(&subjects).map(|_| ())
    }

    /// Takes over a receipt from the remote with all its blobs, now; also one that was doubted. `None` where the remote
    /// has none that counts.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the remote has lost a blob.
    pub fn pull(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        if let Some(receipt) = self.local_hit(key)? {
            return Ok(Some(receipt));
        }
        if let Some(remote) = self.source() {
            remote.ask_again(Subject::receipt(key));
        }
        let Some(receipt) = self.foreign_receipt(key)? else { return Ok(None) };
        for output in receipt.outputs.values() {
            self.bring(&output.artifact)?;
        }
        self.publish(key, &receipt)?;
        Ok(Some(receipt))
    }

    /// A receipt of the remote that is a hit: its blobs are there as far as is known, or have all been fetched.
    pub(crate) fn foreign_hit(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        let Some(receipt) = self.foreign_receipt(key)? else { return Ok(None) };
        let is_there = self.source().is_some_and(|remote| !remote.inner.bucket.is_resting());
        let is_promised = self.believes(&receipt);
        if is_there && is_promised || self.is_complete(&receipt)? {
            return Ok(Some(receipt));
        }
        if let (Some(remote), false) = (self.source(), is_promised) {
            self.drop_kept(Subject::receipt(key))?;
            remote.give_up(Subject::receipt(key));
        }
        Ok(None)
    }

    /// A receipt of the remote, kept from before or asked for now.
    pub(crate) fn foreign_receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        Ok(self.statement(Subject::receipt(key))?.and_then(|statement| unpack(&statement)))
    }

    /// The same, if it was fetched before.
    pub(crate) fn kept_receipt(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        Ok(self.kept(Subject::receipt(key))?.and_then(|statement| unpack(&statement)))
    }

    /// Removes what was kept of the remote's receipt.
    pub(crate) fn forget_foreign(&self, key: &Digest) -> Result<(), StoreError> {
        self.drop_kept(Subject::receipt(key))
    }

    /// The manifests that came with a receipt become blobs, and need not be asked for.
    pub(super) fn keep_manifests(&self, subject: Subject, statement: &Statement) -> Result<(), StoreError> {
        if subject.topic != Topic::Receipt {
            return Ok(());
        }
        let mut unsynced = Unsynced::default();
        if let Some(parcel) = Parcel::decode(&statement.payload) {
            for manifest in parcel.manifests() {
                self.put_bytes(manifest, &mut unsynced)?;
            }
        }
        unsynced.settle()
    }
}

fn unpack(statement: &Statement) -> Option<Receipt> {
    Parcel::decode(&statement.payload).map(|parcel| parcel.receipt)
}
