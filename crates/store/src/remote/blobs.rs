//! Blobs from the remote: fetched when somebody reads them, hashed as they come, and named only if they are right.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use futures_util::{TryStreamExt, stream};

use super::bucket::Bucket;
use super::doubt::Doubt;
use super::trouble::{Trouble, sudden_end};
use super::{Remote, layout};
use crate::blob::Unsynced;
use crate::durable::Draft;
use crate::error::within;
use crate::{Artifact, Digest, Fault, Store, StoreError};

/// Blobs that are on their way at the same time.
const AT_ONCE: usize = 8;

/// A blob whose size nothing here tells (a manifest) is not larger than this, in bytes.
const LIMIT: u64 = 256 << 20;

/// A blob to fetch.
#[derive(Clone, Copy)]
struct Wanted {
    digest: Digest,
    /// In bytes, where a manifest tells it.
    size: Option<u64>,
}

/// A blob that has come whole, without its name as yet.
struct Arrived {
    digest: Digest,
    draft: Draft,
}

impl Store {
    /// Fetches what the artifact needs and is not here. Where it cannot all be had, the remote's promise of the artifact
    /// is not believed any more.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a blob that the remote has not, has otherwise, or did not give.
    pub(crate) fn bring(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let Some(remote) = self.source() else { return Ok(()) };
        self.bring_all(remote, artifact).map_err(|loss| self.bear(loss, artifact))
    }

    /// The same for the manifest alone.
    pub(crate) fn bring_manifest(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let wanted = Wanted { digest: artifact.bytes, size: None };
        match self.source() {
            Some(remote) if self.is_missing(&wanted) => {
                self.fetch(remote, vec![wanted]).map_err(|loss| self.bear(loss, artifact))
            }
            _ => Ok(()),
        }
    }

    /// Draws the conclusions from a loss.
    fn bear(&self, loss: Loss, artifact: &Artifact) -> StoreError {
        match loss {
            Loss::Damage { digest, fault, why } => {
                self.doubt(&artifact.bytes, why);
                self.doubt(&digest, why);
                StoreError::Damaged { digest, fault }
            }
            Loss::Local(error) => error,
        }
    }

    /// Manifests first, one after the other as they name each other; then all the rest together.
    fn bring_all(&self, remote: &Remote, artifact: &Artifact) -> Result<(), Loss> {
        let closure = loop {
            match self.closure(artifact) {
                Err(StoreError::Damaged { digest, .. }) => self.fetch(remote, vec![Wanted { digest, size: None }])?,
                other => break other?,
            }
        };
        self.hold(&closure.iter().map(|(digest, _)| *digest).collect::<Vec<_>>())?;
        let wanted = closure.into_iter().map(|(digest, size)| Wanted { digest, size: Some(size) });
        let missing: Vec<Wanted> = wanted.filter(|wanted| self.is_missing(wanted)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.fetch(remote, missing)?;
        self.stop_doubting(&artifact.bytes);
        Ok(())
    }

    /// By its name alone: whether a blob that is here is whole is found out by whoever reads it.
    fn is_missing(&self, wanted: &Wanted) -> bool {
        !self.blob_path(&wanted.digest).exists()
    }

    /// Fetches these blobs, several at a time, and makes them durable as they come.
    fn fetch(&self, remote: &Remote, wanted: Vec<Wanted>) -> Result<(), Loss> {
        let (sender, receiver) = sync_channel(AT_ONCE);
        let (store, bucket) = (self.clone().detach(), Arc::clone(&remote.inner.bucket));
        let job = remote.inner.door.start(async move {
            let transfers = stream::iter(wanted.into_iter().map(Ok));
            let transfer = |wanted| transfer(&store, &bucket, wanted, &sender);
            transfers.try_for_each_concurrent(AT_ONCE, transfer).await
        });
        let mut unsynced = Unsynced::default();
        let named = receiver.iter().try_for_each(|Arrived { digest, draft }| {
            self.publish_blob(draft, &digest, &mut unsynced)?;
            self.stop_doubting(&digest);
            Ok(())
        });
        // Transfers that nobody waits for any more come to an end by this.
        drop(receiver);
        let fetched = job.wait().unwrap_or_else(|| Err(remote.error(sudden_end()).into()));
        unsynced.settle()?;
        named.map_err(Loss::Local).and(fetched)
    }
}

/// Why a blob did not come.
enum Loss {
    /// The remote has it not, has it otherwise, or did not give it.
    Damage { digest: Digest, fault: Fault, why: Doubt },
    /// Something here stood in the way.
    Local(StoreError),
}

impl From<StoreError> for Loss {
    fn from(error: StoreError) -> Loss {
        Loss::Local(error)
    }
}

/// Brings one blob to a draft, and hands it over.
async fn transfer(store: &Store, bucket: &Bucket, wanted: Wanted, done: &SyncSender<Arrived>) -> Result<(), Loss> {
    let digest = wanted.digest;
    let altered = Loss::Damage { digest, fault: Fault::Altered, why: Doubt::Lost };
    let missing = |trouble| Loss::Damage {
        digest,
        fault: Fault::Missing,
        why: if matches!(trouble, Trouble::Absent) { Doubt::Lost } else { Doubt::Away },
    };
    let mut draft = store.draft()?;
    let mut incoming = bucket.stream(&layout::blob(&bucket.root, &digest)).await.map_err(missing)?;
    let is_plausible = wanted.size.map_or(incoming.size <= LIMIT, |size| size == incoming.size);
    if !is_plausible {
        return Err(altered);
    }
    let mut hasher = blake3::Hasher::new();
    while let Some(chunk) = bucket.next(&mut incoming).await.map_err(missing)? {
        hasher.update(chunk.as_ref());
        draft.file.write_all(chunk.as_ref()).map_err(within(draft.path()))?;
    }
    if Digest::from(hasher.finalize()) != digest {
        return Err(altered);
    }
    // The channel is short: whoever makes blobs durable sets the pace. If that has failed, it tells why itself.
    let _ = done.send(Arrived { digest, draft });
    Ok(())
}
