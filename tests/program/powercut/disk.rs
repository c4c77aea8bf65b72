//! A folder in the page cache and on the disk, and what a loss of power may leave of it.
//!
//! POSIX promises little: the bytes of a file are on the disk after an `fsync` of the file, a name after an `fsync` of
//! its folder. Everything else may be there or not, each for itself: an old name or a new one, no bytes, old ones, new
//! ones, or zeros. File systems keep more than that, but not all the same.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::log::Change;
use crate::crash::Draws;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// All of it is lost; names that were removed are back.
    Everything,
    /// Names are as they were last, bytes as they were synced: empty files at final names.
    Bytes,
    /// The same, with the right sizes: zeros instead of bytes.
    Zeros,
    /// Each name and each file for itself.
    Some,
    /// Nothing: the machine stopped, the disk did not.
    Nothing,
}

impl Loss {
    pub const ALL: [Loss; 5] = [Loss::Everything, Loss::Bytes, Loss::Zeros, Loss::Some, Loss::Nothing];
}

/// What a file holds, and what is set of it.
#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    mode: Option<u32>,
    /// Where the time of modification was set after the last write.
    time: Option<u64>,
}

type Names = BTreeMap<String, usize>;

/// Files and folders are found by number: a file has several names, and a folder keeps its content when it is renamed.
enum Node {
    File { now: Content, synced: Content, at: usize },
    Folder { now: Names, synced: Names },
    Link { target: PathBuf },
}

/// The folder `root` and all in it.
pub struct Disk {
    /// The folder that `root` lies in is node 0; it is there from the start, and so is nothing else.
    parent: PathBuf,
    nodes: Vec<Node>,
}

impl Disk {
    pub fn new(root: &Path) -> Disk {
        let parent = root.parent().unwrap().to_path_buf();
        Disk { parent, nodes: vec![Node::Folder { now: Names::new(), synced: Names::new() }] }
    }

    /// Makes a change, if it is one of this folder; true if that moves the line between what is safe and what is not.
    pub fn apply(&mut self, change: &Change) -> bool {
        let folder = || Node::Folder { now: Names::new(), synced: Names::new() };
        let done = match change {
            Change::Open { path, create, truncate } => self.open(path, *create, *truncate),
            Change::Write { path, bytes, at } => self.write(path, bytes, *at),
            Change::Truncate { path, size } => self.change(path, |content| content.bytes.resize(*size, 0)),
            Change::Mode { path, mode } => self.change(path, |content| content.mode = Some(*mode)),
            Change::Time { path, seconds } => self.change(path, |content| content.time = Some(*seconds)),
            Change::Sync { path } => self.sync(path),
            Change::MakeFolder { path } => self.add(path, folder()),
            Change::Symlink { target, path } => self.add(path, Node::Link { target: target.clone() }),
            Change::Link { from, to } => self.find(from).and_then(|node| self.name(to, Some(node))),
            Change::Rename { from, to } => self.rename(from, to),
            Change::Remove { path } => self.name(path, None),
        };
        let content = matches!(change, Change::Write { .. } | Change::Truncate { .. } | Change::Mode { .. });
        done.is_some() && !content && !matches!(change, Change::Time { .. })
    }

    /// The bytes of every file whose path ends so, as the page cache has them.
    pub fn read(&self, ending: &str) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut open = vec![(0, PathBuf::new())];
        while let Some((node, path)) = open.pop() {
            match &self.nodes[node] {
                Node::Folder { now, .. } => open.extend(now.iter().map(|(name, node)| (*node, path.join(name)))),
                Node::File { now, .. } if path.ends_with(ending) => found.push((path, now.bytes.clone())),
                Node::File { .. } | Node::Link { .. } => {}
            }
        }
        found.sort();
        found.into_iter().map(|(_, bytes)| bytes).collect()
    }

    /// Makes what is left after a loss of power, in the place of `root`.
    pub fn lose(&self, loss: Loss, draws: &mut Draws) {
        let mut made = BTreeMap::new();
        self.make(0, &self.parent, &mut Choice { loss, draws }, &mut made);
    }

    fn make(&self, folder: usize, place: &Path, choice: &mut Choice, made: &mut BTreeMap<usize, PathBuf>) {
        let Node::Folder { now, synced } = &self.nodes[folder] else { return };
        for (name, node) in choice.names(now, synced) {
            let path = place.join(name);
            match &self.nodes[node] {
                Node::Folder { .. } => {
                    fs::create_dir_all(&path).unwrap();
                    self.make(node, &path, choice, made);
                }
                Node::Link { target } => symlink(target, &path).unwrap(),
                Node::File { now, synced, .. } => match made.get(&node) {
                    Some(other) => fs::hard_link(other, &path).unwrap(),
                    None => {
                        choice.content(now, synced).write(&path);
                        made.insert(node, path);
                    }
                },
            }
        }
    }

    /// The node behind a path; `None` outside, and where nothing is.
    fn find(&self, path: &Path) -> Option<usize> {
        let below = path.strip_prefix(&self.parent).ok()?;
        below.iter().try_fold(0, |node, name| match &self.nodes[node] {
            Node::Folder { now, .. } => now.get(name.to_str()?).copied(),
            Node::File { .. } | Node::Link { .. } => None,
        })
    }

    /// Gives a path to a node, or takes it away.
    fn name(&mut self, path: &Path, node: Option<usize>) -> Option<()> {
        let (folder, name) = (self.find(path.parent()?)?, path.file_name()?.to_str()?.to_string());
        let Node::Folder { now, .. } = &mut self.nodes[folder] else { return None };
        match node {
            Some(node) => drop(now.insert(name, node)),
            None => drop(now.remove(&name)?),
        }
        Some(())
    }

    fn add(&mut self, path: &Path, node: Node) -> Option<()> {
        self.nodes.push(node);
        self.name(path, Some(self.nodes.len() - 1))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Option<()> {
        let node = self.find(from)?;
        self.name(from, None)?;
        self.name(to, Some(node))
    }

    fn open(&mut self, path: &Path, create: bool, truncate: bool) -> Option<()> {
        if self.find(path).is_none() {
            let file = Node::File { now: Content::default(), synced: Content::default(), at: 0 };
            return if create { self.add(path, file) } else { None };
        }
        if truncate {
            self.change(path, |content| content.bytes.clear())?;
        }
        let node = self.find(path)?;
        if let Node::File { now, at, .. } = &mut self.nodes[node] {
            // What is opened without truncating is appended to: nothing here writes into a file otherwise.
            *at = now.bytes.len();
        }
        Some(())
    }

    fn write(&mut self, path: &Path, bytes: &[u8], place: Option<usize>) -> Option<()> {
        let node = self.find(path)?;
        let Node::File { now, at, .. } = &mut self.nodes[node] else { return None };
        let start = place.unwrap_or(*at);
        let end = start + bytes.len();
        if now.bytes.len() < end {
            now.bytes.resize(end, 0);
        }
        now.bytes[start..end].copy_from_slice(bytes);
        now.time = None;
        if place.is_none() {
            *at = end;
        }
        Some(())
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(&mut Content)) -> Option<()> {
        let node = self.find(path)?;
        let Node::File { now, .. } = &mut self.nodes[node] else { return None };
        change(now);
        Some(())
    }

    fn sync(&mut self, path: &Path) -> Option<()> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Node::File { now, synced, .. } => synced.clone_from(now),
            Node::Folder { now, synced } => synced.clone_from(now),
            Node::Link { .. } => return None,
        }
        Some(())
    }
}

/// Who decides what is left.
struct Choice<'a> {
    loss: Loss,
    draws: &'a mut Draws,
}

impl Choice<'_> {
    fn names(&mut self, now: &Names, synced: &Names) -> Names {
        match self.loss {
            Loss::Everything => synced.clone(),
            Loss::Bytes | Loss::Zeros | Loss::Nothing => now.clone(),
            Loss::Some => {
                let all = now.keys().chain(synced.keys().filter(|name| !now.contains_key(*name)));
                let drawn =
                    all.map(|name| (name, if self.draws.below(2) == 0 { now.get(name) } else { synced.get(name) }));
                drawn.filter_map(|(name, node)| Some((name.clone(), *node?))).collect()
            }
        }
    }

    fn content(&mut self, now: &Content, synced: &Content) -> Content {
        let zeros = || match now.bytes == synced.bytes {
            true => now.clone(),
            false => Content { bytes: vec![0; now.bytes.len()], ..now.clone() },
        };
        match self.loss {
            Loss::Everything | Loss::Bytes => synced.clone(),
            Loss::Zeros => zeros(),
            Loss::Nothing => now.clone(),
            Loss::Some => match self.draws.below(3) {
                0 => synced.clone(),
                1 => zeros(),
                _ => now.clone(),
            },
        }
    }
}

impl Content {
    fn write(&self, path: &Path) {
        fs::write(path, &self.bytes).unwrap();
        let file = File::open(path).unwrap();
        if let Some(mode) = self.mode {
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
        }
        if let Some(seconds) = self.time {
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        }
    }
}
