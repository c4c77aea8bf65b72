//! Tensors in blocks: the unit of parallel work, of sums, and of looking for what is not finite.
//!
//! Blocks begin at fixed places and their sums are added in order, so no result depends on the number of threads.

use std::ops::Range;

use rayon::prelude::*;

/// Numbers of a block: what stays in a core's cache while several passes go over it.
pub(super) const BLOCK: usize = 1 << 15;

/// Numbers that are widened at a time: several buffers of them fit into the nearest cache.
pub(super) const CHUNK: usize = 512;

/// An index at which an input or the result is not finite.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Defect(pub usize);

/// Makes the result in blocks of whole `rows` (rows of one number where there are none): `make` gets a block's place
/// and its part of the result. Then looks for what is not finite while the block is still in the cache.
pub(super) fn fill(
    row: usize,
    inputs: &[&[f32]],
    merged: &mut [f32],
    make: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Result<(), Defect> {
    let size = rows_of_a_block(row) * row.max(1);
    let blocks = merged.par_chunks_mut(size).enumerate();
    let defect = blocks.find_map_first(|(at, block)| {
        let range = at * size..at * size + block.len();
        make(range.clone(), block);
        let broken = inputs.iter().filter_map(|input| first_broken(&input[range.clone()]));
        let first = broken.chain(first_broken(block)).min()?;
        Some(Defect(range.start + first))
    });
    defect.map_or(Ok(()), Err)
}

pub(super) fn rows_of_a_block(row: usize) -> usize {
    (BLOCK / row.max(1)).max(1)
}

fn first_broken(numbers: &[f32]) -> Option<usize> {
    // Without leaving early, so that it is done a vector at a time.
    let finite = numbers.iter().fold(true, |finite, number| finite & number.is_finite());
    if finite { None } else { numbers.iter().position(|number| !number.is_finite()) }
}

/// Sums over blocks, each made by `of` for a range of indices: as many sums as `of` gives.
pub(super) fn sums(length: usize, of: impl Fn(Range<usize>) -> Vec<f64> + Sync) -> Vec<f64> {
    let blocks = (0..length.div_ceil(BLOCK)).into_par_iter();
    let parts: Vec<Vec<f64>> = blocks.map(|at| of(at * BLOCK..length.min((at + 1) * BLOCK))).collect();
    let add = |mut total: Vec<f64>, part: Vec<f64>| {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        total
    };
    parts.into_iter().reduce(add).unwrap_or_else(|| of(0..0))
}

/// The ranges of at most [`CHUNK`] numbers that a range consists of.
pub(super) fn chunks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(CHUNK).map(move |start| start..end.min(start + CHUNK))
}

/// Widens numbers, or their differences from a base, and gives the buffer's part that they take.
pub(super) fn load<'b>(buffer: &'b mut [f64; CHUNK], numbers: &[f32], base: Option<&[f32]>) -> &'b mut [f64] {
    let buffer = &mut buffer[..numbers.len()];
    match base {
        None => buffer.iter_mut().zip(numbers).for_each(|(wide, number)| *wide = f64::from(*number)),
        Some(base) => buffer.iter_mut().zip(numbers.iter().zip(base)).for_each(|(wide, (number, base))| {
            *wide = f64::from(*number) - f64::from(*base);
        }),
    }
    buffer
}

/// The sum of products, in eight sums that a processor adds side by side.
pub(super) fn dot(one: &[f64], two: &[f64]) -> f64 {
    let (ones, one_rest) = one.as_chunks::<8>();
    let (twos, two_rest) = two.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (one, two) in ones.iter().zip(twos) {
        for lane in 0..8 {
            lanes[lane] += one[lane] * two[lane];
        }
    }
    let rest: f64 = one_rest.iter().zip(two_rest).map(|(one, two)| one * two).sum();
    lanes.iter().sum::<f64>() + rest
}
