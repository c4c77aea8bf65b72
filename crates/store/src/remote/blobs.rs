//! Blobs from the remote: fetched when somebody reads them, hashed as they come, and named only if they are right.
//!
//! A file that is not there as one blob may be there as its parts: then its recipe comes first, and the file is read
//! once when the parts have come, since only its bytes tell whether the recipe was its own.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use futures_util::{TryStreamExt, stream};

use super::bucket::Bucket;
use super::doubt::Doubt;
use super::trouble::{Trouble, sudden_end};
use super::{Remote, layout};
use crate::durable::Draft;
use crate::error::within;
use crate::publication::Unsynced;
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

/// What has come.
enum Arrived {
    /// A whole blob, without its name as yet.
    Blob { digest: Digest, draft: Draft },
    /// In place of a file's blob, of which others it consists.
    Recipe { file: Digest, text: Vec<u8> },
}

/// A recipe is not larger than this, in bytes.
const RECIPE_LIMIT: usize = 64 << 20;

/// Manifests name files, recipes name parts, and a part that is not there may be in a whole file: after so many rounds
/// of asking, a remote that names ever more is not believed.
const ROUNDS: usize = 4;

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
                self.fetch(remote, vec![wanted]).map(|_| ()).map_err(|loss| self.bear(loss, artifact))
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

    /// Asks for what is missing until nothing is. A part that cannot be had is asked for as the files that it is in.
    fn bring_all(&self, remote: &Remote, artifact: &Artifact) -> Result<(), Loss> {
        let mut adopted = Vec::new();
        for round in 0..ROUNDS {
            let missing = self.missing(remote, artifact)?;
            if missing.is_empty() {
                break;
            }
            adopted.extend(match self.fetch(remote, missing) {
                Err(loss @ Loss::Damage { .. }) => {
                    let files = self.incomplete(artifact)?;
                    if files.is_empty() || round + 1 == ROUNDS {
                        return Err(loss);
                    }
                    self.fetch(remote, files)?
                }
                other => other?,
            });
            self.stop_doubting(&artifact.bytes);
        }
        adopted.iter().try_for_each(|file| self.try_recipe(file))
    }

    /// What the artifact needs and is not here; first its manifest is fetched, if need be.
    fn missing(&self, remote: &Remote, artifact: &Artifact) -> Result<Vec<Wanted>, Loss> {
        self.hold(&[artifact.bytes])?;
        let closure = match self.closure(artifact) {
            Err(StoreError::Damaged { digest, .. }) if digest == artifact.bytes => {
                self.fetch(remote, vec![Wanted { digest, size: None }])?;
                self.closure(artifact)?
            }
            other => other?,
        };
        self.hold(&closure.iter().map(|(digest, _)| *digest).collect::<Vec<_>>())?;
        let wanted = closure.into_iter().map(|(digest, size)| Wanted { digest, size: Some(size) });
        Ok(wanted.filter(|wanted| self.is_missing(wanted)).collect())
    }

    /// The files of the artifact that are split here and miss a part.
    fn incomplete(&self, artifact: &Artifact) -> Result<Vec<Wanted>, StoreError> {
        let mut incomplete = Vec::new();
        for (digest, size) in self.needs(artifact)? {
            let parts = self.split(&digest)?.map(|recipe| recipe.parts).unwrap_or_default();
            if parts.iter().any(|(digest, size)| self.is_missing(&Wanted { digest: *digest, size: Some(*size) })) {
                incomplete.push(Wanted { digest, size: Some(size) });
            }
        }
        Ok(incomplete)
    }

    /// Reads a file by a recipe that came from the remote: only then is it known to be the file's.
    fn try_recipe(&self, file: &Digest) -> Result<(), Loss> {
        self.stream_blob(file, &mut io::sink(), &self.blob_path(file), StoreError::within)?;
        Ok(())
    }

    /// By its name alone: whether a blob that is here is whole is found out by whoever reads it.
    fn is_missing(&self, wanted: &Wanted) -> bool {
        !self.blob_path(&wanted.digest).exists()
    }

    /// Fetches these blobs, several at a time, and makes them durable as they come. The files of which there were
    /// recipes only.
    fn fetch(&self, remote: &Remote, wanted: Vec<Wanted>) -> Result<Vec<Digest>, Loss> {
        let (sender, receiver) = sync_channel(AT_ONCE);
        let (store, bucket) = (self.clone().detach(), Arc::clone(&remote.inner.bucket));
        let job = remote.inner.door.start(async move {
            let transfers = stream::iter(wanted.into_iter().map(Ok));
            let transfer = |wanted| transfer(&store, &bucket, wanted, &sender);
            transfers.try_for_each_concurrent(AT_ONCE, transfer).await
        });
        let (mut unsynced, mut adopted) = (Unsynced::default(), Vec::new());
        let named = receiver.iter().try_for_each(|arrived| match arrived {
            Arrived::Blob { digest, draft } => {
                self.publish_blob(draft, &digest, &mut unsynced)?;
                self.stop_doubting(&digest);
                Ok(())
            }
            Arrived::Recipe { file, text } => {
                let altered = Loss::Damage { digest: file, fault: Fault::Altered, why: Doubt::Lost };
                adopted.push(file);
                if self.adopt_recipe(&file, &text)? { Ok(()) } else { Err(altered) }
            }
        });
        // Transfers that nobody waits for any more come to an end by this.
        drop(receiver);
        let fetched = job.wait().unwrap_or_else(|| Err(remote.error(sudden_end()).into()));
        unsynced.settle()?;
        named.and(fetched).map(|()| adopted)
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
    /// What turns out to be damaged after it has come was damaged when it came.
    fn from(error: StoreError) -> Loss {
        match error {
            StoreError::Damaged { digest, fault } => Loss::Damage { digest, fault, why: Doubt::Lost },
            other => Loss::Local(other),
        }
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
    let mut incoming = match bucket.stream(&layout::blob(&bucket.root, &digest)).await {
        Err(Trouble::Absent) if wanted.size.is_some() => {
            let recipe = bucket.get(&layout::recipe(&bucket.root, &digest), RECIPE_LIMIT).await;
            let _ = done.send(Arrived::Recipe { file: digest, text: recipe.map_err(missing)? });
            return Ok(());
        }
        other => other.map_err(missing)?,
    };
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
    let _ = done.send(Arrived::Blob { digest, draft });
    Ok(())
}
