//! The k numbers of the largest magnitude, by selection: one pass counts the upper halves of magnitudes, a second the
//! lower halves of those whose upper half is the threshold's. That is exact, in parallel and without the tensor in
//! memory, which finding the k-th largest in place would need.
//!
//! Magnitudes are those of float32 differences, whose bits have the order of the numbers. Equal ones are taken in the
//! order of their indices, so that exactly k are; mergekit leaves to its sort which.

use std::ops::Range;

use rayon::prelude::*;

use super::Numbers;
use super::blocks::{Defect, blocks, read};

const LOW_BITS: u32 = 15;
const LOW: usize = 1 << LOW_BITS;
const HIGH: usize = 1 << 16;

/// A tensor and its base.
type Pair<'a> = [&'a dyn Numbers; 2];

/// The k numbers of the largest magnitude of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Largest {
    /// The magnitude of the last of them.
    threshold: u32,
    /// The last index at which the threshold itself is one of them.
    last: usize,
}

/// The bits of the magnitude of a difference.
pub(super) fn magnitude(number: f32, base: f32) -> u32 {
    (number - base).abs().to_bits()
}

impl Largest {
    /// Of the differences of the first tensor from the second.
    pub fn of(count: usize, tensors: Pair<'_>) -> Result<Largest, Defect> {
        match count {
            0 => Ok(Largest { threshold: u32::MAX, last: 0 }),
            count if count >= tensors[0].len() => Ok(Largest { threshold: 0, last: usize::MAX }),
            _ => select(count, tensors),
        }
    }

    /// Whether the number at an index is one of them.
    pub fn has(self, magnitude: u32, index: usize) -> bool {
        magnitude > self.threshold || (magnitude == self.threshold && index <= self.last)
    }
}

fn select(count: usize, tensors: Pair<'_>) -> Result<Largest, Defect> {
    let upper = histogram(tensors, HIGH, |bits| Some((bits >> LOW_BITS) as usize))?;
    let (high, above) = descend(&upper, count);
    let lower =
        histogram(tensors, LOW, |bits| ((bits >> LOW_BITS) as usize == high).then_some(bits as usize & (LOW - 1)))?;
    let (low, still_above) = descend(&lower, count - above);
    let threshold = (high as u32) << LOW_BITS | low as u32;
    let equal = count - above - still_above;
    let last = match lower.get(low) {
        Some(&all) if all == equal => usize::MAX,
        _ => nth_equal(threshold, equal, tensors)?,
    };
    Ok(Largest { threshold, last })
}

/// How many differences fall into each of `size` bins.
fn histogram(tensors: Pair<'_>, size: usize, bin: impl Fn(u32) -> Option<usize> + Sync) -> Result<Vec<usize>, Defect> {
    let empty = || (vec![0; size], Vec::new());
    let count = |(mut bins, mut buffer): (Vec<usize>, Vec<f32>), range: &Range<usize>| {
        magnitudes(tensors, range, &mut buffer)?.filter_map(&bin).for_each(|bin| bins[bin] += 1);
        Ok((bins, buffer))
    };
    let add = |mut one: Vec<usize>, two: Vec<usize>| {
        one.iter_mut().zip(two).for_each(|(one, two)| *one += two);
        Ok(one)
    };
    let counted =
        blocks(1, &tensors).into_par_iter().with_min_len(16).try_fold(empty, |bins, range| count(bins, &range));
    counted.map(|bins| bins.map(|(bins, _)| bins)).try_reduce(|| vec![0; size], add)
}

/// Of all differences in a range.
fn magnitudes<'b>(
    tensors: Pair<'_>,
    range: &Range<usize>,
    buffer: &'b mut Vec<f32>,
) -> Result<impl Iterator<Item = u32> + use<'b>, Defect> {
    read(&tensors, range, buffer)?;
    let (numbers, base) = buffer.split_at(range.len());
    Ok(numbers.iter().zip(base).map(|(number, base)| magnitude(*number, *base)))
}

/// The bin of the `count`-th from above, and how many lie in the bins above it.
fn descend(bins: &[usize], count: usize) -> (usize, usize) {
    let mut above = 0;
    for (bin, &inside) in bins.iter().enumerate().rev() {
        if above + inside >= count {
            return (bin, above);
        }
        above += inside;
    }
    (0, above)
}

/// The index of the `nth` difference of just this magnitude, counted from 1.
fn nth_equal(threshold: u32, nth: usize, tensors: Pair<'_>) -> Result<usize, Defect> {
    let equal = |range: &Range<usize>, buffer: &mut Vec<f32>| -> Result<Vec<usize>, Defect> {
        let indices = range.clone().zip(magnitudes(tensors, range, buffer)?);
        Ok(indices.filter(|(_, magnitude)| *magnitude == threshold).map(|(index, _)| index).collect())
    };
    let blocks = blocks(1, &tensors);
    let count = |buffer: &mut Vec<f32>, range: &Range<usize>| Ok(equal(range, buffer)?.len());
    let counts: Vec<usize> = blocks.par_iter().map_init(Vec::new, count).collect::<Result<_, Defect>>()?;
    let mut before = 0;
    for (range, count) in blocks.iter().zip(counts) {
        if before + count >= nth {
            return Ok(equal(range, &mut Vec::new())?.get(nth - before - 1).copied().unwrap_or(usize::MAX));
        }
        before += count;
    }
    Ok(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::blocks::BLOCK;
    use super::*;

    fn kept(count: usize, numbers: &[f32]) -> Vec<usize> {
        let base = vec![0.0; numbers.len()];
        let largest = Largest::of(count, [&numbers, &base]).unwrap();
        (0..numbers.len()).filter(|&index| largest.has(magnitude(numbers[index], 0.0), index)).collect()
    }

    #[test]
    fn the_largest_are_selected_and_of_equal_ones_the_first() {
        let numbers = [0.5, -3.0, 2.0, 2.0, -2.0, 0.0, 1e-40, 2.0];
        assert_eq!(kept(0, &numbers), [0_usize; 0]);
        assert_eq!(kept(1, &numbers), [1]);
        assert_eq!(kept(3, &numbers), [1, 2, 3]);
        assert_eq!(kept(5, &numbers), [1, 2, 3, 4, 7]);
        assert_eq!(kept(7, &numbers), [0, 1, 2, 3, 4, 6, 7]);
        assert_eq!(kept(8, &numbers), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn it_is_what_sorting_gives_over_several_blocks() {
        let numbers: Vec<f32> = (0..3 * BLOCK as u32 + 77)
            .map(|at| f32::from((at.wrapping_mul(2_654_435_761) >> 20) as u16) - 700.0)
            .collect();
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by(|one, two| numbers[*two].abs().total_cmp(&numbers[*one].abs()));
        for count in [1, 2, 1000, BLOCK, numbers.len() / 2, numbers.len() - 1] {
            let mut expected = order[..count].to_vec();
            expected.sort_unstable();
            assert_eq!(kept(count, &numbers), expected, "{count}");
        }
    }
}
