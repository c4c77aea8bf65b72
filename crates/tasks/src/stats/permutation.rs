//! The sign-flip test of a paired difference, by cluster.
//!
//! Where two models are equally good, each cluster's difference could as well have had the other sign; p is the share
//! of all signs that give a mean at least as far from 0 (Fisher 1935, section 21). That is exact however few the
//! clusters are. Where all differences that are not 0 have one size, as for questions that are their own clusters, it
//! is McNemar's exact test, and p is a binomial sum. Else up to 20 clusters are enumerated; of more, signs are drawn,
//! and p = (b + 1) / (m + 1) counts what was seen as one of them (Davison and Hinkley 1997, section 4.3), so that it
//! is never 0.

use serde::{Deserialize, Serialize};

use super::distributions::fair_coins_at_least;
use super::random::{GOLDEN, mix};

/// As many clusters are enumerated: half a million signs.
const ENUMERATED: usize = 20;

/// Sums of the same numbers in another order differ by less, relative to the sum of their sizes.
const ROUNDING: f64 = 1e-10;

/// The result of the test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignFlip {
    /// Two-sided.
    pub p: f64,
    pub signs: SignFlips,
}

/// Which signs were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignFlips {
    /// All, by a binomial sum.
    Binomial,
    /// All, one by one.
    Enumerated,
    /// As many as were drawn.
    Drawn(usize),
}

impl SignFlip {
    /// The test for one difference a cluster. `draws` and `seed` matter for more than 20 clusters of several sizes.
    pub fn of(differences: &[f64], draws: usize, seed: u64) -> SignFlip {
        let differences: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
        let size = differences.first().map_or(0.0, |difference| difference.abs());
        if differences.iter().all(|difference| (difference.abs() - size).abs() <= ROUNDING * size) {
            return binomial(&differences);
        }
        let sizes: f64 = differences.iter().map(|difference| difference.abs()).sum();
        let reached = differences.iter().sum::<f64>().abs() - ROUNDING * sizes;
        if differences.len() <= ENUMERATED {
            enumerated(&differences, reached)
        } else {
            drawn(&differences, reached, (draws, seed))
        }
    }
}

fn binomial(differences: &[f64]) -> SignFlip {
    let (all, up) = (differences.len(), differences.iter().filter(|difference| **difference > 0.0).count());
    let p = (2.0 * fair_coins_at_least(up.max(all - up), all)).min(1.0);
    SignFlip { p, signs: SignFlips::Binomial }
}

/// All signs in the order of a Gray code, in which one changes at a time. The first sign stays: what turns all
/// signs has the same distance from 0.
fn enumerated(differences: &[f64], reached: f64) -> SignFlip {
    let mut signed = differences.to_vec();
    let mut sum: f64 = signed.iter().sum();
    let mut extreme = 1_u32;
    let all = 1_u32 << differences.len().saturating_sub(1);
    for step in 1..all {
        let turned = &mut signed[1 + step.trailing_zeros() as usize];
        sum -= 2.0 * *turned;
        *turned = -*turned;
        extreme += u32::from(sum.abs() >= reached);
    }
    SignFlip { p: f64::from(extreme) / f64::from(all), signs: SignFlips::Enumerated }
}

fn drawn(differences: &[f64], reached: f64, (draws, seed): (usize, u64)) -> SignFlip {
    let sum = |draw: u64| -> f64 {
        let stream = mix(seed ^ mix(draw));
        let words = differences.chunks(64).zip(0_u64..).map(|(chunk, word)| {
            let bits = mix(stream.wrapping_add(word.wrapping_mul(GOLDEN)));
            let signed = chunk.iter().zip(0..).map(|(value, bit)| if bits >> bit & 1 == 0 { *value } else { -value });
            signed.sum::<f64>()
        });
        words.sum()
    };
    let extreme = (0..draws as u64).filter(|&draw| sum(draw).abs() >= reached).count();
    SignFlip { p: (extreme + 1) as f64 / (draws + 1) as f64, signs: SignFlips::Drawn(draws) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(differences: &[f64]) -> f64 {
        SignFlip::of(differences, 0, 0).p
    }

    #[test]
    fn equal_sizes_give_mcnemar_s_exact_test() {
        // 8 of 8: 2 / 2⁸. 7 of 8: 2 · 9 / 2⁸. 15 against 5: scipy's binomtest(15, 20).
        assert!((p(&[1.0; 8]) - 2.0 / 256.0).abs() < 1e-12);
        assert!((p(&[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, -0.5, 0.0]) - 18.0 / 256.0).abs() < 1e-12);
        let fifteen: Vec<f64> = (0..20).map(|index| if index < 15 { 1.0 } else { -1.0 }).collect();
        assert!((p(&fifteen) - 0.041_389_465_332_031_25).abs() < 1e-12);
        assert_eq!(SignFlip::of(&fifteen, 0, 0).signs, SignFlips::Binomial);
        assert_eq!((p(&[]), p(&[0.0]), p(&[1.0]), p(&[1.0, -1.0])), (1.0, 1.0, 1.0, 1.0));
    }

    #[test]
    fn other_sizes_are_enumerated() {
        // Of the 8 sums of ±1 ±2 ±3 two reach 6, four reach 4.
        assert_eq!(SignFlip::of(&[1.0, 2.0, 3.0], 0, 0), SignFlip { p: 0.25, signs: SignFlips::Enumerated });
        assert_eq!(p(&[-1.0, 2.0, 3.0]), 0.5);
        // Darwin's maize (Fisher 1935, section 21): 1,726 of 32,768 signs.
        let maize = [49.0, -67.0, 8.0, 16.0, 6.0, 23.0, 28.0, 41.0, 14.0, 29.0, 56.0, 24.0, 75.0, 60.0, -48.0];
        assert!((p(&maize) - 1726.0 / 32768.0).abs() < 1e-12);
    }

    #[test]
    fn many_are_drawn_and_agree_with_enumeration() {
        let maize = [49.0, -67.0, 8.0, 16.0, 6.0, 23.0, 28.0, 41.0, 14.0, 29.0, 56.0, 24.0, 75.0, 60.0, -48.0];
        let by_draws = drawn(&maize, 314.0 - 1e-6, (40_000, 7));
        assert!((by_draws.p - 1726.0 / 32768.0).abs() < 0.004, "{by_draws:?}");
        let many: Vec<f64> = (0..200).map(|index| f64::from(index % 7)).collect();
        assert_eq!(SignFlip::of(&many, 999, 0), SignFlip { p: 0.001, signs: SignFlips::Drawn(999) });
        assert_ne!(SignFlip::of(&maize.repeat(2), 999, 0).p, SignFlip::of(&maize.repeat(2), 999, 1).p);
    }
}
