//! Holds: what a living process relies on, so that a collection leaves it alone.
//!
//! Between the moment at which a writer finds a blob in the store (and so does not write it) and the moment at which a
//! receipt names it, nothing in the store says that it is needed. The same is true of a view while somebody reads it.
//! So every session writes what it relies on into the file of its lock, 32 bytes a digest, *before* it looks, and
//! then waits for the batch of removals that is under way, if one is. A collection reads all these files anew for each
//! batch, under the lock `sweep`:
//!
//! - A hold that was written before the batch is seen by it.
//! - One that was written later belongs to somebody who has waited for the end of the batch and looks afterwards: what
//!   has been removed is seen to be missing, and is written again.
//!
//! A session that ends while a collection is under way (it holds the lock `collect`) leaves its file to be swept later:
//! the receipt that it published may be younger than the collection's look at the receipts. What was published before
//! is found there. Times play no part in any of this, so neither do clocks that go back.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::within;
use crate::lock::{Lock, open};
use crate::{Digest, Store, StoreError, folder};

/// The names of locks whose files stay: some take them without looking whether they still have their names.
pub(crate) const LASTING: [&str; 2] = [COLLECT, SWEEP];

/// Held by a collection for as long as it lasts; shared by whoever removes a session's file.
const COLLECT: &str = "collect";

/// Held by a collection for each batch of removals.
const SWEEP: &str = "sweep";

impl Store {
    /// Keeps blobs, views and receipts with these digests from being collected while this store is open. Call it
    /// before looking whether they are there.
    pub(crate) fn hold(&self, digests: &[Digest]) -> Result<(), StoreError> {
        self.with_session(|session| session.note(digests))?;
        let path = self.folder("locks").join(SWEEP);
        open(&path).and_then(Lock::share).map(drop).map_err(within(&path))
    }

    /// Everything that is held, by whomever, this store's own holds included.
    pub(crate) fn held(&self) -> Result<HashSet<Digest>, StoreError> {
        let tmp = self.folder("tmp");
        let mut held = HashSet::new();
        for path in folder::list(&tmp).map_err(within(&tmp))?.iter().filter(|path| is_lock(path)) {
            match fs::read(path) {
                Ok(bytes) => held.extend(bytes.chunks_exact(32).filter_map(digest)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::within(path, error)),
            }
        }
        // Somebody may have taken a file apart after it was held.
        for file in self.named("recipes").into_iter().collect::<Result<Vec<_>, _>>()? {
            if held.contains(&file)
                && let Some(recipe) = self.recipe(&file)?
            {
                held.extend(recipe.parts.iter().map(|(part, _)| *part));
            }
        }
        Ok(held)
    }

    /// Only one collection at a time, and no session's holds vanish meanwhile.
    pub(crate) fn lock_collection(&self) -> Result<Lock, StoreError> {
        self.lock_named(COLLECT)
    }

    pub(crate) fn lock_sweep(&self) -> Result<Lock, StoreError> {
        self.lock_named(SWEEP)
    }
}

fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::from_bytes)
}

/// Whether this is the file of a session's lock, in `tmp/`.
pub(crate) fn is_lock(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "lock")
}

/// The right to remove sessions' files under `tmp`; `None` while a collection is under way.
pub(crate) fn may_remove(tmp: &Path) -> io::Result<Option<Lock>> {
    let locks = tmp.with_file_name("locks");
    open(&locks.join(COLLECT)).and_then(Lock::try_share)
}
