//! Signatures by their bands: rows that have all bytes of one band equal are candidates.

use hashbrown::HashTable;

use super::signature::similarity;
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

/// Signatures of one allocation, so that growing copies none.
const CHUNK: usize = 4096;

/// The rows that stayed.
pub struct Index {
    permutations: usize,
    bands: Bands,
    /// In chunks, one signature after the other.
    signatures: Vec<Vec<u8>>,
    /// The number of each row.
    numbers: Vec<u64>,
    /// For each band the indices of all rows; what they are hashed by is in their signatures.
    tables: Vec<HashTable<u32>>,
}

impl Index {
    pub fn new(permutations: usize, bands: Bands) -> Index {
        let tables = (0..bands.count).map(|_| HashTable::new()).collect();
        Index { permutations, bands, signatures: Vec::new(), numbers: Vec::new(), tables }
    }

    /// The row that is most similar to a signature, the first of several, if it is as similar as the threshold.
    pub fn most_similar(&self, signature: &[u8], threshold: f64) -> Option<(u64, f64)> {
        let mut best: Option<(u32, f64)> = None;
        for (table, band) in self.tables.iter().zip(signature.chunks_exact(self.bands.length)) {
            for &index in table.iter_hash(hash(band)) {
                let found = similarity(signature, self.signature(index));
                let is_better = best.is_none_or(|(at, most)| found > most || (found == most && index < at));
                if found >= threshold && is_better {
                    best = Some((index, found));
                }
            }
        }
        best.map(|(index, similarity)| (self.numbers[index as usize], similarity))
    }

    /// Adds a row; false where there is no index left for it.
    pub fn add(&mut self, signature: &[u8], number: u64) -> bool {
        let Ok(index) = u32::try_from(self.numbers.len()) else { return false };
        self.numbers.push(number);
        if self.signatures.last().is_none_or(|chunk| chunk.len() == CHUNK * self.permutations) {
            self.signatures.push(Vec::with_capacity(CHUNK * self.permutations));
        }
        if let Some(chunk) = self.signatures.last_mut() {
            chunk.extend_from_slice(signature);
        }
        let (signatures, permutations, length) = (&self.signatures, self.permutations, self.bands.length);
        for (at, (table, band)) in self.tables.iter_mut().zip(signature.chunks_exact(length)).enumerate() {
            let again = |&index: &u32| hash(&signature_in(signatures, permutations, index)[at * length..][..length]);
            table.insert_unique(hash(band), index, again);
        }
        true
    }

    fn signature(&self, index: u32) -> &[u8] {
        signature_in(&self.signatures, self.permutations, index)
    }
}

fn signature_in(signatures: &[Vec<u8>], permutations: usize, index: u32) -> &[u8] {
    let index = index as usize;
    &signatures[index / CHUNK][index % CHUNK * permutations..][..permutations]
}

fn hash(band: &[u8]) -> u64 {
    band.chunks(8).fold(0, |hash, bytes| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        mix(hash ^ u64::from_le_bytes(word))
    })
}
