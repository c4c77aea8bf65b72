//! Signatures by their bands: rows that have all bytes of one band equal are candidates.
//!
//! In memory are a table of hashes for each band and a bit of each byte of the signatures. Bits that differ are bytes
//! that differ, and more of them than the threshold allows are rows that need not be compared: with 128 permutations and
//! a threshold of 0.8 no two rows that have nothing in common get past it. The others are compared by their signatures,
//! which are in a file.

use std::path::PathBuf;

use rayon::prelude::*;

use super::signature::{estimate, similarity};
use crate::DataError;
use crate::curation::records::{Numbers, Records};
use crate::curation::slots::Slots;
use crate::rng::mix;

/// How a signature is cut; bytes that are left over are in no band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bands {
    pub count: usize,
    /// Bytes of a band, "rows" in the literature.
    pub length: usize,
}

/// With two bytes one pair of rows in 65,536 would be candidates by chance.
const LEAST_LENGTH: usize = 3;

/// Of all ways to cut, the one with the least weighted sum of false positives, below the threshold, and false negatives,
/// above it: integrals of the chance `1 − (1 − sʳ)ᵇ` that rows with the similarity `s` are candidates. datasketch chooses
/// so too.
pub fn bands(threshold: f64, permutations: usize, false_negative_weight: f64) -> Bands {
    let cut = |count| (LEAST_LENGTH..=permutations / count).map(move |length| Bands { count, length });
    let all = (1..=permutations / LEAST_LENGTH).flat_map(cut);
    let error = |bands: &Bands| {
        let missed = |s: f64| (1.0 - s.powi(bands.length as i32)).powi(bands.count as i32);
        let positives = integral(0.0, threshold, |s| 1.0 - missed(s));
        positives * (1.0 - false_negative_weight) + integral(threshold, 1.0, missed) * false_negative_weight
    };
    let whole = Bands { count: 1, length: permutations };
    let weighed = all.map(|bands| (error(&bands), bands));
    weighed.min_by(|(one, _), (other, _)| one.total_cmp(other)).map_or(whole, |(_, bands)| bands)
}

/// By the midpoints of steps of about a thousandth.
fn integral(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
    let steps = ((to - from) * 1000.0).round().max(1.0);
    let step = (to - from) / steps;
    (0..steps as u32).map(|at| f(from + (f64::from(at) + 0.5) * step) * step).sum()
}

/// The rows that stayed.
pub struct Index {
    bands: Bands,
    threshold: f64,
    /// Bytes of two signatures that may differ.
    differing: u32,
    /// For each band the rows by its hash.
    tables: Vec<Slots>,
    /// The lowest bit of each byte of a signature.
    sketches: Numbers<u64>,
    /// The number of each row and its signature.
    records: Records,
}

/// Bytes of a row's number.
const NUMBER: usize = 8;

impl Index {
    pub fn new(permutations: usize, threshold: f64, bands: Bands) -> Index {
        let is_similar = |differing: &usize| estimate(permutations - differing, permutations) >= threshold;
        Index {
            bands,
            threshold,
            differing: (0..=permutations).take_while(is_similar).last().unwrap_or(0) as u32,
            tables: (0..bands.count).map(|_| Slots::new()).collect(),
            sketches: Numbers::new(permutations.div_ceil(WORD)),
            records: Records::new(NUMBER + permutations),
        }
    }

    /// Where the file of signatures will be made.
    pub fn set_folder(&mut self, folder: PathBuf) {
        self.records.set_folder(folder);
    }

    /// The row that is most similar to a signature, the first of several, if it is as similar as the threshold.
    pub fn most_similar(&self, signature: &[u8]) -> Result<Option<(u64, f64)>, DataError> {
        let (mut best, mut record) = (None, vec![0; NUMBER + signature.len()]);
        for index in self.candidates(signature) {
            self.records.read(index, &mut record)?;
            let (number, other) = record.split_at(NUMBER);
            let found = similarity(signature, other);
            let is_better = best.is_none_or(|(_, most)| found > most);
            if found >= self.threshold && is_better && self.bands.shared(signature, other) {
                best = Some((number.try_into().map_or(0, u64::from_le_bytes), found));
            }
        }
        Ok(best)
    }

    /// In order; few that are not as similar as the threshold.
    fn candidates(&self, signature: &[u8]) -> Vec<u32> {
        let sketch: Vec<u64> = sketch(signature).collect();
        let bands = self.tables.iter().zip(self.bands.of(signature));
        let mut found: Vec<u32> = bands.flat_map(|(table, band)| table.find(hash(band))).collect();
        found.retain(|index| {
            let bits = self.sketches.get(*index).iter().zip(&sketch).map(|(one, other)| (one ^ other).count_ones());
            bits.sum::<u32>() <= self.differing
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Adds a row; false where there is no index left for it.
    pub fn add(&mut self, signature: &[u8], number: u64) -> Result<bool, DataError> {
        let index = self.sketches.rows();
        let Some(index) = u32::try_from(index).ok().filter(|index| *index < u32::MAX) else { return Ok(false) };
        self.sketches.push(sketch(signature));
        self.records.push([&number.to_le_bytes(), signature])?;
        match self.tables.first() {
            Some(table) if table.is_full() => self.grow(NUMBER + signature.len(), table.next_room())?,
            _ => {
                let bands = self.tables.iter_mut().zip(self.bands.of(signature));
                bands.for_each(|(table, band)| table.insert(hash(band), index));
            }
        }
        Ok(true)
    }

    /// Makes all tables anew from the file. The old ones go first, so that memory never has both.
    fn grow(&mut self, record: usize, room: usize) -> Result<(), DataError> {
        let Bands { count, length } = self.bands;
        self.tables.clear();
        self.tables.extend((0..count).map(|_| Slots::with_room(room)));
        self.records.each(|first, block| {
            self.tables.par_iter_mut().enumerate().for_each(|(at, table)| {
                for (index, record) in (first..).zip(block.chunks_exact(record)) {
                    table.insert(hash(&record[NUMBER + at * length..][..length]), index);
                }
            });
        })
    }
}

impl Bands {
    fn of<'a>(&self, signature: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        signature.chunks_exact(self.length).take(self.count)
    }

    /// Whether two signatures have a band in common: the tables tell of others too.
    fn shared(&self, one: &[u8], other: &[u8]) -> bool {
        self.of(one).zip(self.of(other)).any(|(one, other)| one == other)
    }
}

/// Bits of a number.
const WORD: usize = 64;

fn sketch(signature: &[u8]) -> impl Iterator<Item = u64> {
    signature.chunks(WORD).map(|bytes| bytes.iter().fold(0, |bits, byte| bits << 1 | u64::from(byte & 1)))
}

fn hash(band: &[u8]) -> u64 {
    band.chunks(8).fold(0, |hash, bytes| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        mix(hash ^ u64::from_le_bytes(word))
    })
}
