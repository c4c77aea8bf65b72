//! The k numbers of the largest magnitude, by selection: one pass counts the upper halves of magnitudes, a second the
//! lower halves of those whose upper half is the threshold's. That is exact, in parallel and without a copy of the
//! tensor, which finding the k-th largest in place would need.
//!
//! Magnitudes are those of float32 differences, whose bits have the order of the numbers. Equal ones are taken in the
//! order of their indices, so that exactly k are; mergekit leaves to its sort which.

use rayon::prelude::*;

use super::blocks::BLOCK;

const LOW_BITS: u32 = 15;
const LOW: usize = 1 << LOW_BITS;
const HIGH: usize = 1 << 16;

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
    /// Of the differences of `numbers` from `base`.
    pub fn of(count: usize, numbers: &[f32], base: &[f32]) -> Largest {
        match count {
            0 => Largest { threshold: u32::MAX, last: 0 },
            count if count >= numbers.len() => Largest { threshold: 0, last: usize::MAX },
            _ => select(count, numbers, base),
        }
    }

    /// Whether the number at an index is one of them.
    pub fn has(self, magnitude: u32, index: usize) -> bool {
        magnitude > self.threshold || (magnitude == self.threshold && index <= self.last)
    }
}

fn select(count: usize, numbers: &[f32], base: &[f32]) -> Largest {
    let upper = histogram(numbers, base, HIGH, |bits| Some((bits >> LOW_BITS) as usize));
    let (high, above) = descend(&upper, count);
    let lower = histogram(numbers, base, LOW, |bits| {
        ((bits >> LOW_BITS) as usize == high).then_some(bits as usize & (LOW - 1))
    });
    let (low, still_above) = descend(&lower, count - above);
    let threshold = (high as u32) << LOW_BITS | low as u32;
    let equal = count - above - still_above;
    let last = match lower.get(low) {
        Some(&all) if all == equal => usize::MAX,
        _ => nth_equal(threshold, equal, numbers, base),
    };
    Largest { threshold, last }
}

/// How many differences fall into each of `size` bins.
fn histogram(numbers: &[f32], base: &[f32], size: usize, bin: impl Fn(u32) -> Option<usize> + Sync) -> Vec<usize> {
    let count = |mut bins: Vec<usize>, (numbers, base): (&[f32], &[f32])| {
        for bin in numbers.iter().zip(base).filter_map(|(number, base)| bin(magnitude(*number, *base))) {
            bins[bin] += 1;
        }
        bins
    };
    let add = |mut one: Vec<usize>, two: Vec<usize>| {
        one.iter_mut().zip(two).for_each(|(one, two)| *one += two);
        one
    };
    let blocks = numbers.par_chunks(BLOCK).zip(base.par_chunks(BLOCK)).with_min_len(16);
    blocks.fold(|| vec![0; size], count).reduce(|| vec![0; size], add)
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
fn nth_equal(threshold: u32, nth: usize, numbers: &[f32], base: &[f32]) -> usize {
    let equal = |(number, base): (&f32, &f32)| magnitude(*number, *base) == threshold;
    let blocks = numbers.par_chunks(BLOCK).zip(base.par_chunks(BLOCK));
    let counts: Vec<usize> =
        blocks.map(|(numbers, base)| numbers.iter().zip(base).filter(|pair| equal(*pair)).count()).collect();
    let mut before = 0;
    for (block, count) in counts.into_iter().enumerate() {
        if before + count >= nth {
            let start = block * BLOCK;
            let mut equals = (start..numbers.len()).filter(|&index| equal((&numbers[index], &base[index])));
            return equals.nth(nth - before - 1).unwrap_or(usize::MAX);
        }
        before += count;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(count: usize, numbers: &[f32]) -> Vec<usize> {
        let base = vec![0.0; numbers.len()];
        let largest = Largest::of(count, numbers, &base);
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
