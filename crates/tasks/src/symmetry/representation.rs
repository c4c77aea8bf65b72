//! What a network's hidden numbers look like: how many dimensions they have, and how much its answer depends on a
//! rotation that changes no label. The study has these as observations that decide nothing, and calls the dimensions
//! unreliable.
//!
//! - TwoNN (Facco et al. 2017, Scientific Reports 7, 12140): the ratio of the distances to the second and the first
//!   neighbour has the distribution function 1 − μ^(−d); d is the slope through the origin of −ln(1 − F) over ln μ, for
//!   the least nine tenths of the ratios, as in scikit-dimension, which the study calls.
//! - Participation ratio: (Σλ)² / Σλ² of the covariance's eigenvalues, which is its trace squared over the sum of its
//!   squared entries.
//! - Levina and Bickel's maximum likelihood (2004): for each point the inverse of the mean of ln(T_k / T_j) over its
//!   k − 1 nearer neighbours; the median over points, which is what the study's own code takes. It calls
//!   scikit-dimension with a parameter of another name first, so that with that library present it had no such number.

use serde::{Deserialize, Serialize};

/// For fewer points the study gives no estimate.
const FEWEST: usize = 20;

/// Points, one row of `width` numbers after the other.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Points<'a> {
    /// Nothing if the numbers are no whole rows.
    pub fn new(values: &'a [f32], width: usize) -> Option<Points<'a>> {
        (width > 0 && values.len().is_multiple_of(width)).then_some(Points { values, width })
    }

    fn rows(&self) -> impl Iterator<Item = &'a [f32]> + Clone {
        self.values.chunks_exact(self.width)
    }

    fn count(&self) -> usize {
        self.values.len() / self.width
    }

    /// Of each point the distances to the `k` others that are nearest, rising.
    fn neighbours(&self, k: usize) -> Vec<Vec<f64>> {
        let nearest = |(index, point): (usize, &[f32])| {
            let others = self.rows().enumerate().filter(|(other, _)| *other != index);
            let mut distances: Vec<f64> = others.map(|(_, other)| distance(point, other)).collect();
            distances.sort_unstable_by(f64::total_cmp);
            distances.truncate(k);
            distances
        };
        self.rows().enumerate().map(nearest).collect()
    }
}

fn distance(left: &[f32], right: &[f32]) -> f64 {
    let squares = left.iter().zip(right).map(|(left, right)| (f64::from(*left) - f64::from(*right)).powi(2));
    squares.sum::<f64>().sqrt()
}

/// TwoNN; nothing for fewer than 20 points, or where most lie on each other.
pub fn two_nn(points: Points) -> Option<f64> {
    if points.count() < FEWEST {
        return None;
    }
    let ratio = |distances: Vec<f64>| match distances[..] {
        [first, second] if first > 0.0 => Some(libm::log(second / first)),
        _ => None,
    };
    let mut logs: Vec<f64> = points.neighbours(2).into_iter().filter_map(ratio).collect();
    logs.sort_unstable_by(f64::total_cmp);
    let all = logs.len();
    logs.truncate((all as f64 * 0.9) as usize);
    let heights = (1..=logs.len()).map(|rank| -libm::log1p(-(rank as f64 / all as f64)));
    let products: f64 = logs.iter().zip(heights).map(|(log, height)| log * height).sum();
    let squares: f64 = logs.iter().map(|log| log * log).sum();
    (squares > 0.0).then(|| products / squares)
}

/// The participation ratio; nothing where all points are the same.
pub fn participation_ratio(points: Points) -> Option<f64> {
    let count = points.count() as f64;
    let mean: Vec<f64> =
        (0..points.width).map(|column| points.rows().map(|row| f64::from(row[column])).sum::<f64>() / count).collect();
    let covariance = |left: usize, right: usize| {
        let centred = |row: &[f32], column: usize| f64::from(row[column]) - mean[column];
        points.rows().map(|row| centred(row, left) * centred(row, right)).sum::<f64>() / count
    };
    let trace: f64 = (0..points.width).map(|column| covariance(column, column)).sum();
    let pairs = (0..points.width).flat_map(|left| (0..points.width).map(move |right| (left, right)));
    let squares: f64 = pairs.map(|(left, right)| covariance(left, right).powi(2)).sum();
    (squares > 0.0).then(|| trace * trace / squares)
}

/// Levina and Bickel's estimate from `k` neighbours; nothing for too few points, or where half of them lie on others.
pub fn levina_bickel(points: Points, k: usize) -> Option<f64> {
    if k < 2 || points.count() <= k {
        return None;
    }
    let dimension = |distances: Vec<f64>| {
        let farthest = libm::log(*distances.last()?);
        let sum: f64 = distances[..k - 1].iter().map(|distance| farthest - libm::log(*distance)).sum();
        Some((k - 1) as f64 / sum)
    };
    let mut dimensions: Vec<f64> = points.neighbours(k).into_iter().filter_map(dimension).collect();
    dimensions.sort_unstable_by(f64::total_cmp);
    let middle = dimensions.len() / 2;
    let upper = *dimensions.get(middle)?;
    let median = if dimensions.len().is_multiple_of(2) { (dimensions[middle - 1] + upper) / 2.0 } else { upper };
    (median.is_finite() && median > 0.0).then_some(median)
}

/// The three estimates, and whether they are of any use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimensions {
    pub two_nn: Option<f64>,
    pub participation_ratio: Option<f64>,
    /// With 10 neighbours.
    pub levina_bickel: Option<f64>,
    /// The largest over the least; nothing for fewer than two.
    pub disagreement: Option<f64>,
    /// The largest is below three times the least. Else none of them is to be reported.
    pub agree: bool,
}

impl Dimensions {
    pub fn of(points: Points) -> Dimensions {
        let estimates = [two_nn(points), participation_ratio(points), levina_bickel(points, 10)];
        let [two_nn, participation_ratio, levina_bickel] = estimates;
        let mut known: Vec<f64> = estimates.into_iter().flatten().collect();
        known.sort_unstable_by(f64::total_cmp);
        let disagreement = match known[..] {
            [least, .., largest] => Some(largest / least),
            _ => None,
        };
        let agree = disagreement.is_some_and(|ratio| ratio < 3.0);
        Dimensions { two_nn, participation_ratio, levina_bickel, disagreement, agree }
    }
}

/// How much logits vary over the rotations of a point, beside how much they vary at all: the mean over points of the
/// standard deviation within an orbit, over that of all logits. 0 for what a rotation does not change. `logits` are
/// those of one point's `n` rotations after the other's; nothing for fewer than two rotations or no whole orbits.
pub fn orbit_consistency(logits: &[f32], n: usize) -> Option<f64> {
    if n < 2 || logits.is_empty() || !logits.len().is_multiple_of(n) {
        return None;
    }
    // As the study has it, so that equal logits are no division by zero.
    let whole = deviation(logits) + 1e-8;
    let orbits = logits.chunks_exact(n).map(|orbit| deviation(orbit) / whole);
    Some(orbits.sum::<f64>() / (logits.len() / n) as f64)
}

/// The standard deviation of a sample, by n − 1.
fn deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    (squares / (count - 1.0)).sqrt()
}
