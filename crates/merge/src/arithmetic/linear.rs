//! `linear`: the mean of the sources by weight, `Σ wᵢ·xᵢ / Σ wᵢ` ("Model soups", Wortsman et al. 2022,
//! arXiv:2203.05482), or without `normalize` their sum `Σ wᵢ·xᵢ`. With one source this is `passthrough`'s `scale · x`.
//!
//! mergekit divides by weights that add up to 0 too; a plan refuses them.

use super::blocks::{CHUNK, Defect, chunks, fill};
use super::{Numbers, Write};

pub(super) fn linear(
    weights: &[f64],
    normalize: bool,
    sources: &[&dyn Numbers],
    write: Write<'_>,
) -> Result<(), Defect> {
    let total = if normalize { weights.iter().sum() } else { 1.0 };
    fill(1, sources, write, |range, sources, block| {
        for (chunk, merged) in chunks(0..range.len()).zip(block.chunks_mut(CHUNK)) {
            let mut sums = [0.0; CHUNK];
            for (weight, source) in weights.iter().zip(sources) {
                let numbers = &source[chunk.clone()];
                sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += weight * f64::from(*number));
            }
            merged.iter_mut().zip(&sums).for_each(|(merged, sum)| *merged = (sum / total) as f32);
        }
    })
}
