//! What a collection removes: nothing is touched here, only judged.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::census::{Action, Census, changed};
use crate::error::within;
use crate::evict::{self, Claim};
use crate::holds::LASTING;
use crate::remote::FORGIVEN;
use crate::{Collect, Digest, Evicted, Store, StoreError, folder};

/// Something to remove.
pub(crate) struct Waste {
    pub what: What,
    /// What becomes free.
    pub bytes: u64,
}

pub(crate) enum What {
    Blob(Digest),
    View(Digest),
    Receipt(Digest),
    Recipe(Digest),
    Wip(Digest),
    Damaged(PathBuf),
    Run(PathBuf),
    Lock(PathBuf),
    Doubt(Digest),
}

impl What {
    pub(crate) fn folder(&self) -> &'static str {
        match self {
            What::Blob(_) => "blobs",
            What::View(_) => "views",
            What::Receipt(_) => "receipts",
            What::Recipe(_) => "recipes",
            What::Wip(_) => "wip",
            What::Damaged(_) => "damaged",
            What::Run(_) => "runs",
            What::Lock(_) => "locks",
            What::Doubt(_) => "remote",
        }
    }

    /// What somebody may hold.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            What::Blob(digest) | What::View(digest) | What::Receipt(digest) | What::Recipe(digest) => Some(*digest),
            What::Wip(_) | What::Damaged(_) | What::Run(_) | What::Lock(_) | What::Doubt(_) => None,
        }
    }
}

/// What goes, and whose.
pub(crate) struct Plan {
    pub waste: Vec<Waste>,
    pub evicted: Vec<Evicted>,
}

impl Plan {
    pub(crate) fn of(store: &Store, collect: &Collect, size: u64) -> Result<Plan, StoreError> {
        let held = store.held()?;
        let mut keep = collect.keep.clone();
        keep.extend(store.pins()?.into_values());
        let census = Census::take(store)?;
        let planner = Planner { store, collect, held, keep, census };
        let mut plan = Plan { waste: planner.garbage()?, evicted: Vec::new() };
        if let Some(limit) = collect.max_size {
            planner.make_room(size.saturating_sub(limit), &mut plan)?;
        }
        plan.waste.extend(planner.useless_recipes(&plan.waste)?);
        planner.put_trees_first(&mut plan.waste);
        Ok(plan)
    }

    fn bytes(&self) -> u64 {
        self.waste.iter().map(|item| item.bytes).sum()
    }
}

struct Planner<'a> {
    store: &'a Store,
    collect: &'a Collect,
    held: HashSet<Digest>,
    keep: BTreeSet<Digest>,
    census: Census,
}

impl Planner<'_> {
    /// Whether the action's blobs count as needed.
    fn is_owner(&self, action: &Action) -> bool {
        action.whole || self.stays(action)
    }

    /// Whether nothing may take the action's outputs: it was asked for, or somebody reads or writes them now.
    fn stays(&self, action: &Action) -> bool {
        self.keep.contains(&action.key) || action.trees.iter().any(|tree| self.held.contains(tree))
    }

    /// Manifests of outputs go first: should the collection be interrupted, an output without its manifest was let go,
    /// and one that lacks something else would be damaged.
    fn put_trees_first(&self, waste: &mut [Waste]) {
        let trees: HashSet<Digest> = self.census.actions.iter().flat_map(|action| &action.trees).copied().collect();
        waste.sort_by_key(|item| !matches!(item.what, What::Blob(digest) if trees.contains(&digest)));
    }

    /// What nothing needs, limit or not.
    fn garbage(&self) -> Result<Vec<Waste>, StoreError> {
        let mut waste = self.stale_views()?;
        waste.extend(self.forgotten()?);
        waste.extend(self.loose_blobs());
        waste.extend(self.aged("damaged")?.into_iter().map(|(path, bytes)| Waste { what: What::Damaged(path), bytes }));
        waste.extend(self.stale_wip()?);
        waste.extend(self.old_runs()?);
        waste.extend(self.idle_locks()?);
        waste.extend(self.old_doubts()?);
        Ok(waste)
    }

    /// Views of trees that no action made or that are no longer whole.
    fn stale_views(&self) -> Result<Vec<Waste>, StoreError> {
        let owners = self.census.actions.iter().filter(|action| self.is_owner(action));
        let trees: HashSet<Digest> = owners.flat_map(|action| action.trees.iter().copied()).collect();
        let stale = self.views()?.into_iter().filter(|tree| !trees.contains(tree) && !self.held.contains(tree));
        Ok(stale
            .map(|tree| self.store.waste_view(tree))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    fn views(&self) -> Result<Vec<Digest>, StoreError> {
        let path = self.store.folder("views");
        let paths = folder::list(&path).map_err(within(&path))?;
        Ok(paths.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect())
    }

    /// Receipts that are no hits, and old enough for their reader to have asked that they be forgotten.
    fn forgotten(&self) -> Result<Vec<Waste>, StoreError> {
        let Some(age) = self.collect.forget else { return Ok(Vec::new()) };
        let mut waste = Vec::new();
        for action in self.census.actions.iter().filter(|action| !self.is_owner(action)) {
            let path = self.store.sharded("receipts", &action.key);
            if self.collect.is_past(newest(&path)?, age) {
                waste.push(self.store.waste_receipt(action.key));
            }
        }
        Ok(waste)
    }

    fn loose_blobs(&self) -> Vec<Waste> {
        let mut needed = vec![false; self.census.blobs.len()];
        let owners = self.census.actions.iter().filter(|action| self.is_owner(action));
        owners.flat_map(|action| &action.blobs).for_each(|&blob| needed[blob] = true);
        let loose = self.census.blobs.iter().zip(needed).filter(|(blob, needed)| {
            !needed && !self.held.contains(&blob.digest) && self.collect.is_past(blob.changed, self.collect.grace)
        });
        loose.map(|(blob, _)| Waste { what: What::Blob(blob.digest), bytes: blob.size }).collect()
    }

    /// Recipes of files that can neither be read nor made, once the rest has gone.
    fn useless_recipes(&self, waste: &[Waste]) -> Result<Vec<Waste>, StoreError> {
        let going: HashSet<Digest> = waste
            .iter()
            .filter_map(|item| if let What::Blob(digest) = item.what { Some(digest) } else { None })
            .collect();
        let stays = |digest: &Digest| self.census.places.contains_key(digest) && !going.contains(digest);
        let mut useless = Vec::new();
        for file in self.store.named("recipes") {
            let file = file?;
            let parts = self.store.recipe(&file)?;
            let useful = stays(&file) || parts.is_some_and(|recipe| recipe.parts.iter().all(|(part, _)| stays(part)));
            if !useful && !self.held.contains(&file) {
                let bytes = all_bytes(&self.store.sharded("recipes", &file))?;
                useless.push(Waste { what: What::Recipe(file), bytes });
            }
        }
        Ok(useless)
    }

    /// Checkpoints that nobody goes on from any more.
    fn stale_wip(&self) -> Result<Vec<Waste>, StoreError> {
        let aged = self.aged("wip")?.into_iter();
        let keyed = aged.filter_map(|(path, bytes)| Some((path.file_name()?.to_str()?.parse().ok()?, bytes)));
        let stale = keyed.filter(|(key, _)| !self.keep.contains(key));
        Ok(stale.map(|(key, bytes)| Waste { what: What::Wip(key), bytes }).collect())
    }

    fn old_runs(&self) -> Result<Vec<Waste>, StoreError> {
        let Some(count) = self.collect.keep_runs else { return Ok(Vec::new()) };
        let runs = self.store.runs()?;
        let old: BTreeSet<&Path> = runs[..runs.len().saturating_sub(count)].iter().map(|run| run.path()).collect();
        let aged = self.aged("runs")?.into_iter().filter(|(path, _)| old.contains(path.as_path()));
        Ok(aged.map(|(path, bytes)| Waste { what: What::Run(path), bytes }).collect())
    }

    /// The files of locks that nobody has taken for a while; whether somebody has one is seen when it is removed.
    fn idle_locks(&self) -> Result<Vec<Waste>, StoreError> {
        let lasts = |path: &Path| path.file_name().is_some_and(|name| LASTING.iter().any(|lasting| name == *lasting));
        let idle = self.aged("locks")?.into_iter().filter(|(path, _)| !lasts(path));
        Ok(idle.map(|(path, bytes)| Waste { what: What::Lock(path), bytes }).collect())
    }

    /// What the remote was doubted to have so long ago that it does not count any more.
    fn old_doubts(&self) -> Result<Vec<Waste>, StoreError> {
        let mut old = Vec::new();
        for (digest, since, bytes) in self.store.doubts()? {
            if self.collect.is_past(since, FORGIVEN.max(self.collect.grace)) {
                old.push(Waste { what: What::Doubt(digest), bytes });
            }
        }
        Ok(old)
    }

    /// The things in a folder of the store in which nothing has changed within the grace, with their sizes.
    fn aged(&self, name: &str) -> Result<Vec<(PathBuf, u64)>, StoreError> {
        let path = self.store.folder(name);
        let mut aged = Vec::new();
        for path in folder::list(&path).map_err(within(&path))? {
            if self.collect.is_past(newest(&path)?, self.collect.grace) {
                let bytes = all_bytes(&path)?;
                aged.push((path, bytes));
            }
        }
        Ok(aged)
    }

    /// Adds to the plan until `excess` bytes go: views, then actions.
    fn make_room(&self, excess: u64, plan: &mut Plan) -> Result<(), StoreError> {
        let planned: HashSet<Digest> = plan.waste.iter().filter_map(|item| item.what.digest()).collect();
        let mut views = Vec::new();
        for tree in self.views()?.into_iter().filter(|tree| !planned.contains(tree) && !self.held.contains(tree)) {
            views.extend(self.store.waste_view(tree)?);
        }
        views.sort_by_key(|view| std::cmp::Reverse(view.bytes));
        let mut room = excess.saturating_sub(plan.bytes());
        let dear = views.iter().take_while(|view| {
            let needed = room > 0 && view.bytes > 0;
            room = room.saturating_sub(view.bytes);
            needed
        });
        let count = dear.count();
        let rest = views.split_off(count);
        plan.waste.extend(views);
        let missing = excess.saturating_sub(plan.bytes());
        self.evict(missing, rest, plan);
        Ok(())
    }

    /// Lets actions go, with their views, for as long as bytes are missing.
    fn evict(&self, missing: u64, views: Vec<Waste>, plan: &mut Plan) {
        let owners: Vec<&Action> = self.census.actions.iter().filter(|action| self.is_owner(action)).collect();
        let claim =
            |action: &&Action| Claim { seconds: action.seconds, blobs: action.blobs.clone(), kept: self.stays(action) };
        let claims: Vec<Claim> = owners.iter().map(claim).collect();
        let sizes: Vec<u64> = self.census.blobs.iter().map(|blob| blob.size).collect();
        let held: Vec<bool> = self.census.blobs.iter().map(|blob| self.held.contains(&blob.digest)).collect();
        let chosen: BTreeSet<usize> = {
            let order = evict::choose(&claims, &sizes, &held, missing);
            plan.evicted = order.iter().map(|&i| Evicted { key: owners[i].key, seconds: owners[i].seconds }).collect();
            order.into_iter().collect()
        };
        let (gone, left): (Vec<_>, Vec<_>) = owners.iter().enumerate().partition(|(index, _)| chosen.contains(index));
        let trees: HashSet<Digest> = left.iter().flat_map(|(_, action)| action.trees.iter().copied()).collect();
        let blobs: HashSet<usize> = left.iter().flat_map(|(_, action)| action.blobs.iter().copied()).collect();
        plan.waste
            .extend(views.into_iter().filter(|view| view.what.digest().is_some_and(|tree| !trees.contains(&tree))));
        let free: BTreeSet<usize> = gone.iter().flat_map(|(_, action)| action.blobs.iter().copied()).collect();
        let free = free.into_iter().filter(|&blob| !blobs.contains(&blob) && !held[blob]);
        plan.waste.extend(free.map(|blob| {
            let blob = &self.census.blobs[blob];
            Waste { what: What::Blob(blob.digest), bytes: blob.size }
        }));
    }
}

impl Store {
    pub(crate) fn waste_receipt(&self, key: Digest) -> Waste {
        let bytes = fs::symlink_metadata(self.sharded("receipts", &key)).map_or(0, |metadata| metadata.len());
        Waste { what: What::Receipt(key), bytes }
    }

    /// Checkpoints, if there are any.
    pub(crate) fn waste_wip(&self, key: Digest) -> Result<Option<Waste>, StoreError> {
        let path = self.folder("wip").join(key.hex());
        let bytes = all_bytes(&path)?;
        Ok(path.exists().then_some(Waste { what: What::Wip(key), bytes }))
    }

    /// A view, if it stands, with the bytes that are its own.
    pub(crate) fn waste_view(&self, tree: Digest) -> Result<Option<Waste>, StoreError> {
        let path = self.folder("views").join(tree.hex());
        let bytes = own_bytes(&path)?;
        Ok(path.exists().then_some(Waste { what: What::View(tree), bytes }))
    }
}

/// The sizes of all files that have no other name.
fn own_bytes(path: &Path) -> Result<u64, StoreError> {
    measure(path, |metadata| metadata.nlink() == 1)
}

fn all_bytes(path: &Path) -> Result<u64, StoreError> {
    measure(path, |_| true)
}

fn measure(path: &Path, counts: impl Fn(&fs::Metadata) -> bool) -> Result<u64, StoreError> {
    let mut bytes = 0;
    let mut add = |_: &Path, metadata: &fs::Metadata| bytes += if counts(metadata) { metadata.len() } else { 0 };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => folder::each_file(path, &mut add).map_err(within(path))?,
        Ok(metadata) => add(path, &metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::within(path, error)),
    }
    Ok(bytes)
}

/// When something last changed in it; the future where it is gone.
fn newest(path: &Path) -> Result<SystemTime, StoreError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(SystemTime::now() + Duration::from_secs(3600)) };
    let mut newest = changed(&metadata);
    if metadata.is_dir() {
        let mut look = |_: &Path, metadata: &fs::Metadata| newest = newest.max(changed(metadata));
        folder::each_file(path, &mut look).map_err(within(path))?;
    }
    Ok(newest)
}
