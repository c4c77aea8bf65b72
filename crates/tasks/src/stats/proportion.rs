//! Intervals of one accuracy.

use super::distributions::{beta_quantile, student_quantile};
use super::tally::Tally;
use super::{Interval, Score, StatsError};

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

/// The exact interval of a proportion of independent trials (Clopper and Pearson 1934): it covers at least the
/// level, whatever the proportion. Nothing without trials.
pub fn clopper_pearson(successes: usize, trials: usize, level: f64) -> Option<Interval> {
    let mean = successes as f64 / trials as f64;
    let (low, high) = ends(mean, trials as f64, level);
    (trials > 0 && successes <= trials).then_some(Interval { mean, low, high, items: trials, clusters: trials })
}

/// The interval of the mean of scores that are 0 or 1: Clopper and Pearson's at the effective number of questions
/// (Korn and Graubard 1998), which is the number itself where each question is its own cluster.
///
/// Otherwise it is p(1 − p) by the variance of the mean between clusters, at most the number of questions, and
/// smaller by the ratio of Student's quantiles, since few clusters say little about that variance. Where all scores
/// are equal the variance is not known, and each cluster counts as one question. Nothing if a score is neither 0 nor 1.
///
/// # Errors
/// No scores, or a question twice.
pub fn accuracy(scores: &[Score], level: f64) -> Result<Option<Interval>, StatsError> {
    let tally = Tally::new(&[scores])?;
    if scores.iter().any(|score| score.value != 0.0 && score.value != 1.0) {
        return Ok(None);
    }
    let (items, clusters) = (tally.items, tally.clusters);
    let mean = scores.iter().map(|score| score.value).sum::<f64>() / items as f64;
    let (low, high) = ends(mean, effective_items(&tally, mean, level), level);
    Ok(Some(Interval { mean, low, high, items, clusters }))
}

fn effective_items(tally: &Tally, mean: f64, level: f64) -> f64 {
    let (items, clusters) = (tally.items as f64, tally.clusters as f64);
    if tally.items == tally.clusters {
        return items;
    }
    if tally.clusters < 2 || mean <= 0.0 || mean >= 1.0 {
        return clusters;
    }
    let cells = tally.groups.iter().flatten();
    let squares: f64 = cells.map(|(sum, count)| (sum - mean * count).powi(2)).sum();
    let variance = clusters / (clusters - 1.0) * squares / (items * items);
    let quantile = |freedom| student_quantile((1.0 + level) / 2.0, freedom);
    let certainty = (quantile(items - 1.0) / quantile(clusters - 1.0)).powi(2);
    // Of clusters that all have the same share right the variance is 0.
    (mean * (1.0 - mean) / variance * certainty).min(items).max(1.0)
}

/// Both ends for a share of a number of trials that need not be whole.
fn ends(mean: f64, trials: f64, level: f64) -> (f64, f64) {
    let (successes, failures) = (mean * trials, (1.0 - mean) * trials);
    let tail = (1.0 - level) / 2.0;
    let low = if successes > 0.0 { beta_quantile(tail, successes, failures + 1.0) } else { 0.0 };
    let high = if failures > 0.0 { beta_quantile(1.0 - tail, successes + 1.0, failures) } else { 1.0 };
    (low, high)
}
