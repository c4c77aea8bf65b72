//! What a policy loss says of a window, under TRL's names: sums over micro-batches, so that the means are of tokens
//! and not of micro-batches.

use super::surrogate::Ratio;
use super::{ImportanceSampling, LossType, PolicyConfig, Row};

/// Sums over the tokens, or completions, of one or more micro-batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyMetrics {
    /// Sum of the KL over tokens.
    pub(super) kl: f64,
    tokens: usize,
    entropy: f64,
    entropy_tokens: usize,
    /// Ratios: one a token, or one a completion where they are of completions.
    ratios: usize,
    /// Ratios below `1 − epsilon` with a negative advantage, and above `1 + epsilon_high` with a positive one.
    low: f64,
    high: f64,
    /// Ratios beyond e^±20.
    clamped: f64,
    /// Lowest and highest share in a completion.
    low_min: Option<f64>,
    high_max: Option<f64>,
}

impl PolicyMetrics {
    /// Counts the ratios of a row.
    pub(super) fn count(&mut self, config: &PolicyConfig, row: &Row) {
        let ratios = &row.ratios;
        let largest = if config.loss_type == LossType::Cispo { config.epsilon_high } else { 1.0 + config.epsilon_high };
        let open = |ratio: &Ratio| config.delta.map_or(ratio.value, |delta| ratio.value.min(delta));
        let low = ratios.iter().filter(|ratio| open(ratio) < 1.0 - config.epsilon && row.advantage < 0.0).count();
        let high = ratios.iter().filter(|ratio| open(ratio) > largest && row.advantage > 0.0).count();
        let clamped = ratios.iter().filter(|ratio| ratio.clamped).count();
        self.tokens += ratios.len();
        // In a completion with one ratio all of them count once; an empty one has the ratio 1.
        let of_completions = config.importance_sampling_level != ImportanceSampling::Token;
        let count = if of_completions { 1 } else { ratios.len() };
        self.ratios += count;
        if count == 0 {
            return;
        }
        let length = ratios.len().max(1) as f64;
        let share = |hits: usize| hits as f64 / length;
        let parts = if of_completions { 1.0 } else { length };
        self.low += share(low) * parts;
        self.high += share(high) * parts;
        self.clamped += share(clamped) * parts;
        self.low_min = Some(self.low_min.unwrap_or(f64::INFINITY).min(share(low)));
        self.high_max = Some(self.high_max.unwrap_or(0.0).max(share(high)));
    }

    pub(super) fn add_entropy(&mut self, sum: f64, tokens: usize) {
        self.entropy += sum;
        self.entropy_tokens += tokens;
    }

    /// Adds those of another micro-batch.
    pub fn add(&mut self, other: &PolicyMetrics) {
        self.kl += other.kl;
        self.tokens += other.tokens;
        self.entropy += other.entropy;
        self.entropy_tokens += other.entropy_tokens;
        self.ratios += other.ratios;
        self.low += other.low;
        self.high += other.high;
        self.clamped += other.clamped;
        self.low_min = [self.low_min, other.low_min].into_iter().flatten().reduce(f64::min);
        self.high_max = [self.high_max, other.high_max].into_iter().flatten().reduce(f64::max);
    }

    /// Mean of the KL over tokens.
    pub fn kl(&self) -> f64 {
        self.kl / self.tokens.max(1) as f64
    }

    /// TRL's names and values; the entropy only where it is known.
    pub fn named(&self, config: &PolicyConfig) -> Vec<(&'static str, f64)> {
        let mut named = Vec::new();
        if config.beta != 0.0 {
            named.push(("kl", self.kl()));
        }
        if self.entropy_tokens > 0 {
            named.push(("entropy", self.entropy / self.entropy_tokens as f64));
        }
        let share = |hits: f64| hits / self.ratios.max(1) as f64;
        if config.loss_type == LossType::Cispo {
            named.push(("cispo_clip_ratio", share(self.high)));
        } else {
            named.push(("clip_ratio/low_mean", share(self.low)));
            named.push(("clip_ratio/low_min", self.low_min.unwrap_or(0.0)));
            named.push(("clip_ratio/high_mean", share(self.high)));
            named.push(("clip_ratio/high_max", self.high_max.unwrap_or(0.0)));
            named.push(("clip_ratio/region_mean", share(self.low + self.high)));
        }
        named.push(("clip_ratio/clamped_mean", share(self.clamped)));
        named
    }
}
