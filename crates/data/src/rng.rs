//! Counter-based randomness, made on the host.
//!
//! A [`Stream`] is `blake3(seed, purpose)`; its numbers are addressed by step and row. So a resumed run needs no
//! generator state, a row does not depend on its neighbours, and adding a use of randomness changes no other.

/// A family of random numbers for one purpose.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u8; 32],
}

impl Stream {
    pub fn new(seed: u64, purpose: &str) -> Stream {
        let mut hasher = blake3::Hasher::new_derive_key("gazal-pipe 2026-11 random stream");
        hasher.update(&seed.to_le_bytes()).update(purpose.as_bytes());
        Stream { key: *hasher.finalize().as_bytes() }
    }

    /// 64 random bits at an address.
    pub fn bits(&self, step: u64, row: u64) -> u64 {
        let mut address = [0; 16];
        address[..8].copy_from_slice(&step.to_le_bytes());
        address[8..].copy_from_slice(&row.to_le_bytes());
        let hash = blake3::keyed_hash(&self.key, &address);
        let (first, _) = hash.as_bytes().as_chunks::<8>();
        u64::from_le_bytes(first[0])
    }

    /// A number in `[0, 1)`.
    pub fn uniform(&self, step: u64, row: u64) -> f64 {
        (self.bits(step, row) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number below `n`; 0 for `n = 0`.
    pub fn below(&self, step: u64, row: u64, n: usize) -> usize {
        ((u128::from(self.bits(step, row)) * n as u128) >> 64) as usize
    }

    /// As many numbers as are wanted at an address, where a hash for each would take too long.
    pub fn quick(&self, step: u64, row: u64) -> Quick {
        Quick(self.bits(step, row))
    }

    /// A permutation of `0..n` that belongs to `step` (Fisher–Yates).
    pub fn permutation(&self, step: u64, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            order.swap(last, self.below(step, last as u64, last + 1));
        }
        order
    }

    /// The numbers of one row, one after the other.
    pub fn draws(&self, row: u64) -> Draws<'_> {
        Draws { stream: self, row, step: 0 }
    }
}

/// Draws in sequence, for code that makes one random thing (an example, say) in several draws.
pub struct Draws<'a> {
    stream: &'a Stream,
    row: u64,
    step: u64,
}

impl Draws<'_> {
    /// A number below `n`; 0 for `n = 0`.
    pub fn below(&mut self, n: usize) -> usize {
        self.step += 1;
        self.stream.below(self.step, self.row, n)
    }

    /// One of `items`, which is not empty.
    pub fn pick<'b, T>(&mut self, items: &'b [T]) -> &'b T {
        &items[self.below(items.len())]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Numbers by their index, from SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Copy, Debug)]
pub struct Quick(u64);

impl Quick {
    /// A number in `[0, 1)`.
    pub fn uniform(self, index: u64) -> f64 {
        (mix(self.0.wrapping_add(index.wrapping_mul(GOLDEN))) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64.
pub(crate) fn mix(state: u64) -> u64 {
    let mut bits = state.wrapping_add(GOLDEN);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_belong_to_their_address() {
        let stream = Stream::new(7, "order");
        assert_eq!(stream.bits(3, 4), Stream::new(7, "order").bits(3, 4));
        assert_ne!(stream.bits(3, 4), stream.bits(4, 3));
        assert_ne!(stream.bits(3, 4), Stream::new(7, "sampling").bits(3, 4));
        assert_ne!(stream.bits(3, 4), Stream::new(8, "order").bits(3, 4));
    }

    #[test]
    fn a_permutation_has_every_index_once() {
        let mut order = Stream::new(1, "order").permutation(0, 100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn uniform_numbers_fill_the_interval() {
        let stream = Stream::new(1, "u");
        let mean = (0..4000).map(|i| stream.uniform(0, i)).sum::<f64>() / 4000.0;
        assert!((mean - 0.5).abs() < 0.02, "mean {mean}");
    }
}
