//! numpy's default generator to the bit: what `numpy.random.default_rng(seed)` draws, for studies whose data and
//! resamples others have drawn with it.
//!
//! It is for reproducing other people's draws and for nothing else. What this project draws itself are the streams of
//! `gazal-data`, which are addressed by step and row and have no state that a resume would have to restore.
//!
//! A seed is spread by `SeedSequence` (after O'Neill 2015, "Developing a seed_seq alternative") over the state and the
//! increment of PCG64: a linear congruential generator of 128 bits whose output is XSL-RR (O'Neill 2014,
//! HMC-CS-2014-0905). Integers below a bound are by Lemire's method (2019, arXiv:1805.10941), but those of shuffles by
//! masks; normals are by the ziggurat (Marsaglia and Tsang 2000). `choice` with replacement and without weights is
//! [`Generator::below`], draw by draw.
//!
//! Draws are those of numpy 2.4; `tests/bench/symmetry/draws.py` prints what the tests expect.

mod normal;
mod seed;

/// The multiplier of PCG's 128-bit generator.
const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

/// `numpy.random.default_rng(seed)`.
#[derive(Clone, Debug)]
pub struct Generator {
    state: u128,
    increment: u128,
    /// The upper half of 64 bits of which 32 were asked for.
    half: Option<u32>,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let [state_high, state_low, stream_high, stream_low] = seed::words(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let mut generator = Generator { state: 0, increment: wide(stream_high, stream_low) << 1 | 1, half: None };
        generator.step();
        generator.state = generator.state.wrapping_add(wide(state_high, state_low));
        generator.step();
        generator
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// 32 random bits: the lower half of 64, and at the next call the upper half.
    fn half_bits(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        let bits = self.bits();
        self.half = Some((bits >> 32) as u32);
        bits as u32
    }

    /// `random()`: a number in `[0, 1)`.
    pub fn random(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// `uniform(low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random()
    }

    /// `integers(0, n)`, which one after the other are `integers(0, n, size)`; 0 for `n = 0`, which numpy refuses.
    pub fn below(&mut self, n: u64) -> u64 {
        match n {
            0 | 1 => 0,
            2..=0xFFFF_FFFF => u64::from(self.below_half(n as u32)),
            0x1_0000_0000 => u64::from(self.half_bits()),
            _ => self.below_whole(n),
        }
    }

    /// The upper half of a product with random bits, and those bits anew where they would favour some results.
    fn below_half(&mut self, n: u32) -> u32 {
        loop {
            let product = u64::from(self.half_bits()) * u64::from(n);
            if product as u32 >= n.wrapping_neg() % n {
                return (product >> 32) as u32;
            }
        }
    }

    fn below_whole(&mut self, n: u64) -> u64 {
        loop {
            let product = u128::from(self.bits()) * u128::from(n);
            if product as u64 >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    /// `shuffle(items)` of one dimension.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.up_to(last as u64) as usize);
        }
    }

    /// A number up to `last`, as shuffles have it: as many bits as `last` has, until they are no more than it.
    fn up_to(&mut self, last: u64) -> u64 {
        let mask = u64::MAX.unbounded_shr(last.leading_zeros());
        loop {
            let bits = if last <= u64::from(u32::MAX) { u64::from(self.half_bits()) } else { self.bits() };
            if bits & mask <= last {
                return bits & mask;
            }
        }
    }

    /// `permutation(n)`.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests;
