//! Giving results to the remote: blobs, then recipes, then the receipt; what is there is left as it is.
//!
//! Of two results for one key neither is put in the place of the other; `conflicts` tells of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::bucket::{Bucket, PART};
use super::conflicts::{Conflict, differences};
use super::layout::{self, Subject};
use super::statements::Statement;
use super::trouble::{Trouble, sudden_end};
use super::wire::Parcel;
use super::{PublicKey, Remote};
use crate::error::within;
use crate::{Digest, Receipt, Store, StoreError};

/// Blobs that are on their way at the same time.
const AT_ONCE: usize = 8;

/// From this size on, in bytes, it is cheaper to ask whether a blob is there than to send it in vain.
const WORTH_ASKING: u64 = 16 << 10;

/// What a push did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pushed {
    /// Blobs that were sent.
    pub sent: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// Blobs that were there already.
    pub present: u64,
    /// Results of the same action that came out otherwise.
    pub conflicts: Vec<Conflict>,
}

/// What is to be said at the remote, and in whose name.
struct Testimony {
    subject: Subject,
    signer: PublicKey,
    sealed: Vec<u8>,
}

impl Store {
    /// Gives a result that is here to the remote: its blobs, then its receipt. `None` where there is no remote to write
    /// to, or no receipt here.
    ///
    /// A receipt that came from another principal keeps that principal's signature: this store does not vouch for what
    /// it has not made.
    ///
    /// # Errors
    /// [`StoreError::Remote`] where the remote does not answer or refuses; [`StoreError::Damaged`] for a blob that is
    /// lost here.
    pub fn push(&self, key: &Digest) -> Result<Option<Pushed>, StoreError> {
        let Some(remote) = self.sink() else { return Ok(None) };
        let Some(receipt) = self.local_receipt(key)? else { return Ok(None) };
        let mut pushed = Pushed::default();
        self.send_blobs(remote, &receipt, &mut pushed)?;
        self.send_recipes(remote, &receipt)?;
        let testimony = self.testimony(key, &receipt)?;
        remote.register(&testimony.signer)?;
        pushed.conflicts = self.send_receipt(remote, &testimony, &receipt)?;
        self.note_conflicts(&pushed.conflicts)?;
        Ok(Some(pushed))
    }

    /// Gives a deep key that is known here to the remote. False where there is no remote to write to, no such deep key
    /// here, or another action key behind it at the remote, which stays.
    ///
    /// # Errors
    /// [`StoreError::Remote`] where the remote does not answer or refuses.
    pub fn push_deep(&self, deep: &Digest) -> Result<bool, StoreError> {
        let Some(remote) = self.sink() else { return Ok(false) };
        let Some(key) = self.local_deep(deep)? else { return Ok(false) };
        let testimony = self.testify(Subject::deep(deep), key.as_bytes())?;
        remote.register(&testimony.signer)?;
        let before = remote.say(&testimony, &|_| true)?;
        Ok(before.is_none_or(|before| before.payload == key.as_bytes()))
    }

    /// The remote, where results are given to it.
    fn sink(&self) -> Option<&Remote> {
        self.remote().filter(|remote| remote.mode().writes())
    }

    fn testimony(&self, key: &Digest, receipt: &Receipt) -> Result<Testimony, StoreError> {
        let subject = Subject::receipt(key);
        if let Some(kept) = self.kept(subject)?.filter(|kept| says(kept).as_ref() == Some(receipt)) {
            return Ok(Testimony { subject, signer: kept.signer, sealed: kept.sealed });
        }
        self.testify(subject, &Parcel::pack(self, receipt)?.encode()?)
    }

    fn testify(&self, subject: Subject, payload: &[u8]) -> Result<Testimony, StoreError> {
        let key = self.signing_key()?;
        let sealed = key.seal(subject.topic.domain(), &subject.name, payload);
        Ok(Testimony { subject, signer: key.public_key(), sealed })
    }

    fn send_blobs(&self, remote: &Remote, receipt: &Receipt, pushed: &mut Pushed) -> Result<(), StoreError> {
        let needed = self.needed(receipt)?;
        let is_known = |blob: &Outgoing| !blob.afresh && remote.memory().present.contains(&blob.digest);
        let (known, outgoing): (Vec<Outgoing>, Vec<Outgoing>) = needed.into_iter().partition(is_known);
        pushed.present += known.len() as u64;
        for Outgoing { digest, size, afresh } in remote.deliver(self, outgoing)? {
            remote.memory().present.insert(digest);
            self.stop_doubting(&digest);
            match afresh {
                true => (pushed.sent, pushed.bytes) = (pushed.sent + 1, pushed.bytes + size),
                false => pushed.present += 1,
            }
        }
        Ok(())
    }

    /// Of which blobs the files consist that are split here; a file that is there as one blob needs none.
    fn send_recipes(&self, remote: &Remote, receipt: &Receipt) -> Result<(), StoreError> {
        for output in receipt.outputs.values() {
            let is_lost = self.is_lost(&output.artifact.bytes);
            for file in self.split_files(&output.artifact)? {
                let Some(text) = self.recipe_bytes(&file)? else { continue };
                let (bucket, afresh) = (Arc::clone(&remote.inner.bucket), is_lost || self.is_lost(&file));
                let path = layout::recipe(&bucket.root, &file);
                let sent = remote.wait(async move {
                    match afresh {
                        true => bucket.replace(&path, text.into()).await,
                        false => bucket.create(&path, text.into()).await,
                    }
                });
                match sent {
                    Ok(()) | Err(Trouble::Exists) => self.stop_doubting(&file),
                    Err(trouble) => return Err(remote.error(trouble)),
                }
            }
        }
        Ok(())
    }

    /// All that the receipt tells of, each blob once.
    fn needed(&self, receipt: &Receipt) -> Result<Vec<Outgoing>, StoreError> {
        let mut needed = BTreeMap::new();
        for output in receipt.outputs.values() {
            let is_lost = self.is_lost(&output.artifact.bytes);
            for (digest, size) in self.closure(&output.artifact)? {
                let blob = needed.entry(digest).or_insert(Outgoing { digest, size, afresh: false });
                blob.afresh |= is_lost || self.is_lost(&digest);
            }
        }
        Ok(needed.into_values().collect())
    }

    /// Says it in its signer's place, and compares it with what others say.
    fn send_receipt(
        &self,
        remote: &Remote,
        testimony: &Testimony,
        receipt: &Receipt,
    ) -> Result<Vec<Conflict>, StoreError> {
        let key = testimony.subject.name;
        let is_lost = |receipt: &Receipt| receipt.outputs.values().any(|output| self.is_lost(&output.artifact.bytes));
        let is_fine = |said: &Statement| says(said).is_some_and(|said| !is_lost(&said));
        let before = remote.say(testimony, &is_fine)?;
        let mut others = remote.hear(testimony.subject, &self.others(testimony.signer)?).unwrap_or_default();
        others.extend(before);
        let differences = |other: &Statement| says(other).map(|said| differences(&key, receipt, &said, &other.signer));
        Ok(others.iter().filter_map(differences).flatten().collect())
    }

    /// Who else is trusted.
    fn others(&self, signer: PublicKey) -> Result<Vec<PublicKey>, StoreError> {
        Ok(self.accepted()?.into_iter().filter(|key| *key != signer).collect())
    }
}

fn says(statement: &Statement) -> Option<Receipt> {
    Parcel::decode(&statement.payload).map(|parcel| parcel.receipt)
}

/// A blob on its way out.
#[derive(Clone, Copy)]
struct Outgoing {
    digest: Digest,
    /// In bytes.
    size: u64,
    /// Whether it is to be sent even if something of its name is there; afterwards, whether it was sent.
    afresh: bool,
}

/// Why a blob did not go.
enum Stuck {
    Local(StoreError),
    Remote(Trouble),
}

impl Remote {
    /// Says it, unless there is a statement in the same name that is fine. What was said before, in any case.
    fn say(
        &self,
        testimony: &Testimony,
        is_fine: &dyn Fn(&Statement) -> bool,
    ) -> Result<Option<Statement>, StoreError> {
        let path = layout::statement(&self.inner.bucket.root, testimony.subject, &testimony.signer);
        let sealed = Bytes::from(testimony.sealed.clone());
        let created = {
            let (bucket, path, sealed) = (Arc::clone(&self.inner.bucket), path.clone(), sealed.clone());
            self.wait(async move { bucket.create(&path, sealed).await })
        };
        match created {
            Err(Trouble::Exists) => {}
            other => return other.map(|()| None).map_err(|trouble| self.error(trouble)),
        }
        let before = self.hear(testimony.subject, &[testimony.signer]).map_err(|trouble| self.error(trouble))?.pop();
        if before.as_ref().is_some_and(is_fine) {
            return Ok(before);
        }
        let bucket = Arc::clone(&self.inner.bucket);
        let replaced = self.wait(async move { bucket.replace(&path, sealed).await });
        replaced.map(|()| before).map_err(|trouble| self.error(trouble))
    }

    /// Makes known that this principal publishes here.
    fn register(&self, signer: &PublicKey) -> Result<(), StoreError> {
        if self.memory().registered.contains(&signer.to_string()) {
            return Ok(());
        }
        let bucket = Arc::clone(&self.inner.bucket);
        let (path, text) = (layout::principal(&bucket.root, signer), format!("{signer}\n"));
        match self.wait(async move { bucket.create(&path, text.into()).await }) {
            Ok(()) | Err(Trouble::Exists) => {
                self.memory().registered.insert(signer.to_string());
                Ok(())
            }
            Err(trouble) => Err(self.error(trouble)),
        }
    }

    /// Sends these blobs, several at a time; tells of each whether it was sent.
    fn deliver(&self, store: &Store, outgoing: Vec<Outgoing>) -> Result<Vec<Outgoing>, StoreError> {
        let (store, bucket) = (store.clone().detach(), Arc::clone(&self.inner.bucket));
        let delivered = self.inner.door.wait(async move {
            let sending = stream::iter(outgoing).map(|blob| deliver(&store, &bucket, blob));
            sending.buffer_unordered(AT_ONCE).try_collect::<Vec<Outgoing>>().await
        });
        match delivered {
            Some(Ok(delivered)) => Ok(delivered),
            Some(Err(Stuck::Local(error))) => Err(error),
            Some(Err(Stuck::Remote(trouble))) => Err(self.error(trouble)),
            None => Err(self.error(sudden_end())),
        }
    }
}

/// Sends a blob, verified, unless it is there.
async fn deliver(store: &Store, bucket: &Bucket, blob: Outgoing) -> Result<Outgoing, Stuck> {
    let Outgoing { digest, size, mut afresh } = blob;
    let path = layout::blob(&bucket.root, &digest);
    if !afresh && size >= WORTH_ASKING {
        match bucket.size(&path).await {
            Ok(found) if found == size => return Ok(blob),
            // Cut short, which a condition on its absence would not mend.
            Ok(_) => afresh = true,
            Err(Trouble::Absent) => {}
            Err(trouble) => return Err(Stuck::Remote(trouble)),
        }
    }
    let sent = if size > PART {
        store.check_blob(&digest).map_err(Stuck::Local)?;
        let place = store.blob_path(&digest);
        let file = File::open(&place).map_err(|error| Stuck::Local(within(&place)(error)))?;
        bucket.upload(&path, file, size).await
    } else {
        let bytes = Bytes::from(store.read_blob(&digest).map_err(Stuck::Local)?);
        match afresh {
            true => bucket.replace(&path, bytes).await,
            false => bucket.create(&path, bytes).await,
        }
    };
    match sent {
        Ok(()) => Ok(Outgoing { afresh: true, ..blob }),
        Err(Trouble::Exists) => Ok(Outgoing { afresh: false, ..blob }),
        Err(trouble) => Err(Stuck::Remote(trouble)),
    }
}
