//! Publications: what an action made and the receipt over it, made durable together.
//!
//! Waiting for the disk is most of what a small action costs, and a disk takes many syncs at once in hardly more time
//! than one: a file system writes what waits as one entry of its journal. So nothing is synced when it is written, but
//! all of it side by side, in three steps that must follow each other:
//! 1. the bytes of the blobs, as yet without their names;
//! 2. the folders in which the blobs now have their names, and the bytes of the receipt;
//! 3. the folders in which the receipt now has its name.
//!
//! After a loss of power at any moment there is no receipt, or one over blobs that are all there.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, scope};

use crate::durable::Draft;
use crate::error::within;
use crate::{Artifact, Digest, Receipt, Store, StoreError, disk, folder, receipt};

/// Syncs that are under way at the same time.
const AT_ONCE: usize = 8;

/// Files that wait for their names are open, and there is a limit to that.
const WAITING: usize = 64;

/// Outputs on their way into the store, and then their receipt.
pub struct Publication<'a> {
    store: &'a Store,
    unsynced: Unsynced,
}

impl Store {
    /// Begins with a publication. What was put and not published is swept later, as any blob without an owner.
    pub fn publication(&self) -> Publication<'_> {
        Publication { store: self, unsynced: Unsynced::default() }
    }

    /// Stores a folder, durably. `content` is asked for the digest of what the folder means.
    ///
    /// # Errors
    /// Names that are not UTF-8, links that lead out of the folder or nowhere, and what is neither file, folder nor
    /// link: each is named.
    pub fn put_tree(&self, dir: &Path, content: &dyn Fn(&Path) -> Option<Digest>) -> Result<Artifact, StoreError> {
        let mut publication = self.publication();
        let artifact = publication.put_tree(dir, content)?;
        publication.unsynced.settle()?;
        Ok(artifact)
    }

    /// Makes a receipt durable, in the place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where an output's blob is not in the store: blobs come before receipts.
    pub fn publish(&self, key: &Digest, receipt: &Receipt) -> Result<(), StoreError> {
        self.publication().publish(key, receipt)
    }
}

impl Publication<'_> {
    /// Like [`Store::put_tree`]; durable by [`Publication::publish`].
    pub fn put_tree(&mut self, dir: &Path, content: &dyn Fn(&Path) -> Option<Digest>) -> Result<Artifact, StoreError> {
        let bytes = self.store.put_folder(dir, &mut self.unsynced)?;
        Ok(Artifact { bytes, content: content(dir).unwrap_or(bytes) })
    }

    /// Makes durable what was put, and then the receipt, in the place of an earlier one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where an output's blob is not in the store: blobs come before receipts.
    pub fn publish(mut self, key: &Digest, receipt: &Receipt) -> Result<(), StoreError> {
        self.store.hold(&[*key])?;
        self.unsynced.name()?;
        receipt.outputs.values().try_for_each(|output| self.store.hold_and_check(&output.artifact))?;
        let draft = self.store.draft_of(&receipt::seal(key, receipt)?)?;
        self.unsynced.settle_with(&draft)?;
        self.store.name_durably(draft, &self.store.sharded("receipts", key))
    }
}

/// Blobs that are not durable yet; nothing may refer to them before.
#[derive(Default)]
pub(crate) struct Unsynced {
    /// Written and without their names, which follow.
    drafts: Vec<(Draft, PathBuf)>,
    waiting: HashSet<Digest>,
    /// In which names are not durable.
    folders: BTreeSet<PathBuf>,
}

impl Unsynced {
    /// Takes a finished blob, to be named `place` later.
    pub(crate) fn add(&mut self, draft: Draft, digest: &Digest, place: PathBuf) -> Result<(), StoreError> {
        self.drafts.push((draft, place));
        self.waiting.insert(*digest);
        if self.drafts.len() < WAITING { Ok(()) } else { self.name() }
    }

    /// Whether the blob only waits for its name.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        self.waiting.contains(digest)
    }

    /// That the name of a blob may not be durable yet; the folder of its folder may be new as well.
    pub(crate) fn note(&mut self, place: &Path) {
        self.folders.extend(folders_of(place).map(Path::to_path_buf));
    }

    /// Gives the blobs that wait their names, so that others see them.
    pub(crate) fn name(&mut self) -> Result<(), StoreError> {
        sync(&self.drafts.iter().map(|(draft, _)| Wait::Draft(draft)).collect::<Vec<_>>())?;
        for (draft, place) in std::mem::take(&mut self.drafts) {
            folder::make_parent(&place).and_then(|()| draft.name(&place)).map_err(within(&place))?;
            self.note(&place);
        }
        self.waiting.clear();
        Ok(())
    }

    /// Makes everything durable.
    pub(crate) fn settle(mut self) -> Result<(), StoreError> {
        self.name()?;
        sync(&self.folders.iter().map(|folder| Wait::Folder(folder)).collect::<Vec<_>>())
    }

    /// The same, and the bytes of a draft beside it.
    fn settle_with(mut self, draft: &Draft) -> Result<(), StoreError> {
        self.name()?;
        let folders = self.folders.iter().map(|folder| Wait::Folder(folder));
        sync(&folders.chain([Wait::Draft(draft)]).collect::<Vec<_>>())
    }
}

/// The folder of a file in a sharded folder, and the folder of that.
pub(crate) fn folders_of(place: &Path) -> impl Iterator<Item = &Path> {
    place.ancestors().skip(1).take(2)
}

/// Something to be made durable.
pub(crate) enum Wait<'a> {
    /// Its bytes.
    Draft(&'a Draft),
    /// The names in it.
    Folder(&'a Path),
}

impl Wait<'_> {
    fn sync(&self) -> Result<(), StoreError> {
        match self {
            Wait::Draft(draft) => draft.file.sync().map_err(within(draft.path())),
            Wait::Folder(path) => disk::sync_folder(path).map_err(within(path)),
        }
    }
}

/// Makes all of it durable, side by side.
pub(crate) fn sync(waits: &[Wait<'_>]) -> Result<(), StoreError> {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(wait) = waits.get(next.fetch_add(1, Ordering::Relaxed)) {
            wait.sync()?;
        }
        Ok(())
    };
    scope(|scope| {
        // Where no thread is to be had, fewer do it.
        let spawn = |_| Builder::new().spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (1..waits.len().min(AT_ONCE)).filter_map(spawn).collect();
        let own = work();
        let done =
            helpers.into_iter().map(|helper| helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.fold(own, Result::and)
    })
}
