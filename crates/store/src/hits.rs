//! The index behind [`Store::made`] and [`Store::hit`]: what receipts and their trees say, so that a hit costs a look at each file and reads none.
//!
//! An entry is made when a receipt's seal and its trees' digests have been verified, and it is believed only as long as
//! the receipt's file is the one that was read: device, inode, size and both times are compared, with the racy-clean
//! rule of the stat cache. Trees are immutable under their digest, and every blob's mark, those of the trees included,
//! is still looked at by each hit. So nothing is trusted that was not verified, and nothing can be lost unseen.
//!
//! The file `hit-index` is a row of records: length, check, and a value of [`Record`] in postcard's encoding. Records
//! are appended, later ones win, and what is behind a broken one is dropped. Losing the file costs time only. In memory
//! records stay encoded, about 250 bytes an action, for what is asked for is asked for once.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::Durable;
use crate::stat_cache::State;
use crate::{Artifact, Digest, Made, Output, Store, disk};

/// The version of [`Record`]; records of another are dropped.
const VERSION: u8 = 1;

/// Bytes of a record before its value: four of length, eight of check.
const HEAD: usize = 12;

/// Rewrite the file when it has so many times more bytes than its entries need.
const SLACK: usize = 3;

/// Append to the file when so many bytes are waiting.
const WAITING: usize = 1 << 20;

/// What is known of an action.
pub(crate) struct Entry {
    /// Of the receipt's file.
    pub state: State,
    pub made: Made,
    /// All that must be there for a hit, with the sizes.
    pub blobs: Vec<(Digest, u64)>,
}

/// An [`Entry`] as it is written: digests as their 32 bytes.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u8,
    key: [u8; 32],
    state: State,
    seconds: f64,
    outputs: Vec<Row>,
    blobs: Vec<([u8; 32], u64)>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    kind: String,
    role: String,
    bytes: [u8; 32],
    content: [u8; 32],
}

impl Record {
    fn of(key: &Digest, entry: &Entry) -> Record {
        let row = |(name, output): &(String, Output)| Row {
            name: name.clone(),
            kind: output.kind.clone(),
            role: output.role.clone(),
            bytes: *output.artifact.bytes.as_bytes(),
            content: *output.artifact.content.as_bytes(),
        };
        Record {
            version: VERSION,
            key: *key.as_bytes(),
            state: entry.state,
            seconds: entry.made.seconds,
            outputs: entry.made.outputs.iter().map(row).collect(),
            blobs: entry.blobs.iter().map(|(digest, size)| (*digest.as_bytes(), *size)).collect(),
        }
    }

    fn entry(self) -> Entry {
        let output = |row: Row| {
            let (bytes, content) = (Digest::from_bytes(row.bytes), Digest::from_bytes(row.content));
            (row.name, Output { artifact: Artifact { bytes, content }, kind: row.kind, role: row.role })
        };
        Entry {
            state: self.state,
            made: Made { outputs: self.outputs.into_iter().map(output).collect(), seconds: self.seconds },
            blobs: self.blobs.into_iter().map(|(digest, size)| (Digest::from_bytes(digest), size)).collect(),
        }
    }
}

/// All records, and where the last one of each key begins.
#[derive(Debug, Default)]
pub(crate) struct HitIndex {
    bytes: Vec<u8>,
    places: HashMap<Digest, usize>,
    /// How much of `bytes` is in the file.
    written: usize,
}

impl HitIndex {
    /// Reads as many records as are whole.
    fn parse(mut bytes: Vec<u8>) -> HitIndex {
        let (mut places, mut at) = (HashMap::new(), 0);
        while let Some(value) = value_at(&bytes, at) {
            // A version before the key: what is older is passed over.
            if let (Some(&VERSION), Some(key)) = (value.first(), value.get(1..33)) {
                let key: [u8; 32] = key.try_into().unwrap_or_default();
                places.insert(Digest::from_bytes(key), at);
            }
            at += HEAD + value.len();
        }
        bytes.truncate(at);
        HitIndex { bytes, places, written: at }
    }

    fn get(&self, key: &Digest) -> Option<Entry> {
        let value = value_at(&self.bytes, *self.places.get(key)?)?;
        postcard::from_bytes::<Record>(value).ok().map(Record::entry)
    }

    fn insert(&mut self, key: &Digest, entry: &Entry) {
        let Ok(value) = postcard::to_allocvec(&Record::of(key, entry)) else { return };
        let Ok(length) = u32::try_from(value.len()) else { return };
        self.places.insert(*key, self.bytes.len());
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(check(&value));
        self.bytes.extend(value);
    }

    /// The records that still count, as they are written.
    fn compact(&self) -> Vec<u8> {
        self.records().collect::<Vec<_>>().concat()
    }

    fn compact_size(&self) -> usize {
        self.records().map(<[u8]>::len).sum()
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.places.values().filter_map(|&at| self.bytes.get(at..at + HEAD + length_at(&self.bytes, at)?))
    }

    /// Appends what is new to the file under `root`. A store that cannot be written is no reason to fail.
    pub(crate) fn flush(&mut self, root: &Path) {
        if self.bytes.len() > self.written {
            let _ = disk::append(&place(root), &self.bytes[self.written..]);
            self.written = self.bytes.len();
        }
    }
}

fn place(root: &Path) -> PathBuf {
    root.join("hit-index")
}

fn check(value: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&blake3::hash(value).as_bytes()[..8]);
    check
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)?;
    usize::try_from(length).ok()
}

/// The value of the record at `at`, if it is whole.
fn value_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let value = bytes.get(at + HEAD..at + HEAD + length_at(bytes, at)?)?;
    (bytes[at + 4..at + HEAD] == check(value)).then_some(value)
}

impl Store {
    pub(crate) fn known(&self, key: &Digest) -> Option<Entry> {
        self.hits().get_or_insert_with(|| self.load_hits()).get(key)
    }

    pub(crate) fn enter(&self, key: &Digest, entry: &Entry) {
        let mut hits = self.hits();
        let hits = hits.get_or_insert_with(|| self.load_hits());
        hits.insert(key, entry);
        if hits.bytes.len() - hits.written > WAITING {
            hits.flush(self.root());
        }
    }

    /// What cannot be read is an empty index.
    fn load_hits(&self) -> HitIndex {
        let path = place(self.root());
        let bytes = fs::read(&path).unwrap_or_default();
        let (length, hits) = (bytes.len(), HitIndex::parse(bytes));
        let compact = hits.compact_size();
        if hits.bytes.len() == length && length <= SLACK * compact + WAITING {
            return hits;
        }
        let hits = HitIndex::parse(hits.compact());
        let _ = self.write(&path, &hits.bytes, Durable::No);
        hits
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn entry(text: &str, seconds: f64) -> Entry {
        let artifact = Artifact { bytes: Digest::of(text), content: Digest::of("content") };
        let output = Output { artifact, kind: "files".into(), role: "value".into() };
        let state = State::of(&fs::metadata("/").unwrap());
        Entry {
            state,
            made: Made { outputs: vec![("out".into(), output)], seconds },
            blobs: vec![(artifact.bytes, 7), (Digest::of("x"), u64::MAX)],
        }
    }

    #[test]
    fn records_survive_and_the_last_of_a_key_wins() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let mut index = HitIndex::default();
        index.insert(&a, &entry("old", 1.0));
        index.insert(&b, &entry("b", 2.0));
        index.insert(&a, &entry("new", 3.0));
        for bytes in [index.bytes.clone(), index.compact()] {
            let read = HitIndex::parse(bytes);
            let found = read.get(&a).unwrap();
            assert_eq!((found.made.seconds, found.state), (3.0, entry("", 0.0).state));
            assert_eq!(found.made, entry("new", 3.0).made);
            assert_eq!(found.blobs, entry("new", 3.0).blobs);
            assert_eq!(read.get(&b).unwrap().made.seconds, 2.0);
            assert!(read.get(&Digest::of("c")).is_none());
        }
        assert_eq!(index.compact().len(), index.compact_size());
    }

    #[test]
    fn what_follows_a_broken_record_is_dropped() {
        let mut index = HitIndex::default();
        (0..3).for_each(|i| index.insert(&Digest::of([i]), &entry("x", f64::from(i))));
        let third = index.bytes.len() / 3;
        for (at, whole) in [(3, 0), (10, 0), (third + 40, 1), (2 * third + 11, 2), (3 * third - 1, 2)] {
            let mut broken = index.bytes.clone();
            broken[at] ^= 1;
            let read = HitIndex::parse(broken);
            assert_eq!((read.places.len(), read.bytes.len()), (whole, whole * third), "byte {at}");
            assert_eq!(HitIndex::parse(index.bytes[..at].to_vec()).places.len(), whole);
        }
    }
}
