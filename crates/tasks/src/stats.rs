//! Intervals for accuracies and their differences.
//!
//! [`Bootstrap`] resamples *clusters* with replacement (Efron and Tibshirani 1993, chapter 8; percentile
//! intervals, chapter 13): thousands of questions on 150 conditions are not thousands of facts. The scores of one
//! benchmark and one model are a group; several groups (seeds, benchmarks) are pooled as the plain mean of their
//! means, with one resample of the clusters for all, so that what they share widens the interval. A difference
//! is taken question by question, so both sides see the same resample too.
//!
//! Before resampling, scores are summed within each cluster; a resample then costs one draw and one product per
//! cluster and group. Draws are SplitMix64 (Steele, Lea and Flood 2014) addressed by seed and resample: the same
//! on every machine and whatever the order of the scores.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One question's score: 0 or 1, or any number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Of the question; unique within a group.
    pub id: String,
    pub cluster: String,
    pub value: f64,
}

/// A mean and the interval around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
    /// How many scores, or pairs of scores, it rests on.
    pub items: usize,
    pub clusters: usize,
}

impl Interval {
    /// Whether a value, such as the accuracy of guessing, lies in the interval, ends included.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Whether all of the interval lies above a value.
    pub fn is_above(&self, value: f64) -> bool {
        self.low > value
    }
}

/// Why scores have no interval.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    #[error("there are no scores")]
    Empty,
    #[error("question `{0}` is scored twice in one group")]
    Twice(String),
    #[error("question `{0}` is scored on one side of the comparison only, or in two clusters")]
    Unpaired(String),
    #[error("the score of question `{0}` is not a finite number")]
    NotFinite(String),
}

/// How intervals are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    pub resamples: usize,
    /// The share of resamples within the interval.
    pub level: f64,
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Bootstrap {
        Bootstrap { resamples: 10_000, level: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    /// The mean score, over groups the mean of their means.
    ///
    /// # Errors
    /// A group without scores, a question twice in a group, or a score that is no number.
    pub fn mean(&self, groups: &[&[Score]]) -> Result<Interval, StatsError> {
        self.interval(&Tally::new(groups)?)
    }

    /// The mean of `right − left` of the same questions, over groups the mean of their means.
    ///
    /// # Errors
    /// As [`Bootstrap::mean`], or a question that one side has and the other has not.
    pub fn difference(&self, groups: &[(&[Score], &[Score])]) -> Result<Interval, StatsError> {
        let paired = groups.iter().map(|(left, right)| pair(left, right)).collect::<Result<Vec<_>, _>>()?;
        self.mean(&paired.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn interval(&self, tally: &Tally) -> Result<Interval, StatsError> {
        let mut times = vec![0_u32; tally.clusters];
        let mut means = Vec::with_capacity(self.resamples);
        for resample in 0..self.resamples.max(1) as u64 {
            draw(&mut times, mix(self.seed ^ mix(resample)));
            means.extend(tally.mean(&times));
        }
        means.sort_unstable_by(f64::total_cmp);
        times.fill(1);
        let tail = (1.0 - self.level) / 2.0;
        Ok(Interval {
            mean: tally.mean(&times).ok_or(StatsError::Empty)?,
            low: quantile(&means, tail),
            high: quantile(&means, 1.0 - tail),
            items: tally.items,
            clusters: tally.clusters,
        })
    }
}

/// Scores `right − left` of each question.
fn pair(left: &[Score], right: &[Score]) -> Result<Vec<Score>, StatsError> {
    let mut others: BTreeMap<&str, &Score> = right.iter().map(|score| (score.id.as_str(), score)).collect();
    if others.len() < right.len() {
        return Err(StatsError::Twice(first_twice(right).unwrap_or_default()));
    }
    let pairs = left.iter().map(|score| match others.remove(score.id.as_str()) {
        Some(other) if other.cluster == score.cluster => {
            Ok(Score { value: other.value - score.value, ..score.clone() })
        }
        _ => Err(first_twice(left).map_or_else(|| StatsError::Unpaired(score.id.clone()), StatsError::Twice)),
    });
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    match others.into_keys().next() {
        Some(id) => Err(StatsError::Unpaired(id.into())),
        None => Ok(pairs),
    }
}

fn first_twice(scores: &[Score]) -> Option<String> {
    let mut seen = BTreeSet::new();
    scores.iter().find(|score| !seen.insert(&score.id)).map(|score| score.id.clone())
}

/// Sums and counts of scores, by group and cluster.
struct Tally {
    /// `groups[g][c]` is the sum and the count of group `g` in cluster `c`.
    groups: Vec<Vec<(f64, f64)>>,
    clusters: usize,
    items: usize,
}

impl Tally {
    fn new(groups: &[&[Score]]) -> Result<Tally, StatsError> {
        if groups.is_empty() || groups.iter().any(|group| group.is_empty()) {
            return Err(StatsError::Empty);
        }
        let all = groups.iter().copied().flatten();
        let names: BTreeSet<&str> = all.clone().map(|score| score.cluster.as_str()).collect();
        let index: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
        let groups = groups.iter().map(|group| sums(group, &index)).collect::<Result<_, _>>()?;
        Ok(Tally { groups, clusters: index.len(), items: all.count() })
    }

    /// The mean over groups of the weighted mean of each, where cluster `c` counts `times[c]` times. A group that
    /// has no score in the clusters drawn is left out, and where no group has one there is no mean.
    fn mean(&self, times: &[u32]) -> Option<f64> {
        let means = self.groups.iter().filter_map(|cells| {
            let (sum, count) = cells.iter().zip(times).fold((0.0, 0.0), |(sum, count), (cell, &times)| {
                (sum + cell.0 * f64::from(times), count + cell.1 * f64::from(times))
            });
            (count > 0.0).then(|| sum / count)
        });
        let (sum, count) = means.fold((0.0, 0_u32), |(sum, count), mean| (sum + mean, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }
}

/// One group's sums and counts by cluster.
fn sums(group: &[Score], index: &BTreeMap<&str, usize>) -> Result<Vec<(f64, f64)>, StatsError> {
    if let Some(id) = first_twice(group) {
        return Err(StatsError::Twice(id));
    }
    let mut cells = vec![(0.0, 0.0); index.len()];
    for score in group {
        if !score.value.is_finite() {
            return Err(StatsError::NotFinite(score.id.clone()));
        }
        let cell = &mut cells[index[score.cluster.as_str()]];
        *cell = (cell.0 + score.value, cell.1 + 1.0);
    }
    Ok(cells)
}

/// Draws as many clusters as there are, with replacement, and counts how often each came.
fn draw(times: &mut [u32], stream: u64) {
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

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The quantile of sorted values, interpolated linearly (NumPy's default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let value = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (value(place.floor()), value(place.ceil()));
    below + (above - below) * place.fract()
}

/// The 95% interval of a plain proportion of independent trials (Wilson 1927); nothing without trials.
pub fn wilson(successes: usize, trials: usize) -> Option<Interval> {
    const Z: f64 = 1.959_963_984_540_054;
    let (n, z2) = (trials as f64, Z * Z);
    let mean = successes as f64 / n;
    let middle = (mean + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (mean * (1.0 - mean) / n + z2 / (4.0 * n * n)).sqrt();
    let (low, high) = ((middle - half).max(0.0), (middle + half).min(1.0));
    (trials > 0 && successes <= trials).then_some(Interval { mean, low, high, items: trials, clusters: trials })
}

#[cfg(test)]
mod tests;
