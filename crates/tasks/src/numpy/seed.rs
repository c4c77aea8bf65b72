//! How numpy's `SeedSequence` spreads a seed over the state of a generator: a pool of four words in which each is
//! mixed with every other, and a hash of the pool's words for as many as are wanted.

const POOL: usize = 4;
const SHIFT: u32 = 16;

/// The hash of one word after the other: its constant changes with each.
struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn of(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let word = word.wrapping_mul(self.constant);
        word ^ word >> SHIFT
    }
}

fn mix(left: u32, right: u32) -> u32 {
    let mixed = left.wrapping_mul(0xCA01_F9DD).wrapping_sub(right.wrapping_mul(0x4973_F715));
    mixed ^ mixed >> SHIFT
}

/// `SeedSequence(seed).generate_state(4, numpy.uint64)`.
pub(super) fn words(seed: u64) -> [u64; 4] {
    let pool = pool(seed);
    let mut hash = Hash { constant: 0x8B51_F9DD, multiplier: 0x58F3_8DED };
    let mut halves = [0; 2 * POOL];
    for (half, &word) in halves.iter_mut().zip(pool.iter().cycle()) {
        *half = u64::from(hash.of(word));
    }
    let [a, b, c, d, e, f, g, h] = halves;
    [a | b << 32, c | d << 32, e | f << 32, g | h << 32]
}

fn pool(seed: u64) -> [u32; POOL] {
    let mut hash = Hash { constant: 0x43B0_D7E5, multiplier: 0x931E_8875 };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.of(word));
    for from in 0..POOL {
        for to in (0..POOL).filter(|&to| to != from) {
            pool[to] = mix(pool[to], hash.of(pool[from]));
        }
    }
    pool
}
