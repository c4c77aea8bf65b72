//! Draws that are the same on every machine: SplitMix64 (Steele, Lea and Flood 2014), addressed by a number.

/// Draws as many clusters as there are, with replacement, and counts how often each came.
pub(super) fn draw(times: &mut [u32], stream: u64) {
    times.fill(0);
    let count = times.len() as u64;
    for pair in 0..count.div_ceil(2) {
        // Two draws from 64 bits; the bias of a product with 32 bits is below count / 2³².
        let bits = mix(stream.wrapping_add(pair.wrapping_mul(GOLDEN)));
        times[(((bits >> 32) * count) >> 32) as usize] += 1;
        if 2 * pair + 1 < count {
            times[(((bits & 0xFFFF_FFFF) * count) >> 32) as usize] += 1;
        }
    }
}

pub(super) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64.
pub(super) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
