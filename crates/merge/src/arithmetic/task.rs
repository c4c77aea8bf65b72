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

use super::blocks::{CHUNK, Defect, chunks, fill, load, sums};
use super::select::{Largest, magnitude};
use super::{Numbers, Uniform, Write};
use crate::plan::{Election, Keep, Rescale, TaskVectors};

pub(super) fn merge(
    vectors: &TaskVectors,
    (base, sources): (&dyn Numbers, &[&dyn Numbers]),
    random: Uniform<'_>,
    write: Write<'_>,
) -> Result<(), Defect> {
    let tensors = || vectors.parts.iter().zip(sources).map(|(part, numbers)| (part, [*numbers, base]));
    let masks: Vec<Mask> = tensors()
        .enumerate()
        .map(|(at, (part, pair))| Mask::new(part.keep, pair, (at, random)))
        .collect::<Result<_, _>>()?;
    let scales: Vec<f64> = tensors()
        .zip(&masks)
        .map(|((part, pair), mask)| mask.scale(vectors.rescale, part.keep, pair))
        .collect::<Result<_, _>>()?;
    let total: f64 = vectors.parts.iter().map(|part| part.weight).sum();
    let inputs: Vec<&dyn Numbers> = sources.iter().copied().chain([base]).collect();
    fill(1, &inputs, write, |range, numbers, block| {
        let Some((base, sources)) = numbers.split_last() else { return };
        let mut differences = [0.0; CHUNK];
        for (chunk, merged) in chunks(0..range.len()).zip(block.chunks_mut(CHUNK)) {
            let (mut tally, start, base) = (Tally::default(), range.start + chunk.start, &base[chunk.clone()]);
            for (((source, mask), scale), part) in sources.iter().zip(&masks).zip(&scales).zip(&vectors.parts) {
                let differences = mask.load(&mut differences, [&source[chunk.clone()], base], start);
                differences.iter_mut().for_each(|difference| *difference *= scale);
                tally.add(differences, part.weight, vectors.election);
            }
            for ((at, merged), base) in merged.iter_mut().enumerate().zip(base) {
                let (sum, weight) = tally.result(at, vectors.election, total);
                let divisor = if vectors.normalize { weight } else { 1.0 };
                *merged = (f64::from(*base) + vectors.lambda * (sum / divisor)) as f32;
            }
        }
    })
}

/// Which of a source's differences from the base are kept.
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

impl<'a> Mask<'a> {
    /// Of the differences of the first tensor from the second.
    fn new(keep: Keep, tensors: [&dyn Numbers; 2], (source, random): (usize, Uniform<'a>)) -> Result<Mask<'a>, Defect> {
        let length = tensors[0].len();
        let share = |density: f64| (density * length as f64) as usize;
        Ok(match keep {
            Keep::All => Mask::All,
            Keep::Largest { density } => Mask::Largest(Largest::of(share(density).max(1), tensors)?),
            Keep::Middle { density, gamma } => {
                let (kept, outliers) = (share(density), share(gamma));
                let outliers = outliers.min(length - kept);
                Mask::Between(Largest::of(outliers + kept, tensors)?, Largest::of(outliers, tensors)?)
            }
            Keep::Random { density } => Mask::Random { density, source, random },
        })
    }

    fn keeps(&self, index: usize, magnitude: u32) -> bool {
        match self {
            Mask::All => true,
            Mask::Largest(largest) => largest.has(magnitude, index),
            Mask::Between(inside, outliers) => inside.has(magnitude, index) && !outliers.has(magnitude, index),
            Mask::Random { density, source, random } => random(*source, index as u64) < *density,
        }
    }

    /// The differences of a chunk that begins at an index, with 0 for those that are not kept.
    fn load<'b>(&self, buffer: &'b mut [f64; CHUNK], [numbers, base]: [&[f32]; 2], start: usize) -> &'b mut [f64] {
        let differences = load(buffer, numbers, Some(base));
        if !matches!(self, Mask::All) {
            let magnitudes = numbers.iter().zip(base).map(|(number, base)| magnitude(*number, *base));
            for ((difference, index), magnitude) in differences.iter_mut().zip(start..).zip(magnitudes) {
                *difference = if self.keeps(index, magnitude) { *difference } else { 0.0 };
            }
        }
        differences
    }

    /// What the kept differences are multiplied by.
    fn scale(&self, rescale: Rescale, keep: Keep, tensors: [&dyn Numbers; 2]) -> Result<f64, Defect> {
        Ok(match (rescale, keep) {
            (Rescale::None, _) | (_, Keep::All) => 1.0,
            (Rescale::Density, Keep::Random { density } | Keep::Largest { density } | Keep::Middle { density, .. }) => {
                density.recip()
            }
            (Rescale::Norm, _) => match self.norms(tensors)?[..] {
                // Too little to divide by, as in mergekit.
                [all, kept] if all >= 1e-7 && kept >= 1e-7 => all / kept,
                _ => 1.0,
            },
        })
    }

    /// The sums of the magnitudes of all differences, and of those that are kept.
    fn norms(&self, tensors: [&dyn Numbers; 2]) -> Result<Vec<f64>, Defect> {
        let magnitudes = |differences: &[f64]| differences.iter().map(|difference| difference.abs()).sum::<f64>();
        sums(1, &tensors, 2, |range, inputs| {
            let (mut buffer, mut all, mut kept) = ([0.0; CHUNK], 0.0, 0.0);
            let [numbers, base] = inputs[..] else { return Vec::new() };
            for chunk in chunks(0..range.len()) {
                let (numbers, base) = (&numbers[chunk.clone()], &base[chunk.clone()]);
                all += magnitudes(load(&mut buffer, numbers, Some(base)));
                kept += magnitudes(self.load(&mut buffer, [numbers, base], range.start + chunk.start));
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
