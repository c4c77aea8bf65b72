//! Two models on the same questions, and what may be said about them.
//!
//! p is that of [`SignFlip`]. The interval of scores that are 0 or 1 is that of Bonett and Price (2012) for paired
//! proportions, carried over to clusters: one question that one side wins and one that the other wins are added, each
//! a cluster of its own, and Student's interval of the clusters' differences is taken. It has a width where no pair
//! differs, and of eight questions makes no certainty. For other scores it is [`Bootstrap::difference`].
//!
//! A verdict needs both: a p at or below the level and an interval without 0. With several benchmarks in a table p is
//! adjusted first ([`super::holm`]).

use serde::{Deserialize, Serialize};

use super::distributions::{normal_quantile, student_quantile};
use super::tally::{Tally, pair};
use super::{Bootstrap, Interval, Score, SignFlip, StatsError};

/// The difference `right − left` of the same questions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub interval: Interval,
    pub test: SignFlip,
    /// The smallest difference that a test at 5% would find here in 80 of 100 cases, at the spread that was seen;
    /// nothing for scores of one cluster, which have no spread.
    pub resolution: Option<f64>,
    /// All scores are 0 or 1, so that differences are shares.
    pub is_share: bool,
}

/// What a comparison says about the right side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Better,
    Worse,
    WithinNoise,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::WithinNoise => "within noise",
        }
    }
}

impl Comparison {
    /// Compares over groups (seeds, benchmarks) the mean of their means. `bootstrap` gives the level, the number of
    /// resamples and of signs, and the seed.
    ///
    /// # Errors
    /// As [`Bootstrap::difference`].
    pub fn of(groups: &[(&[Score], &[Score])], bootstrap: &Bootstrap) -> Result<Comparison, StatsError> {
        let pairs = groups.iter().map(|(left, right)| pair(left, right)).collect::<Result<Vec<_>, _>>()?;
        let tally = Tally::new(&pairs.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        let differences = tally.parts();
        let scores = groups.iter().flat_map(|(left, right)| left.iter().chain(*right));
        let is_share = scores.map(|score| score.value).all(|value| value == 0.0 || value == 1.0);
        // Of a mean of clusters' values one question is as large as an average cluster is small.
        let question = (tally.clusters * groups.len()) as f64 / tally.items as f64;
        let added = if is_share { vec![question, -question] } else { Vec::new() };
        let spread = Spread::new(&differences, &added);
        let interval =
            if is_share { spread.interval(&tally, bootstrap.level) } else { bootstrap.difference(groups)? };
        let test = SignFlip::of(&differences, bootstrap.resamples.max(1), bootstrap.seed);
        Ok(Comparison { interval, test, resolution: spread.resolution(), is_share })
    }

    /// The verdict at a level such as 0.05, with p as it is or adjusted for several tests.
    pub fn verdict(&self, p: f64, level: f64) -> Verdict {
        match self.interval {
            _ if p > level || p.is_nan() => Verdict::WithinNoise,
            Interval { low, .. } if low > 0.0 => Verdict::Better,
            Interval { high, .. } if high < 0.0 => Verdict::Worse,
            _ => Verdict::WithinNoise,
        }
    }

    /// The verdict with its grounds, in a sentence; differences of shares are in points.
    pub fn reason(&self, p: f64, level: f64) -> String {
        let Interval { mean, low, high, items, clusters } = self.interval;
        let unit = if self.is_share { " points" } else { "" };
        let [mean, low, high] = [mean, low, high].map(|value| self.number(value));
        let clustered = if clusters < items { format!(" in {clusters} clusters") } else { String::new() };
        let verdict = self.verdict(p, level);
        let found =
            format!("{}: {mean}{unit} [{low}, {high}], p = {p:.3}, {items} questions{clustered}", verdict.words());
        match self.resolution.filter(|_| verdict == Verdict::WithinNoise) {
            Some(resolution) => {
                let resolved = self.number(resolution);
                format!("{found}, which can resolve {}{unit}", resolved.trim_start_matches('+'))
            }
            None => found,
        }
    }

    fn number(&self, value: f64) -> String {
        if self.is_share { format!("{:+.1}", 100.0 * value) } else { format!("{value:+.3}") }
    }
}

/// The spread of the clusters' differences.
struct Spread {
    mean: f64,
    /// Of the mean.
    error: f64,
    freedom: f64,
}

impl Spread {
    /// From the parts of the mean that the clusters make up, and values that are made up.
    fn new(parts: &[f64], added: &[f64]) -> Spread {
        let clusters = parts.len() as f64;
        let values: Vec<f64> = parts.iter().map(|part| part * clusters).chain(added.iter().copied()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        // One cluster has no spread, and nothing can be told from it.
        let error = if values.len() < 2 { f64::INFINITY } else { (squares / (n - 1.0) / n).sqrt() };
        Spread { mean, error, freedom: (n - 1.0).max(1.0) }
    }

    fn interval(&self, tally: &Tally, level: f64) -> Interval {
        let half = student_quantile((1.0 + level) / 2.0, self.freedom) * self.error;
        let (low, high) = ((self.mean - half).max(-1.0), (self.mean + half).min(1.0));
        let mean = tally.parts().iter().sum();
        Interval { mean, low, high, items: tally.items, clusters: tally.clusters }
    }

    fn resolution(&self) -> Option<f64> {
        let found = (student_quantile(0.975, self.freedom) + normal_quantile(0.8)) * self.error;
        found.is_finite().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Questions of which the first are right on the right side alone, the next on the left side alone.
    fn sides(gained: usize, lost: usize, all: usize) -> (Vec<Score>, Vec<Score>) {
        let score = |index: usize, value: bool| Score {
            id: index.to_string(),
            cluster: index.to_string(),
            value: f64::from(u8::from(value)),
        };
        let left = (0..all).map(|index| score(index, index >= gained)).collect();
        let right = (0..all).map(|index| score(index, !(gained..gained + lost).contains(&index))).collect();
        (left, right)
    }

    fn compare(gained: usize, lost: usize, all: usize) -> Comparison {
        let (left, right) = sides(gained, lost, all);
        Comparison::of(&[(&left, &right)], &Bootstrap::default()).unwrap()
    }

    #[test]
    fn eight_questions_are_certain_of_little() {
        let compared = compare(3, 0, 8);
        assert_eq!((compared.interval.mean, compared.test.p), (0.375, 0.25));
        assert_eq!(compared.verdict(compared.test.p, 0.05), Verdict::WithinNoise);
        // The percentile bootstrap calls the same above zero.
        let (left, right) = sides(4, 0, 8);
        let percentile = Bootstrap { tails: super::super::Tails::Percentile, ..Bootstrap::default() };
        assert!(percentile.difference(&[(&left, &right)]).unwrap().is_above(0.0));
        assert_eq!(compare(4, 0, 8).verdict(0.125, 0.05), Verdict::WithinNoise);
        let all = compare(8, 0, 8);
        assert_eq!(all.verdict(all.test.p, 0.05), Verdict::Better);
        // By hand: eight 1s, a 1 and a −1: mean 0.8, error 0.2, t with 9 degrees of freedom 2.262157.
        assert!((all.interval.low - 0.347_569).abs() < 1e-6 && all.interval.high == 1.0, "{all:?}");
        let none = compare(0, 0, 8);
        assert!(none.interval.low < -0.2 && none.interval.high > 0.2 && none.test.p == 1.0, "{none:?}");
    }

    #[test]
    fn reasons_say_what_was_found() {
        let compared = compare(40, 20, 500);
        let reason = compared.reason(compared.test.p, 0.05);
        assert_eq!(reason, "better: +4.0 points [+0.9, +7.0], p = 0.013, 500 questions");
        assert!(compared.reason(0.2, 0.05).starts_with("within noise: +4.0 points"));
        let worse = compare(20, 40, 500);
        assert_eq!(worse.verdict(worse.test.p, 0.05), Verdict::Worse);
        let noise = compare(22, 20, 500);
        let reason = noise.reason(noise.test.p, 0.05);
        assert_eq!(
            reason,
            "within noise: +0.4 points [-2.2, +3.0], p = 0.878, 500 questions, which can resolve 3.7 points"
        );
    }

    #[test]
    fn one_cluster_tells_nothing() {
        let (mut left, mut right) = sides(8, 0, 8);
        left.iter_mut().chain(&mut right).for_each(|score| score.cluster = "c".into());
        let compared = Comparison::of(&[(&left, &right)], &Bootstrap::default()).unwrap();
        assert_eq!((compared.test.p, compared.verdict(compared.test.p, 0.05)), (1.0, Verdict::WithinNoise));
        right[0].value = 2.5;
        let compared = Comparison::of(&[(&left, &right)], &Bootstrap::default()).unwrap();
        assert!(!compared.is_share && compared.reason(1.0, 0.05).ends_with("8 questions in 1 clusters"));
    }

    #[test]
    fn groups_are_pooled_and_clusters_shared() {
        let (left, right) = sides(6, 0, 30);
        let one = compare(6, 0, 30);
        let three = Comparison::of(&[(&left[..], &right[..]); 3], &Bootstrap::default()).unwrap();
        assert!((one.interval.low - three.interval.low).abs() < 1e-12, "seeds that agree are no new evidence");
        assert!((one.test.p - three.test.p).abs() < 1e-12 && three.interval.items == 90);
    }
}
