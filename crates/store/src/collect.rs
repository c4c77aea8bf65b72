//! Collection: gives back the space of what nobody needs, and, up to a limit, of what is cheap to make again.
//!
//! It walks the store itself, no index. What goes, in this order:
//! 1. what nothing refers to: views of what is no longer there, blobs in no whole action's closure (once they are older
//!    than the grace), damaged blobs, checkpoints that nobody has locked, idle locks, old doubts of the remote, and, where
//!    asked for, old runs and receipts;
//! 2. for a limit, views: they can be made again from blobs, and hold blobs' bytes as long as they stand;
//! 3. for a limit, the outputs of actions, in the order of [`crate::evict`]. Receipts stay: they are small, they are
//!    what `explain` and plans go on from, and without its blobs none is a hit.
//!
//! It is safe beside writers and readers: see [`crate::holds`]. A removal that is interrupted at any point leaves
//! receipts that are no hits, nothing else: of all that goes, the manifests of outputs go first.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::census::{Action, Census};
use crate::error::within;
use crate::garbage::{Plan, Waste, What};
use crate::{Digest, Store, StoreError, disk, folder, lock};

/// Removals between two looks at the holds; writers wait for so many at most.
const BATCH: usize = 256;

/// What to collect.
#[derive(Clone, Debug)]
pub struct Collect {
    /// How many bytes the store may have; without it only what nothing needs is removed.
    pub max_size: Option<u64>,
    /// Actions that stay: those that living and recent runs reach. Pinned ones always do.
    pub keep: BTreeSet<Digest>,
    /// What is younger is not garbage yet.
    pub grace: Duration,
    /// Also remove receipts of this age whose outputs are gone.
    pub forget: Option<Duration>,
    /// Remove all runs' folders but so many of the youngest.
    pub keep_runs: Option<usize>,
    /// Remove nothing, and say what would be.
    pub dry_run: bool,
    /// The time to measure ages from.
    pub now: SystemTime,
}

impl Default for Collect {
    /// No limit, an hour of grace.
    fn default() -> Collect {
        Collect {
            max_size: None,
            keep: BTreeSet::new(),
            grace: Duration::from_secs(3600),
            forget: None,
            keep_runs: None,
            dry_run: false,
            now: SystemTime::now(),
        }
    }
}

impl Collect {
    /// Whether something that changed at this time has outlived `age`; what seems to come from the future has not.
    pub(crate) fn is_past(&self, changed: SystemTime, age: Duration) -> bool {
        self.now.duration_since(changed).is_ok_and(|past| past >= age)
    }
}

/// What was collected, or in a dry run would be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Collected {
    /// Actions whose outputs were let go for the limit, in this order.
    pub evicted: Vec<Evicted>,
    /// By the folder of the store, all that was removed.
    pub removed: BTreeMap<&'static str, Removed>,
    /// The store's size in bytes before.
    pub size: u64,
}

impl Collected {
    /// In bytes.
    pub fn freed(&self) -> u64 {
        self.removed.values().map(|removed| removed.bytes).sum()
    }

    /// The store's size in bytes afterwards.
    pub fn left(&self) -> u64 {
        self.size.saturating_sub(self.freed())
    }
}

/// An action that was let go.
#[derive(Clone, Debug, PartialEq)]
pub struct Evicted {
    pub key: Digest,
    /// What it took to make.
    pub seconds: f64,
}

/// So many things in one of the store's folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub count: u64,
    pub bytes: u64,
}

impl Store {
    /// Removes what is not needed; see the module.
    ///
    /// # Errors
    /// [`StoreError::Pin`] where it cannot be known what is pinned; what keeps the store from being read or written.
    pub fn collect(&self, collect: &Collect) -> Result<Collected, StoreError> {
        self.hold(&[])?;
        let _lock = self.lock_collection()?;
        let size = self.usage()?.bytes();
        let plan = Plan::of(self, collect, size)?;
        let removed = match collect.dry_run {
            true => tally(&plan.waste),
            false => self.sweep(&plan.waste)?,
        };
        Ok(Collected { evicted: plan.evicted, removed, size })
    }

    /// Removes an action's receipt, its checkpoints unless it is running, and of its outputs what no other action needs
    /// and nobody uses now.
    ///
    /// # Errors
    /// [`StoreError::Pinned`]; [`StoreError::NoReceipt`].
    pub fn remove(&self, key: &Digest) -> Result<Collected, StoreError> {
        self.hold(&[])?;
        let _lock = self.lock_collection()?;
        let pins = self.pins()?;
        let names: Vec<String> = pins.into_iter().filter(|(_, pinned)| pinned == key).map(|(name, _)| name).collect();
        if !names.is_empty() {
            return Err(StoreError::Pinned { key: *key, names });
        }
        let (size, census) = (self.usage()?.bytes(), Census::take(self)?);
        let Some(action) = census.actions.iter().find(|action| action.key == *key) else {
            return Err(StoreError::NoReceipt { key: *key });
        };
        let removed = self.sweep(&self.waste_of(&census, action)?)?;
        let evicted = vec![Evicted { key: *key, seconds: action.seconds }];
        Ok(Collected { evicted, removed, size })
    }

    /// An action's receipt and checkpoints, and the views and blobs that no other receipt leads to. The receipt goes
    /// first.
    fn waste_of(&self, census: &Census, action: &Action) -> Result<Vec<Waste>, StoreError> {
        let others = || census.actions.iter().filter(|other| other.key != action.key);
        let trees: BTreeSet<Digest> = others().flat_map(|other| other.trees.iter().copied()).collect();
        let blobs: HashSet<usize> = others().flat_map(|other| other.blobs.iter().copied()).collect();
        let mut waste = vec![self.waste_receipt(action.key)];
        waste.extend(self.waste_wip(action.key)?);
        for tree in action.trees.difference(&trees) {
            waste.extend(self.waste_view(*tree)?);
        }
        let alone = action.blobs.iter().filter(|blob| !blobs.contains(blob)).map(|&blob| &census.blobs[blob]);
        waste.extend(alone.map(|blob| Waste { what: What::Blob(blob.digest), bytes: blob.size }));
        Ok(waste)
    }

    /// Removes in batches, and passes over what is held by then.
    fn sweep(&self, waste: &[Waste]) -> Result<BTreeMap<&'static str, Removed>, StoreError> {
        let mut gone = Vec::new();
        for batch in waste.chunks(BATCH) {
            let mut away = Vec::new();
            let lock = self.lock_sweep()?;
            let held = self.held()?;
            for item in batch.iter().filter(|item| item.what.digest().is_none_or(|digest| !held.contains(&digest))) {
                if self.discard(&item.what, &mut away)? {
                    gone.push(item);
                }
            }
            drop(lock);
            // Folders have been moved away, and are emptied while writers go on.
            away.iter().try_for_each(|path| folder::remove(path).map_err(within(path)))?;
        }
        Ok(tally(gone))
    }

    /// Takes the name from one thing; whether it had it.
    fn discard(&self, what: &What, away: &mut Vec<PathBuf>) -> Result<bool, StoreError> {
        match what {
            What::Blob(digest) => remove_file(&self.blob_path(digest)),
            What::Recipe(file) => remove_file(&self.sharded("recipes", file)),
            What::Receipt(key) => remove_file(&self.sharded("receipts", key)),
            What::Damaged(path) => remove_file(path),
            What::View(tree) => self.move_away(&self.folder("views").join(tree.hex()), away),
            What::Run(path) => self.move_away(path, away),
            What::Lock(path) => lock::remove(path).map_err(within(path)),
            What::Doubt(digest) => self.forgive(digest),
            What::Wip(key) => match self.try_lock(key)? {
                Some(_lock) => self.move_away(&self.folder("wip").join(key.hex()), away),
                None => Ok(false),
            },
        }
    }

    fn move_away(&self, path: &Path, away: &mut Vec<PathBuf>) -> Result<bool, StoreError> {
        let place = self.fresh()?;
        // A folder that is not writable can be renamed within its parent only.
        let moved = folder::chmod(path, 0o755).and_then(|()| disk::rename(path, &place));
        match moved {
            Ok(()) => away.push(place),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::within(path, error)),
        }
        Ok(true)
    }
}

fn tally<'a>(waste: impl IntoIterator<Item = &'a Waste>) -> BTreeMap<&'static str, Removed> {
    let mut removed: BTreeMap<&'static str, Removed> = BTreeMap::new();
    for Waste { what, bytes } in waste {
        let sum = removed.entry(what.folder()).or_default();
        sum.count += 1;
        sum.bytes += bytes;
    }
    removed
}

fn remove_file(path: &Path) -> Result<bool, StoreError> {
    match disk::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::within(path, error)),
    }
}
