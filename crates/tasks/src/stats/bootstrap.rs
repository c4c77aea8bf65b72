//! The cluster bootstrap.
//!
//! [`Bootstrap`] resamples *clusters* with replacement (Efron and Tibshirani 1993, chapter 8; percentile
//! intervals, chapter 13). The scores of one benchmark and one model are a group; several groups (seeds, benchmarks)
//! are pooled as the plain mean of their means, with one resample of the clusters for all, so that what they share
//! widens the interval. A difference is taken question by question, so both sides see the same resample too.
//!
//! Percentiles of resamples are too narrow where clusters are few: their spread lacks the factor n / (n − 1), and
//! Student's t. Hesterberg (2015, arXiv:1411.5279, section 5) widens the tails so that a symmetric distribution
//! gets the t interval; that is [`Tails::Expanded`], the default. From 100 clusters on it is 2% at most.
//!
//! Before resampling, scores are summed within each cluster; a resample then costs one draw and one product per
//! cluster and group.

use super::distributions::{normal, student_quantile};
use super::random::{draw, mix};
use super::tally::{Tally, pair};
use super::{Interval, Score, StatsError};

/// How intervals are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    pub resamples: usize,
    /// The share of resamples within the interval.
    pub level: f64,
    pub seed: u64,
    pub tails: Tails,
}

/// Which percentiles of the resamples are an interval's ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tails {
    /// Those of the level, as other programs have it: too narrow for few clusters.
    Percentile,
    /// Those that make the interval as wide as Student's.
    #[default]
    Expanded,
}

impl Tails {
    /// The share of resamples below an interval's lower end.
    fn share(self, level: f64, clusters: usize) -> f64 {
        let n = clusters as f64;
        match self {
            Tails::Expanded if clusters > 1 => {
                normal(-student_quantile((1.0 + level) / 2.0, n - 1.0) * (n / (n - 1.0)).sqrt())
            }
            Tails::Percentile | Tails::Expanded => (1.0 - level) / 2.0,
        }
    }
}

impl Default for Bootstrap {
    fn default() -> Bootstrap {
        Bootstrap { resamples: 10_000, level: 0.95, seed: 0, tails: Tails::default() }
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
        let tail = self.tails.share(self.level, tally.clusters);
        Ok(Interval {
            mean: tally.mean(&times).ok_or(StatsError::Empty)?,
            low: quantile(&means, tail),
            high: quantile(&means, 1.0 - tail),
            items: tally.items,
            clusters: tally.clusters,
        })
    }
}

/// The quantile of sorted values, interpolated linearly (NumPy's default).
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64;
    let value = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (value(place.floor()), value(place.ceil()));
    below + (above - below) * place.fract()
}
