//! The signature of a text: for each of many random permutations of all shingles, the least that the text has.
//!
//! A shingle is 32 bits. A permutation is stood in for by `(a·x + b) >> 32` in 64 bits with random `a` and `b`, which is
//! strongly universal (Dietzfelbinger 1996) and takes two multiplications of a vector. The numbers do not depend on the
//! processor, nor on the data.

use pulp::{Arch, Simd, WithSimd};

use super::Unit;
use crate::Stream;
use crate::rng::mix;

/// The lowest byte of each minimum. Minima are small numbers, but their low bits are random.
pub type Signature = Vec<u8>;

/// Permutations whose minima stay in registers while all shingles pass.
const LANES: usize = 16;

/// Makes signatures.
pub struct Hasher {
    unit: Unit,
    ngram: usize,
    permutations: usize,
    /// `a` and `b`, in whole blocks.
    factors: Vec<[[u64; LANES]; 2]>,
}

impl Hasher {
    pub fn new(unit: Unit, ngram: usize, permutations: usize) -> Hasher {
        let stream = Stream::new(0, "near duplicates: permutations");
        let block = |block: usize| {
            [0, 1].map(|which| std::array::from_fn(|lane| stream.bits(which, (block * LANES + lane) as u64)))
        };
        Hasher { unit, ngram, permutations, factors: (0..permutations.div_ceil(LANES)).map(block).collect() }
    }

    /// The signature of a text; texts without a letter or digit are all alike.
    pub fn signature(&self, text: &str) -> Signature {
        let shingles = self.shingles(text);
        let mut bytes: Signature = with_widest(Minima { shingles: &shingles, factors: &self.factors });
        bytes.truncate(self.permutations);
        bytes
    }

    /// Every shingle of a text, some perhaps several times; none only where the text has no unit.
    pub fn shingles(&self, text: &str) -> Vec<u32> {
        let units = units(text, self.unit);
        let length = self.ngram.min(units.len()).max(1);
        units.windows(length).map(|run| (run.iter().fold(0, |hash, &unit| mix(hash ^ unit)) >> 32) as u32).collect()
    }
}

/// A hash of each unit of a text.
fn units(text: &str, unit: Unit) -> Vec<u64> {
    let (mut units, mut word) = (Vec::with_capacity(text.len() / 4), SEED);
    for c in text.chars() {
        if c.is_alphanumeric() {
            for lower in c.to_lowercase() {
                word = (word ^ u64::from(lower)).wrapping_mul(PRIME);
            }
        }
        if word != SEED && (unit == Unit::Characters || !c.is_alphanumeric()) {
            units.push(mix(word));
            word = SEED;
        }
    }
    if word != SEED {
        units.push(mix(word));
    }
    units
}

/// Those of FNV-1a, here over characters.
const SEED: u64 = 0xCBF2_9CE4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01B3;

/// Does it with the widest vectors that this processor has; the numbers are the same with all.
fn with_widest<W: WithSimd>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::x86::{V3, V4};
        if let Some(simd) = V4::try_new() {
            return Simd::vectorize(simd, work);
        }
        // Which `Arch` passes over where the crate's feature is off.
        if let Some(simd) = V3::try_new() {
            return Simd::vectorize(simd, work);
        }
    }
    Arch::new().dispatch(work)
}

struct Minima<'a> {
    shingles: &'a [u32],
    factors: &'a [[[u64; LANES]; 2]],
}

impl WithSimd for Minima<'_> {
    type Output = Signature;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Signature {
        let mut bytes = Vec::with_capacity(self.factors.len() * LANES);
        for [a, b] in self.factors {
            let mut least = [u64::MAX; LANES];
            for &shingle in self.shingles {
                for lane in 0..LANES {
                    // Whole products are compared: their upper halves decide, and no shift is needed.
                    let product = a[lane].wrapping_mul(u64::from(shingle)).wrapping_add(b[lane]);
                    least[lane] = least[lane].min(product);
                }
            }
            for minimum in least {
                bytes.push((minimum >> 32) as u8);
            }
        }
        bytes
    }
}

/// The Jaccard similarity of two texts, estimated from their signatures.
pub fn similarity(one: &[u8], other: &[u8]) -> f64 {
    estimate(one.iter().zip(other).filter(|(one, other)| one == other).count(), one.len())
}

/// The share of equal minima, of which one in 256 is equal by chance (Li and König 2010, equation 5, for few shingles
/// among very many).
pub fn estimate(equal: usize, of: usize) -> f64 {
    const CHANCE: f64 = 1.0 / 256.0;
    ((equal as f64 / of as f64 - CHANCE) / (1.0 - CHANCE)).max(0.0)
}
