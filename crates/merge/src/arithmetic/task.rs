//! Task vectors: what models differ from their base, added to it again (Ilharco et al. 2023, "Editing models with
//! task arithmetic", arXiv:2212.04089): `base + λ · Σ wᵢ·dᵢ`, with `dᵢ = xᵢ − base`.
//!
//! Before they are summed, differences can be thinned out:
//! - `ties` keeps the `density · n` of the largest magnitude, at least one (Yadav et al. 2023, "TIES-Merging",
//!   arXiv:2306.01708).
//! - `dare_linear`, `dare_ties` keep each with a chance of `density` (Yu et al. 2024, "Language models are Super
//!   Mario", arXiv:2311.03099), and multiply what is left. The paper takes `1 / density`; mergekit what gives the
//!   kept the sum of magnitudes that all had.
//! - `breadcrumbs`, `breadcrumbs_ties` leave out the `gamma · n` of the largest magnitude, and of the others keep the
//!   `density · n` largest (Davari and Belilovsky 2023, "Model Breadcrumbs", arXiv:2312.06795). Where that would be
//!   more than there are, fewer large ones are left out.
//!
//! The methods called `ties` elect a sign for each number and leave out the differences of the other sign. In
//! mergekit `wᵢ·dᵢ` vote, and with `normalize` the sum is divided by the weights of those that agree. In PEFT `dᵢ`
//! vote, and the sum is divided by the number of those that agree; the paper does so without weights. Where votes
//! cancel out, the sign is plus. A difference of 0 agrees with nobody.
//!
//! Differences are taken in float64 from float32 numbers, so one model of weight 1 comes out as it is, to the bit;
//! magnitudes are compared in float32. mergekit takes the differences in the configuration's `dtype`.

use std::ops::Range;

use super::Uniform;
use super::blocks::{CHUNK, Defect, chunks, fill, load, sums};
use super::select::{Largest, magnitude};
use crate::plan::{Election, Keep, Part, Rescale, TaskVectors};

pub(super) fn merge(
    vectors: &TaskVectors,
    (base, sources): (&[f32], &[&[f32]]),
    random: Uniform<'_>,
    merged: &mut [f32],
) -> Result<(), Defect> {
    let numbered = vectors.parts.iter().zip(sources).enumerate();
    let thinned: Vec<Thinned> =
        numbered.map(|(at, (part, numbers))| Thinned::new(part, numbers, base, (at, random))).collect();
    let scales: Vec<f64> =
        vectors.parts.iter().zip(&thinned).map(|(part, thinned)| thinned.scale(vectors.rescale, part.keep)).collect();
    let inputs: Vec<&[f32]> = [base].into_iter().chain(sources.iter().copied()).collect();
    fill(1, &inputs, merged, |range, block| {
        let mut differences = [0.0; CHUNK];
        for (chunk, merged) in chunks(range).zip(block.chunks_mut(CHUNK)) {
            let mut tally = Tally::default();
            for ((thinned, scale), part) in thinned.iter().zip(&scales).zip(&vectors.parts) {
                let differences = thinned.load(&mut differences, chunk.clone());
                differences.iter_mut().for_each(|difference| *difference *= scale);
                tally.add(differences, part.weight, vectors.election);
            }
            let total: f64 = vectors.parts.iter().map(|part| part.weight).sum();
            for ((at, merged), base) in merged.iter_mut().enumerate().zip(&base[chunk]) {
                let (sum, weight) = tally.result(at, vectors.election, total);
                let divisor = if vectors.normalize { weight } else { 1.0 };
                *merged = (f64::from(*base) + vectors.lambda * (sum / divisor)) as f32;
            }
        }
    })
}

/// A source's differences from the base, of which only some are kept.
struct Thinned<'a> {
    numbers: &'a [f32],
    base: &'a [f32],
    mask: Mask<'a>,
}

enum Mask<'a> {
    All,
    Largest(Largest),
    /// Those of the first that are not of the second.
    Between(Largest, Largest),
    Random {
        density: f64,
        source: usize,
        random: Uniform<'a>,
    },
}

impl<'a> Thinned<'a> {
    fn new(part: &Part, numbers: &'a [f32], base: &'a [f32], (source, random): (usize, Uniform<'a>)) -> Thinned<'a> {
        let share = |density: f64| (density * numbers.len() as f64) as usize;
        let mask = match part.keep {
            Keep::All => Mask::All,
            Keep::Largest { density } => Mask::Largest(Largest::of(share(density).max(1), numbers, base)),
            Keep::Middle { density, gamma } => {
                let (kept, outliers) = (share(density), share(gamma));
                let outliers = outliers.min(numbers.len() - kept);
                let inside = Largest::of(outliers + kept, numbers, base);
                Mask::Between(inside, Largest::of(outliers, numbers, base))
            }
            Keep::Random { density } => Mask::Random { density, source, random },
        };
        Thinned { numbers, base, mask }
    }

    fn keeps(&self, index: usize) -> bool {
        let magnitude = || magnitude(self.numbers[index], self.base[index]);
        match &self.mask {
            Mask::All => true,
            Mask::Largest(largest) => largest.has(magnitude(), index),
            Mask::Between(inside, outliers) => {
                let magnitude = magnitude();
                inside.has(magnitude, index) && !outliers.has(magnitude, index)
            }
            Mask::Random { density, source, random } => random(*source, index as u64) < *density,
        }
    }

    /// The differences of a chunk, with 0 for those that are not kept.
    fn load<'b>(&self, buffer: &'b mut [f64; CHUNK], chunk: Range<usize>) -> &'b mut [f64] {
        let differences = load(buffer, &self.numbers[chunk.clone()], Some(&self.base[chunk.clone()]));
        if !matches!(self.mask, Mask::All) {
            for (difference, index) in differences.iter_mut().zip(chunk) {
                *difference = if self.keeps(index) { *difference } else { 0.0 };
            }
        }
        differences
    }

    /// What the kept differences are multiplied by.
    fn scale(&self, rescale: Rescale, keep: Keep) -> f64 {
        match (rescale, keep) {
            (Rescale::None, _) | (_, Keep::All) => 1.0,
            (Rescale::Density, Keep::Random { density } | Keep::Largest { density } | Keep::Middle { density, .. }) => {
                density.recip()
            }
            (Rescale::Norm, _) => match self.norms()[..] {
                // Too little to divide by, as in mergekit.
                [all, kept] if all >= 1e-7 && kept >= 1e-7 => all / kept,
                _ => 1.0,
            },
        }
    }

    /// The sums of the magnitudes of all differences, and of those that are kept.
    fn norms(&self) -> Vec<f64> {
        let magnitudes = |differences: &[f64]| differences.iter().map(|difference| difference.abs()).sum::<f64>();
        sums(self.numbers.len(), |range| {
            let (mut buffer, mut all, mut kept) = ([0.0; CHUNK], 0.0, 0.0);
            for chunk in chunks(range) {
                all += magnitudes(load(&mut buffer, &self.numbers[chunk.clone()], Some(&self.base[chunk.clone()])));
                kept += magnitudes(self.load(&mut buffer, chunk));
            }
            vec![all, kept]
        })
    }
}

/// What a chunk's differences add up to, by their sign where signs are elected.
struct Tally {
    votes: [f64; CHUNK],
    plus: Side,
    minus: Side,
}

/// Of the differences of one sign: the weighted sum, and the weights in it (or their number, as PEFT has it).
struct Side {
    sum: [f64; CHUNK],
    weight: [f64; CHUNK],
}

impl Default for Tally {
    fn default() -> Tally {
        let side = || Side { sum: [0.0; CHUNK], weight: [0.0; CHUNK] };
        Tally { votes: [0.0; CHUNK], plus: side(), minus: side() }
    }
}

impl Tally {
    fn add(&mut self, differences: &[f64], weight: f64, election: Option<Election>) {
        let Some(election) = election else {
            let sums = self.plus.sum.iter_mut().zip(differences);
            return sums.for_each(|(sum, difference)| *sum += weight * difference);
        };
        for (at, difference) in differences.iter().enumerate() {
            let weighted = weight * difference;
            let (vote, share) = match election {
                Election::Weighted => (weighted, weight),
                Election::Peft => (*difference, 1.0),
            };
            self.votes[at] += vote;
            let (plus, minus) = (f64::from(u8::from(vote > 0.0)), f64::from(u8::from(vote < 0.0)));
            self.plus.sum[at] += plus * weighted;
            self.plus.weight[at] += plus * share;
            self.minus.sum[at] += minus * weighted;
            self.minus.weight[at] += minus * share;
        }
    }

    /// The sum at a place of the chunk and what it is divided by if at all: never (nearly) 0.
    fn result(&self, at: usize, election: Option<Election>, total: f64) -> (f64, f64) {
        let divisor = |weight: f64, least: f64| if weight.abs() <= least { 1.0 } else { weight };
        if election.is_none() {
            return (self.plus.sum[at], divisor(total, 1e-8));
        }
        let side = if self.votes[at] >= 0.0 { &self.plus } else { &self.minus };
        (side.sum[at], divisor(side.weight[at], 0.0))
    }
}
