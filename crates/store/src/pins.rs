//! Pins: names under which a person keeps what an action made, whatever is collected.
//!
//! A pin is a file of its own, `pins/<name>`, with the name and the key as JSON. One that cannot be read is an error
//! for everything that removes, never an absent pin.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::Durable;
use crate::error::within;
use crate::memo::folder_name;
use crate::{Digest, Store, StoreError, disk, folder};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    name: String,
    key: Digest,
}

impl Store {
    /// Keeps the action's receipt and all that it made from being collected or removed, durably. A name stands for one
    /// action: an earlier one is let go.
    ///
    /// # Errors
    /// [`StoreError::NoReceipt`] where nothing is known of the action.
    pub fn pin(&self, name: &str, key: &Digest) -> Result<(), StoreError> {
        // Nobody who has read the pins before this one is removing now.
        let _lock = self.lock_collection()?;
        if self.receipt(key)?.is_none() {
            return Err(StoreError::NoReceipt { key: *key });
        }
        let pin = Pin { name: name.to_string(), key: *key };
        let bytes = serde_json::to_vec(&pin).map_err(|source| StoreError::Encode { what: "a pin", source })?;
        self.write(&self.pin_path(name), &bytes, Durable::Yes)
    }

    /// Lets go of what is pinned by this name; whether there was such a pin.
    pub fn unpin(&self, name: &str) -> Result<bool, StoreError> {
        let (path, pins) = (self.pin_path(name), self.folder("pins"));
        match disk::remove_file(&path) {
            Ok(()) => disk::sync_folder(&pins).map(|()| true).map_err(within(&pins)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    /// What is pinned, by name.
    ///
    /// # Errors
    /// [`StoreError::Pin`] for a pin that cannot be read.
    pub fn pins(&self) -> Result<BTreeMap<String, Digest>, StoreError> {
        let pins = self.folder("pins");
        folder::list(&pins).map_err(within(&pins))?.iter().map(|path| read(path)).collect()
    }

    fn pin_path(&self, name: &str) -> PathBuf {
        self.folder("pins").join(folder_name(name))
    }
}

fn read(path: &Path) -> Result<(String, Digest), StoreError> {
    let bytes = fs::read(path).map_err(within(path))?;
    let pin: Pin = serde_json::from_slice(&bytes).map_err(|_| StoreError::Pin { path: path.to_path_buf() })?;
    Ok((pin.name, pin.key))
}
