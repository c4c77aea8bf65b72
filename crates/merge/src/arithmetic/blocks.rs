//! Tensors in blocks: the unit of reading, of parallel work, of sums, and of looking for what is not finite.
//!
//! Blocks begin at fixed places and their sums are added in order, so no result depends on the number of threads. A
//! block of each input and of the result is all that a thread has in memory.

use std::ops::Range;

use rayon::prelude::*;

use super::{Numbers, Write};

/// Numbers of a block: what stays in a core's cache while several passes go over it.
pub(super) const BLOCK: usize = 1 << 15;

/// Numbers that are widened at a time: several buffers of them fit into the nearest cache.
pub(super) const CHUNK: usize = 512;

/// Blocks whose sums are kept until they can be added in order.
const GROUP: usize = 64;

/// What keeps a tensor from being merged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// An index at which an input or the result is not finite.
    NotFinite(usize),
    /// Why an input cannot be read or the result not be written.
    Access(String),
}

/// Makes the result in blocks of whole `rows` (rows of one number where there are none): `make` gets a block's place,
/// the inputs' numbers there and the result's. Looks for what is not finite and writes while the block is still in the
/// cache.
pub(super) fn fill(
    row: usize,
    inputs: &[&dyn Numbers],
    write: Write<'_>,
    make: impl Fn(Range<usize>, &[&[f32]], &mut [f32]) + Sync,
) -> Result<(), Defect> {
    let one = |(buffer, merged): &mut (Vec<f32>, Vec<f32>), range: Range<usize>| {
        merged.resize(range.len(), 0.0);
        let numbers = read(inputs, &range, buffer)?;
        make(range.clone(), &numbers, merged);
        let broken = numbers.iter().filter_map(|numbers| first_broken(numbers)).chain(first_broken(merged)).min();
        match broken {
            Some(first) => Err(Defect::NotFinite(range.start + first)),
            None => write(range.start, merged).map_err(Defect::Access),
        }
    };
    let blocks = blocks(row, inputs);
    let done = blocks.into_par_iter().map_init(Default::default, one);
    done.find_first(Result::is_err).unwrap_or(Ok(()))
}

/// The ranges of all blocks of whole rows.
pub(super) fn blocks(row: usize, inputs: &[&dyn Numbers]) -> Vec<Range<usize>> {
    let length = inputs.first().map_or(0, |input| input.len());
    let size = (BLOCK / row.max(1)).max(1) * row.max(1);
    (0..length).step_by(size).map(|start| start..length.min(start + size)).collect()
}

/// The numbers of all inputs in a range, in a buffer.
pub(super) fn read<'b>(
    inputs: &[&dyn Numbers],
    range: &Range<usize>,
    buffer: &'b mut Vec<f32>,
) -> Result<Vec<&'b [f32]>, Defect> {
    buffer.resize(inputs.len() * range.len(), 0.0);
    for (input, numbers) in inputs.iter().zip(buffer.chunks_mut(range.len().max(1))) {
        input.read(range.start, numbers).map_err(Defect::Access)?;
    }
    Ok(buffer.chunks(range.len().max(1)).collect())
}

fn first_broken(numbers: &[f32]) -> Option<usize> {
    // Without leaving early, so that it is done a vector at a time.
    let finite = numbers.iter().fold(true, |finite, number| finite & number.is_finite());
    if finite { None } else { numbers.iter().position(|number| !number.is_finite()) }
}

/// `count` sums over blocks of whole rows, each block's made by `of` from its place and the inputs' numbers there.
pub(super) fn sums(
    row: usize,
    inputs: &[&dyn Numbers],
    count: usize,
    of: impl Fn(Range<usize>, &[&[f32]]) -> Vec<f64> + Sync,
) -> Result<Vec<f64>, Defect> {
    let one = |buffer: &mut Vec<f32>, range: &Range<usize>| Ok(of(range.clone(), &read(inputs, range, buffer)?));
    let mut totals = vec![0.0; count];
    for group in blocks(row, inputs).chunks(GROUP) {
        let parts: Vec<Vec<f64>> = group.par_iter().map_init(Vec::new, one).collect::<Result<_, Defect>>()?;
        parts.iter().for_each(|part| totals.iter_mut().zip(part).for_each(|(total, part)| *total += part));
    }
    Ok(totals)
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
