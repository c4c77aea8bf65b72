//! Rotary positions (Su et al., arXiv:2104.09864): how fast each pair of dimensions turns, and how long contexts slow
//! the slow ones down.
//!
//! Llama 3's scaling and YaRN (Peng et al., arXiv:2309.00071 §3) as transformers computes them. Frequencies are
//! computed in float64 here; transformers does so in float32.

use std::f64::consts::TAU;

/// Rotary positions of a decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// `rope_theta`.
    pub theta: f64,
    /// The first so many dimensions of a head turn, the others do not; even.
    pub dim: usize,
    pub scaling: Scaling,
}

/// How frequencies differ from `theta^(−2j/dim)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    None,
    Llama3(Llama3),
    Yarn(Yarn),
}

/// Wavelengths above `original / low_freq_factor` are stretched by `factor`, those below `original /
/// high_freq_factor` are left alone, those between are blended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3 {
    pub factor: f64,
    pub low_freq_factor: f64,
    pub high_freq_factor: f64,
    /// `original_max_position_embeddings`.
    pub original: f64,
}

/// Pairs that turn less than `beta_slow` times within the original context are stretched by `factor`, those that turn
/// more than `beta_fast` times are left alone, those between are blended by a ramp over their index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    pub factor: f64,
    pub beta_fast: f64,
    pub beta_slow: f64,
    /// `original_max_position_embeddings`.
    pub original: f64,
    /// Whether the ends of the ramp are whole indices.
    pub truncate: bool,
    /// What cos and sin are multiplied by, so that scores grow with the context.
    pub attention_factor: f64,
}

impl Rope {
    /// Radians per position of each pair, `[dim / 2]`.
    pub fn frequencies(&self) -> Vec<f64> {
        let plain = (0..self.dim / 2).map(|j| self.theta.powf(-2.0 * j as f64 / self.dim as f64));
        match &self.scaling {
            Scaling::None => plain.collect(),
            Scaling::Llama3(llama3) => plain.map(|frequency| llama3.scale(frequency)).collect(),
            Scaling::Yarn(yarn) => {
                let (low, high) = yarn.ramp(self);
                plain.enumerate().map(|(j, frequency)| yarn.scale(frequency, (j as f64 - low) / (high - low))).collect()
            }
        }
    }

    /// What cos and sin are multiplied by.
    pub fn attention_factor(&self) -> f64 {
        match &self.scaling {
            Scaling::Yarn(yarn) => yarn.attention_factor,
            Scaling::None | Scaling::Llama3(_) => 1.0,
        }
    }
}

impl Llama3 {
    fn scale(&self, frequency: f64) -> f64 {
        let turns = self.original * frequency / TAU;
        let kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor);
        if turns > self.high_freq_factor {
            frequency
        } else if turns < self.low_freq_factor {
            frequency / self.factor
        } else {
            (1.0 - kept) * frequency / self.factor + kept * frequency
        }
    }
}

impl Yarn {
    /// YaRN's factor of cos and sin for a context that is `factor` times as long.
    pub fn mscale(factor: f64, mscale: f64) -> f64 {
        if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
    }

    /// Where the ramp begins and where it ends, as indices of pairs.
    fn ramp(&self, rope: &Rope) -> (f64, f64) {
        // The pair that turns so many times within the original context.
        let pair = |turns: f64| rope.dim as f64 * (self.original / (turns * TAU)).ln() / (2.0 * rope.theta.ln());
        let (low, high) = (pair(self.beta_fast), pair(self.beta_slow));
        let (low, high) = if self.truncate { (low.floor(), high.ceil()) } else { (low, high) };
        let (low, high) = (low.max(0.0), high.min(rope.dim as f64 - 1.0));
        if low == high { (low, high + 0.001) } else { (low, high) }
    }

    /// `stretched` is 0 or less before the ramp and 1 or more behind it.
    fn scale(&self, frequency: f64, stretched: f64) -> f64 {
        let stretched = stretched.clamp(0.0, 1.0);
        frequency / self.factor * stretched + frequency * (1.0 - stretched)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;
    use crate::Config;

    fn assert_near(found: f64, wanted: f64, tolerance: f64, what: &str) {
        assert!((found - wanted).abs() <= tolerance * wanted.abs(), "{what}: {found} is not {wanted}");
    }

    #[test]
    fn llama3_keeps_fast_pairs_stretches_slow_ones_and_blends_between() {
        let llama3 = Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original: 64.0 };
        let rope = Rope { theta: 500_000.0, dim: 16, scaling: Scaling::Llama3(llama3) };
        let plain = Rope { scaling: Scaling::None, ..rope }.frequencies();
        let found = rope.frequencies();
        // Within 64 positions pair 0 turns 10.19 times, pair 1 1.98 times, pair 2 0.38 times.
        assert_eq!(found[0], plain[0]);
        assert_near(found[1], 0.079_403_009_179_208_2, 1e-12, "pair 1");
        for (found, plain) in found.iter().zip(&plain).skip(2) {
            assert_near(*found, plain / 8.0, 1e-12, "a slow pair");
        }
        assert_eq!(rope.attention_factor(), 1.0);
    }

    #[test]
    fn yarn_ramps_over_the_index_of_pairs() {
        let yarn = Yarn {
            factor: 4.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original: 4096.0,
            truncate: true,
            attention_factor: Yarn::mscale(4.0, 1.0),
        };
        let rope = Rope { theta: 10_000.0, dim: 16, scaling: Scaling::Yarn(yarn) };
        // The pairs that turn 32 times and once are 2.61 and 5.63, so the ramp goes from 2 to 6.
        let wanted = [
            1.0,
            0.316_227_766_016_837_94,
            0.1,
            0.025_693_505_988_868_08,
            0.006_25,
            0.001_383_496_476_323_666,
            0.000_25,
            0.000_079_056_941_504_209_48,
        ];
        for (pair, (found, wanted)) in rope.frequencies().into_iter().zip(wanted).enumerate() {
            assert_near(found, wanted, 1e-12, &format!("pair {pair}"));
        }
        assert_near(rope.attention_factor(), 1.138_629_436_111_989, 1e-12, "the factor of cos and sin");
    }

    /// `vectors/rope.json`: what transformers computes in float32 from the same configurations.
    #[test]
    fn rope_fixture_frequencies() {
        let tree = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let set = std::env::var_os("GAZAL_FIXTURES").map(std::path::PathBuf::from);
        let places = set.into_iter().chain([tree]).map(|folder| folder.join("vectors/rope.json"));
        let text = places.filter_map(|path| std::fs::read_to_string(path).ok()).next().unwrap();
        let cases: Value = serde_json::from_str(&text).unwrap();
        let cases = cases["cases"].as_array().unwrap();
        for case in cases {
            let rope = Config::from_json(case["config"].clone()).unwrap().rope;
            let what = case["config"]["rope_parameters"].to_string();
            let wanted: Vec<f64> = serde_json::from_value(case["inv_freq"].clone()).unwrap();
            let found = rope.frequencies();
            assert_eq!(found.len(), wanted.len(), "{what}");
            for (found, wanted) in found.into_iter().zip(wanted) {
                assert_near(found, wanted, 2e-6, &what);
            }
            assert_near(rope.attention_factor(), case["attention_factor"].as_f64().unwrap(), 1e-9, &what);
        }
        assert_eq!(cases.len(), 8);
    }
}
