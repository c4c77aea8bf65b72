//! From rewards to advantages, as TRL 1.16 computes them.
//!
//! A missing reward is NaN. It is left out of every mean, deviation and sum; a completion whose rewards are all
//! missing has no total, does not count in its group and has the advantage 0, so that it does not train.

use super::{MultiObjectiveAggregation, ScaleRewards};

/// What is added to a deviation before it divides.
const EPSILON: f64 = 1e-4;

#[derive(Clone, Copy, Debug)]
pub struct AdvantageConfig {
    /// Consecutive completions of one prompt (`num_generations`).
    pub group_size: usize,
    /// With `normalize_then_sum`, groups and the batch are always scaled.
    pub scale_rewards: ScaleRewards,
    pub multi_objective_aggregation: MultiObjectiveAggregation,
}

/// One advantage for each completion, from rewards by function and then by completion. A function without a weight
/// has weight 1.
pub fn advantages(config: &AdvantageConfig, rewards: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let raw = match config.multi_objective_aggregation {
        MultiObjectiveAggregation::SumThenNormalize => normalized(config, &totals(rewards, weights)),
        MultiObjectiveAggregation::NormalizeThenSum => {
            let by_group = AdvantageConfig { scale_rewards: ScaleRewards::Group, ..*config };
            let scaled: Vec<Vec<f64>> = rewards.iter().map(|rewards| normalized(&by_group, rewards)).collect();
            let sums = totals(&scaled, weights);
            normalized(&AdvantageConfig { group_size: sums.len().max(1), ..by_group }, &sums)
        }
    };
    raw.into_iter().map(|advantage| if advantage.is_nan() { 0.0 } else { advantage }).collect()
}

/// Weighted sums of the rewards of each completion; NaN where all of them are missing.
pub fn totals(rewards: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let total = |row: usize| {
        let present = rewards.iter().enumerate().filter(|(_, rewards)| !rewards[row].is_nan());
        let weight = |index: usize| weights.get(index).copied().unwrap_or(1.0);
        present.fold(None, |sum, (index, rewards)| Some(sum.unwrap_or(0.0) + weight(index) * rewards[row]))
    };
    (0..rewards.first().map_or(0, Vec::len)).map(|row| total(row).unwrap_or(f64::NAN)).collect()
}

/// `(r − mean of the group) / (deviation + 1e-4)`, or without the division; NaN stays NaN.
fn normalized(config: &AdvantageConfig, rewards: &[f64]) -> Vec<f64> {
    let batch_deviation = deviation(rewards);
    let group = |group: &[f64]| {
        let mean = mean(group);
        let divisor = match config.scale_rewards {
            ScaleRewards::Group => deviation(group) + EPSILON,
            ScaleRewards::Batch => batch_deviation + EPSILON,
            ScaleRewards::None => 1.0,
        };
        group.iter().map(|reward| (reward - mean) / divisor).collect::<Vec<_>>()
    };
    rewards.chunks(config.group_size).flat_map(group).collect()
}

/// The mean of what is not NaN; NaN of nothing. Of equal values it is their value: their sum may be rounded so that a group
/// without spread would seem to have one.
pub fn mean(values: &[f64]) -> f64 {
    let mut rest = present(values);
    let first = rest.next().unwrap_or(f64::NAN);
    if rest.all(|value| value == first) {
        return first;
    }
    present(values).sum::<f64>() / present(values).count() as f64
}

/// The unbiased standard deviation of what is not NaN; 0 where there is one value or none.
pub fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = present(values).map(|value| (value - mean).powi(2)).sum();
    (squares / present(values).count().saturating_sub(1).max(1) as f64).sqrt()
}

fn present(values: &[f64]) -> impl Iterator<Item = f64> {
    values.iter().copied().filter(|value| !value.is_nan())
}
