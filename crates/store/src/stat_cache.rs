//! The stat cache: digests of the user's files that need not be read again.
//!
//! A file whose device, inode, size, time of modification and time of change (in nanoseconds) are as they were when it
//! was hashed has the same bytes, with one exception: the kernel's clock ticks, and a write in the same tick as the
//! last one before the hashing leaves no trace in them. So what had changed less than [`MARGIN`] before it was hashed
//! is not entered at all (git's racy-clean rule) and is hashed again next time.
//!
//! The file `stat-cache` has a line for each entry, which ends in a check of the line; entries are appended, later ones
//! win, and a line that a crash cut short is passed over. Losing the file costs time only.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::durable::Durable;
use crate::error::outside;
use crate::tree::Tree;
use crate::walk::{Leaving, walk};
use crate::{Digest, Store, StoreError, disk, hash};

/// Longer than any tick of a file system's clock (FAT has two seconds).
const MARGIN: Duration = Duration::from_secs(2);

/// How often to hash a file that changes meanwhile before giving up.
const ATTEMPTS: usize = 3;

/// Rewrite the file when it has so many times more lines than entries.
const SLACK: usize = 3;

/// What tells one state of a file from another; times in nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    device: u64,
    inode: u64,
    size: u64,
    modified: i128,
    changed: i128,
}

impl State {
    pub(crate) fn of(metadata: &Metadata) -> State {
        let nanos = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        State {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a later write must show in the times, for a file whose hashing began at `now`.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(MARGIN);
        i128::try_from(now.as_nanos()).is_ok_and(|limit| self.modified < limit && self.changed < limit)
    }
}

/// The entries in memory, and those that are not in the file yet.
#[derive(Debug, Default)]
pub(crate) struct StatCache {
    entries: HashMap<(u64, u64), (State, Digest)>,
    fresh: String,
}

impl StatCache {
    /// Reads the file; also how many lines it has.
    fn parse(text: &str) -> (StatCache, usize) {
        let entries = text.lines().filter_map(parse_line).map(|(state, digest)| (name(&state), (state, digest)));
        (StatCache { entries: entries.collect(), fresh: String::new() }, text.lines().count())
    }

    fn get(&self, state: &State) -> Option<Digest> {
        self.entries.get(&name(state)).filter(|(known, _)| known == state).map(|(_, digest)| *digest)
    }

    fn insert(&mut self, state: State, digest: Digest) {
        self.fresh += &line(&state, &digest);
        self.entries.insert(name(&state), (state, digest));
    }

    fn text(&self) -> String {
        self.entries.values().map(|(state, digest)| line(state, digest)).collect()
    }
}

/// An entry stands for a file under all its names.
fn name(state: &State) -> (u64, u64) {
    (state.device, state.inode)
}

fn line(state: &State, digest: &Digest) -> String {
    let State { device, inode, size, modified, changed } = state;
    let text = format!("{device} {inode} {size} {modified} {changed} {digest}");
    format!("{text} {}\n", Digest::of(&text).short())
}

fn parse_line(line: &str) -> Option<(State, Digest)> {
    let (text, check) = line.rsplit_once(' ')?;
    if Digest::of(text).short() != check {
        return None;
    }
    let mut parts = text.split(' ');
    let state = State {
        device: parts.next()?.parse().ok()?,
        inode: parts.next()?.parse().ok()?,
        size: parts.next()?.parse().ok()?,
        modified: parts.next()?.parse().ok()?,
        changed: parts.next()?.parse().ok()?,
    };
    Some((state, parts.next()?.parse().ok()?))
}

impl Store {
    /// The digest of a file's bytes, or of a folder as a tree (that of [`Store::put_tree`], if no link leads out of
    /// it; links that do are followed). Files that have not changed since they were last hashed are not read.
    ///
    /// # Errors
    /// [`StoreError::Changed`] for a file that is being written; [`StoreError::Io`] where there is nothing at `path`.
    pub fn digest_path(&self, path: &Path) -> Result<Digest, StoreError> {
        let metadata = fs::metadata(path).map_err(outside(path))?;
        let digest = if metadata.is_dir() {
            let tree = Tree::of(walk(path, Leaving::Follow)?, |path| self.digest_file(path))?;
            Digest::of(tree.encode()?)
        } else if metadata.is_file() {
            self.digest_file(path)?.0
        } else {
            return Err(StoreError::Special { path: path.to_path_buf() });
        };
        self.flush_stats();
        Ok(digest)
    }

    /// The lock on the cache is not held while a file is hashed.
    fn digest_file(&self, path: &Path) -> Result<(Digest, u64), StoreError> {
        let known = State::of(&fs::metadata(path).map_err(outside(path))?);
        if let Some(digest) = self.with_stats(|stats| stats.get(&known)) {
            return Ok((digest, known.size));
        }
        for _ in 0..ATTEMPTS {
            let now = SystemTime::now();
            if let Some((state, digest)) = hash_still(path).map_err(outside(path))? {
                if state.is_settled(now) {
                    self.with_stats(|stats| stats.insert(state, digest));
                }
                return Ok((digest, state.size));
            }
        }
        Err(StoreError::Changed { path: path.to_path_buf() })
    }

    fn with_stats<T>(&self, act: impl FnOnce(&mut StatCache) -> T) -> T {
        act(self.stats().get_or_insert_with(|| self.load_stats()))
    }

    fn stats_path(&self) -> PathBuf {
        self.root().join("stat-cache")
    }

    /// What cannot be read is an empty cache.
    fn load_stats(&self) -> StatCache {
        let text = fs::read(self.stats_path()).unwrap_or_default();
        let (stats, lines) = StatCache::parse(&String::from_utf8_lossy(&text));
        if lines > SLACK * stats.entries.len() + 1000 {
            let _ = self.write(&self.stats_path(), stats.text().as_bytes(), Durable::No);
        }
        stats
    }

    /// Appends what is new. A store that cannot be written is no reason to fail here: it costs time only.
    fn flush_stats(&self) {
        let fresh = self.with_stats(|stats| std::mem::take(&mut stats.fresh));
        if !fresh.is_empty() {
            let _ = disk::append(&self.stats_path(), fresh.as_bytes());
        }
    }
}

/// Hashes a file; `None` if it changed meanwhile.
fn hash_still(path: &Path) -> io::Result<Option<(State, Digest)>> {
    let file = File::open(path)?;
    let before = State::of(&file.metadata()?);
    let (digest, size) = hash::digest_file(&file)?;
    let after = State::of(&file.metadata()?);
    Ok((before == after && size == before.size).then_some((before, digest)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn state(inode: u64, modified: i128) -> State {
        State { device: 1, inode, size: 3, modified, changed: modified }
    }

    #[test]
    fn lines_survive_and_broken_ones_are_passed_over() {
        let (a, b) = (line(&state(7, -5), &Digest::of("a")), line(&state(8, 9), &Digest::of("b")));
        let text = format!("{}\n{b}{a}{}", &a[..40], b.replacen("8 ", "9 ", 1));
        let (cache, lines) = StatCache::parse(&text);
        assert_eq!(lines, 4);
        assert_eq!(cache.entries.len(), 2);
        assert_eq!(cache.get(&state(7, -5)), Some(Digest::of("a")));
        assert_eq!(cache.get(&state(8, 10)), None);
    }

    #[test]
    fn only_what_has_been_still_for_a_while_is_settled() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert!(state(1, 97_999_999_999).is_settled(now));
        assert!(!state(1, 98_000_000_000).is_settled(now));
        assert!(!state(1, 200_000_000_000).is_settled(now), "a clock that went back");
        assert!(!State { changed: 99_000_000_000, ..state(1, 1) }.is_settled(now), "times that were set");
    }
}
