//! What results are worth: intervals for accuracies and their differences, tests, corrections for several of them,
//! and what a set of questions can resolve at all.
//!
//! | what | how | when |
//! |---|---|---|
//! | one accuracy | [`accuracy`]: Clopper and Pearson's interval at the effective number of questions | one group of scores that are 0 or 1 |
//! | any other mean | [`Bootstrap::mean`]: clusters resampled, tails widened for few clusters | pooled groups, rewards, lengths |
//! | a difference | [`Comparison`]: sign flips by cluster (McNemar's exact test where questions are their own clusters), and an interval with two made-up questions | any paired scores that are 0 or 1; for others the interval is [`Bootstrap::difference`]'s |
//! | a mean over seeds | [`Student`]: Student's interval and test | a few independent values, paired differences among them |
//! | several differences | [`holm`] for "is any of them real", [`benjamini_hochberg`] for a list to look into | several benchmarks in one table |
//! | before a run | [`paired_resolution`], [`planned_resolution`], [`single_resolution`] | choosing a set |
//!
//! A *cluster* is what questions have in common that are no independent evidence, such as a condition: thousands of
//! questions on 150 conditions are not thousands of facts. Of eight questions, a percentile bootstrap's interval
//! contains the accuracy in 35 to 93 of 100 cases and Clopper and Pearson's in 98 or more (the example `coverage`).

mod bootstrap;
mod comparison;
mod correction;
mod distributions;
mod permutation;
mod power;
mod proportion;
mod random;
mod student;
mod tally;

use serde::{Deserialize, Serialize};

pub use bootstrap::{Bootstrap, Tails};
pub use comparison::{Comparison, Verdict};
pub use correction::{benjamini_hochberg, bonferroni, holm};
pub use permutation::{SignFlip, SignFlips};
pub use power::{items_needed, paired_resolution, planned_resolution, single_resolution};
pub use proportion::{accuracy, clopper_pearson, wilson};
pub use student::Student;

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

#[cfg(test)]
mod tests;
