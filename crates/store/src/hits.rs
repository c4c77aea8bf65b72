//! The index behind [`Store::made`] and [`Store::hit`]: what receipts and their trees say, so that a hit costs a look at each file and reads none.
//!
//! An entry is made when a receipt's seal and its trees' digests have been verified, and it is believed only as long as
//! the receipt's file is the one that was read: device, inode, size and both times are compared, with the racy-clean
//! rule of the stat cache. Trees are immutable under their digest, and every blob's mark, those of the trees included,
//! is still looked at by each hit. So nothing is trusted that was not verified, and nothing can be lost unseen.
//!
//! The file `hit-index` is a row of records: length, check, and a value of [`Record`] in postcard's encoding. Records
//! are appended, later ones win, and what is behind a broken one is dropped. Losing the file costs time only. What is in
//! the file stays there, since what is asked for is asked for once: in memory are an offset for each key, and new records.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::Durable;
use crate::stat_cache::State;
use crate::{Artifact, Digest, Made, Output, Store, disk};

/// The version of [`Record`]; records of another are dropped.
const VERSION: u8 = 1;

/// Bytes of a record before its value: four of length, eight of check.
const HEAD: usize = 12;

/// Rewrite the file when it has so many times more records than keys.
const SLACK: usize = 3;

/// Append to the file when so many bytes are waiting, and rewrite none that is smaller.
const WAITING: usize = 1 << 20;

/// Bytes of the file that are read at once.
const WINDOW: usize = 16 << 10;

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
    /// The records that were there at first: they are looked up in the file, not kept.
    file: Option<Records>,
    /// The records since then.
    fresh: Vec<u8>,
    /// How much of `fresh` is in the file.
    written: usize,
    /// Offsets in the file and, from its end on, in `fresh`.
    places: HashMap<Digest, u64>,
}

/// The file, open: another that takes its place changes nothing here.
#[derive(Debug)]
struct Records {
    file: File,
    /// Of its whole records.
    length: u64,
    /// How many they are, older ones of the same key and those of another version with them.
    count: usize,
    /// All of the file is whole records.
    is_whole: bool,
    /// The bytes from an offset on. Actions are looked up much as they were entered, one after another.
    window: (u64, Vec<u8>),
}

impl HitIndex {
    /// Reads through as many records as are whole.
    fn scan(file: File) -> io::Result<HitIndex> {
        let size = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(WINDOW, &file);
        let (mut places, mut at, mut count, mut record) = (HashMap::new(), 0, 0, Vec::new());
        while let Some(value) = next_value(&mut reader, size - at, &mut record)? {
            // A version before the key: what is older is passed over.
            if let (Some(&VERSION), Some(key)) = (value.first(), value.get(1..33)) {
                let key: [u8; 32] = key.try_into().unwrap_or_default();
                places.insert(Digest::from_bytes(key), at);
            }
            (at, count) = (at + record.len() as u64, count + 1);
        }
        let records = Records { file, length: at, count, is_whole: at == size, window: Default::default() };
        Ok(HitIndex { file: Some(records), places, ..HitIndex::default() })
    }

    /// Where its file is not worth keeping: what would be appended to it could not be read, or most of it is old.
    fn is_wasteful(&self) -> bool {
        let wasteful =
            |file: &Records| !file.is_whole || file.length > WAITING as u64 && file.count > SLACK * self.places.len();
        self.file.as_ref().is_some_and(wasteful)
    }

    fn get(&mut self, key: &Digest) -> Option<Entry> {
        let value = self.value(*self.places.get(key)?)?;
        let record = postcard::from_bytes::<Record>(value).ok()?;
        (record.key == *key.as_bytes()).then(|| record.entry())
    }

    fn value(&mut self, at: u64) -> Option<&[u8]> {
        let length = self.length();
        match &mut self.file {
            Some(file) if at < length => file.value(at),
            _ => value_at(&self.fresh, usize::try_from(at - length).ok()?),
        }
    }

    /// Of the records in the file.
    fn length(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.length)
    }

    fn insert(&mut self, key: &Digest, entry: &Entry) {
        let Ok(value) = postcard::to_allocvec(&Record::of(key, entry)) else { return };
        let Ok(length) = u32::try_from(value.len()) else { return };
        self.places.insert(*key, self.length() + self.fresh.len() as u64);
        self.fresh.extend(length.to_le_bytes());
        self.fresh.extend(check(&value));
        self.fresh.extend(value);
    }

    /// The records that still count, as they are written, in their order.
    fn compact(&mut self) -> Vec<u8> {
        let mut places: Vec<u64> = self.places.values().copied().collect();
        places.sort_unstable();
        let mut bytes = Vec::new();
        for at in places {
            let Some(value) = self.value(at) else { continue };
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(check(value));
            bytes.extend(value);
        }
        bytes
    }

    /// Appends what is new to the file under `root`. A store that cannot be written is no reason to fail.
    pub(crate) fn flush(&mut self, root: &Path) {
        if self.fresh.len() > self.written {
            let _ = disk::append(&place(root), &self.fresh[self.written..]);
            self.written = self.fresh.len();
        }
    }
}

impl Records {
    /// The value of the record at `at`, from the window or the file.
    fn value(&mut self, at: u64) -> Option<&[u8]> {
        if record_within(&self.window, at).is_none() {
            self.window = (at, self.read(at, WINDOW)?);
            let needs = HEAD + length_at(&self.window.1, 0)?;
            if needs > self.window.1.len() {
                self.window.1 = self.read(at, needs)?;
            }
        }
        record_within(&self.window, at)
    }

    /// Up to so many bytes at `at`.
    fn read(&self, at: u64, most: usize) -> Option<Vec<u8>> {
        let length = self.length.checked_sub(at)?.min(most as u64);
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }
}

fn record_within((start, bytes): &(u64, Vec<u8>), at: u64) -> Option<&[u8]> {
    value_at(bytes, usize::try_from(at.checked_sub(*start)?).ok()?)
}

/// Reads the next record of so many bytes left, and gives its value; `None` at the end and where it is not whole.
fn next_value<'a>(reader: &mut impl Read, left: u64, record: &'a mut Vec<u8>) -> io::Result<Option<&'a [u8]>> {
    record.clear();
    reader.take(HEAD as u64).read_to_end(record)?;
    let Some(length) = length_at(record, 0).filter(|length| (HEAD + length) as u64 <= left) else { return Ok(None) };
    reader.take(length as u64).read_to_end(record)?;
    Ok(value_at(record, 0))
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
        if hits.fresh.len() - hits.written > WAITING {
            hits.flush(self.root());
        }
    }

    /// What cannot be read is an empty index.
    fn load_hits(&self) -> HitIndex {
        let path = place(self.root());
        let open = || File::open(&path).and_then(HitIndex::scan).unwrap_or_default();
        let mut hits = open();
        if hits.is_wasteful() && self.write(&path, &hits.compact(), Durable::No).is_ok() {
            hits = open();
        }
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
        let state = State::of(&std::fs::metadata("/").unwrap());
        Entry {
            state,
            made: Made { outputs: vec![("out".into(), output)], seconds },
            blobs: vec![(artifact.bytes, 7), (Digest::of("x"), u64::MAX)],
        }
    }

    fn scan(bytes: &[u8]) -> HitIndex {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        HitIndex::scan(file).unwrap()
    }

    #[test]
    fn records_survive_and_the_last_of_a_key_wins() {
        let (a, b) = (Digest::of("a"), Digest::of("b"));
        let mut index = HitIndex::default();
        index.insert(&a, &entry("old", 1.0));
        index.insert(&b, &entry("b", 2.0));
        index.insert(&a, &entry("new", 3.0));
        for bytes in [index.fresh.clone(), index.compact()] {
            let mut read = scan(&bytes);
            let found = read.get(&a).unwrap();
            assert_eq!((found.made.seconds, found.state), (3.0, entry("", 0.0).state));
            assert_eq!(found.made, entry("new", 3.0).made);
            assert_eq!(found.blobs, entry("new", 3.0).blobs);
            assert_eq!(read.get(&b).unwrap().made.seconds, 2.0);
            assert!(read.get(&Digest::of("c")).is_none());
        }
        assert_eq!(index.compact().len() * 3, index.fresh.len() * 2);
    }

    #[test]
    fn what_follows_a_broken_record_is_dropped() {
        let mut index = HitIndex::default();
        (0..3).for_each(|i| index.insert(&Digest::of([i]), &entry("x", f64::from(i))));
        let third = index.fresh.len() / 3;
        for (at, whole) in [(3, 0), (10, 0), (third + 40, 1), (2 * third + 11, 2), (3 * third - 1, 2)] {
            let mut broken = index.fresh.clone();
            broken[at] ^= 1;
            let read = scan(&broken);
            assert_eq!((read.places.len(), read.length()), (whole, (whole * third) as u64), "byte {at}");
            assert!(read.is_wasteful());
            assert_eq!(scan(&index.fresh[..at]).places.len(), whole);
        }
    }

    #[test]
    fn a_record_is_found_wherever_it_lies_and_only_as_it_was_written() {
        let keys: Vec<Digest> = (0..200_u64).map(|at| Digest::of(at.to_le_bytes())).collect();
        let mut index = HitIndex::default();
        for (at, key) in keys.iter().enumerate() {
            let mut entry = entry("x", at as f64);
            // Every fiftieth is longer than a window.
            entry.blobs.resize(if at % 50 == 7 { WINDOW / 32 + 9 } else { 2 }, (Digest::of("x"), 1));
            index.insert(key, &entry);
        }
        let (mut read, last) = (scan(&index.fresh), keys[199]);
        assert!(!read.is_wasteful());
        read.insert(&keys[3], &entry("x", 1003.0));
        for at in (0..200).chain((0..200).rev()) {
            let seconds = if at == 3 { 1003.0 } else { at as f64 };
            assert_eq!(read.get(&keys[at]).unwrap().made.seconds, seconds);
        }
        // Another program wrote into the file that is open.
        let mut read = scan(&index.fresh);
        let file = read.file.as_ref().unwrap();
        file.file.write_all_at(&[0; 8], file.length - 8).unwrap();
        assert!(read.get(&last).is_none() && read.get(&keys[0]).is_some());
    }

    #[test]
    fn what_is_mostly_old_is_written_anew() {
        let mut index = HitIndex::default();
        while index.fresh.len() <= WAITING {
            (0..2).for_each(|i| index.insert(&Digest::of([i]), &entry("x", f64::from(i))));
        }
        let mut read = scan(&index.fresh);
        assert!(read.is_wasteful());
        assert!(!scan(&read.compact()).is_wasteful());
    }
}
