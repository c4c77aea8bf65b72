//! A census: which blobs lie in the store, and which action needs which of them. It is taken from the files
//! themselves, each time.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Artifact, Digest, Store, StoreError};

/// All blobs and all readable receipts.
pub(crate) struct Census {
    pub blobs: Vec<Blob>,
    pub places: HashMap<Digest, usize>,
    pub actions: Vec<Action>,
}

/// A blob that is there.
pub(crate) struct Blob {
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// When it was written, linked or touched.
    pub changed: SystemTime,
}

/// A readable receipt.
pub(crate) struct Action {
    pub key: Digest,
    pub seconds: f64,
    /// Those of its blobs that are there, as places in [`Census::blobs`], each once.
    pub blobs: Vec<usize>,
    /// Whether all of them are there: else it is no hit, and keeps nothing alive.
    pub whole: bool,
    /// The trees of its outputs.
    pub trees: BTreeSet<Digest>,
}

/// What a tree needs: places of blobs, and whether all are there.
type Needs = Rc<(Vec<usize>, bool)>;

impl Census {
    pub(crate) fn take(store: &Store) -> Result<Census, StoreError> {
        let mut census = Census { blobs: Vec::new(), places: HashMap::new(), actions: Vec::new() };
        census.count_blobs(store)?;
        let mut trees = HashMap::new();
        for item in store.receipts() {
            let (key, receipt) = item?;
            let mut action =
                Action { key, seconds: receipt.seconds, blobs: Vec::new(), whole: true, trees: BTreeSet::new() };
            for output in receipt.outputs.values() {
                let needs = census.needs(store, &output.artifact, &mut trees)?;
                action.blobs.extend(&needs.0);
                action.whole &= needs.1;
                action.trees.insert(output.artifact.bytes);
            }
            action.blobs.sort_unstable();
            action.blobs.dedup();
            census.actions.push(action);
        }
        Ok(census)
    }

    fn count_blobs(&mut self, store: &Store) -> Result<(), StoreError> {
        for digest in store.named("blobs") {
            let digest = digest?;
            let path = store.blob_path(&digest);
            match fs::symlink_metadata(&path) {
                Ok(metadata) => {
                    self.places.insert(digest, self.blobs.len());
                    self.blobs.push(Blob { digest, size: metadata.len(), changed: changed(&metadata) });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::within(&path, error)),
            }
        }
        Ok(())
    }

    /// What an artifact needs, asked once for each tree.
    fn needs(
        &self,
        store: &Store,
        artifact: &Artifact,
        trees: &mut HashMap<Digest, Needs>,
    ) -> Result<Needs, StoreError> {
        if let Some(needs) = trees.get(&artifact.bytes) {
            return Ok(Rc::clone(needs));
        }
        let closure = match store.closure(artifact) {
            Ok(closure) => Some(closure),
            Err(error) if error.is_damage() => None,
            Err(error) => return Err(error),
        };
        let places = closure.iter().flatten().map(|(digest, _)| self.places.get(digest).copied());
        let whole = closure.is_some() && places.clone().all(|place| place.is_some());
        let needs = Rc::new((places.flatten().collect(), whole));
        trees.insert(artifact.bytes, Rc::clone(&needs));
        Ok(needs)
    }
}

/// The time that nobody can set.
pub(crate) fn changed(metadata: &fs::Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or_default();
    let nanos = u64::try_from(metadata.ctime_nsec()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}
