//! Hits: whether an action need not run, since all that it made is there.

use std::fs;
use std::io::ErrorKind;
use std::time::SystemTime;

use crate::blob::absorb_damage;
use crate::hits::Entry;
use crate::stat_cache::State;
use crate::{Digest, Output, Receipt, Store, StoreError};

/// An action with more blobs than this is not indexed: looking at so many files takes longer than reading its trees.
const MOST_BLOBS: usize = 256;

/// What an action made, without the manifest: all that going on from a hit takes, in a fraction of a receipt's memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// In the order of their names.
    pub outputs: Vec<(String, Output)>,
    /// How long the execution took.
    pub seconds: f64,
}

impl Made {
    /// The output with this name.
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|(other, _)| other == name).map(|(_, output)| output)
    }
}

impl From<&Receipt> for Made {
    fn from(receipt: &Receipt) -> Made {
        let outputs = receipt.outputs.iter().map(|(name, output)| (name.clone(), output.clone())).collect();
        Made { outputs, seconds: receipt.seconds }
    }
}

/// What the index says.
enum Indexed {
    Entry(Entry),
    NoReceipt,
    /// The receipt's file, in this state, has to be read.
    Unknown(State),
}

impl Store {
    /// What an action made if all of it is there: then the action need not run. The same answer as [`Store::hit`],
    /// from the index where it can be.
    ///
    /// # Errors
    /// Never for lost or damaged blobs and receipts, which are misses; only where the store cannot be read.
    pub fn made(&self, key: &Digest) -> Result<Option<Made>, StoreError> {
        match self.indexed(key)? {
            Indexed::Entry(entry) => Ok(self.are_there(&entry.blobs)?.then_some(entry.made)),
            Indexed::NoReceipt => Ok(None),
            Indexed::Unknown(state) => Ok(self.examine(key, state)?.map(|receipt| Made::from(&receipt))),
        }
    }

    /// The receipt of an action if all that it made is there: then the action need not run.
    ///
    /// # Errors
    /// Never for lost or damaged blobs and receipts, which are misses; only where the store cannot be read.
    pub fn hit(&self, key: &Digest) -> Result<Option<Receipt>, StoreError> {
        match self.indexed(key)? {
            Indexed::Entry(entry) if self.are_there(&entry.blobs)? => self.receipt(key),
            Indexed::Entry(_) | Indexed::NoReceipt => Ok(None),
            Indexed::Unknown(state) => self.examine(key, state),
        }
    }

    /// Asks the index, and believes it where the receipt's file is the one that was read.
    fn indexed(&self, key: &Digest) -> Result<Indexed, StoreError> {
        let Some(state) = self.receipt_state(key)? else { return Ok(Indexed::NoReceipt) };
        let known = self.known(key).filter(|entry| entry.state == state);
        Ok(known.map_or(Indexed::Unknown(state), Indexed::Entry))
    }

    fn receipt_state(&self, key: &Digest) -> Result<Option<State>, StoreError> {
        let path = self.sharded("receipts", key);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(Some(State::of(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    /// Reads the receipt and its trees, looks at every blob, and enters what it found.
    fn examine(&self, key: &Digest, state: State) -> Result<Option<Receipt>, StoreError> {
        let now = SystemTime::now();
        let Some(receipt) = self.receipt(key)? else { return Ok(None) };
        let mut blobs = Vec::new();
        for output in receipt.outputs.values() {
            match self.needs(&output.artifact) {
                Ok(needs) => blobs.extend(needs),
                Err(error) if error.is_damage() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        if !self.are_there(&blobs)? {
            return Ok(None);
        }
        if state.is_settled(now) && blobs.len() <= MOST_BLOBS && self.receipt_state(key)? == Some(state) {
            self.enter(key, &Entry { state, made: Made::from(&receipt), blobs });
        }
        Ok(Some(receipt))
    }

    /// Whether all these blobs are there and whole, by their marks.
    fn are_there(&self, blobs: &[(Digest, u64)]) -> Result<bool, StoreError> {
        absorb_damage(blobs.iter().try_for_each(|(digest, size)| self.expect_blob(digest, *size)))
    }
}
