//! Slopes over the number of petals, and their intervals by two bootstraps.
//!
//! The study's first estimator was the slope of log₂ N_target over log₂ n, of which theory says −1. It is positive for
//! every family, since more petals are harder to learn for each of them. The second, chosen after the data were seen,
//! takes two families: β, the slope of log₂(N_baseline / N_treatment), in which what is harder for both cancels.
//!
//! - *Single-level*, as the study's programs have it: pairs (log₂ n, y) are resampled with replacement, drawn with
//!   `default_rng(999)` as one `integers(0, points, size=points)` a resample; resamples of one n alone have no slope
//!   and are dropped. p is twice the smaller share of slopes that are at least 0 or at most 0. A slope within rounding
//!   of 0 counts on both sides here, where the programs count it on the side that rounding took; and p is 1 at most.
//! - *Two-level*, which the paper reports and the programs do not have, so that its details are ours: group sizes are
//!   resampled with replacement, and for each one drawn its seeds, the same ones for both families and all numbers of
//!   samples; N_target is found anew by the rule. Resamples with fewer than three different n that have it for both
//!   families are dropped, and how many is told. From one `default_rng(999)`: for each resample the sizes, then, in the
//!   order in which they were drawn, the seeds of each.
//!
//! N_target moves in factors of two, or √2 on the finer grid, so y is coarse and percentiles of its slopes are too.

use std::collections::BTreeSet;

use libm::log2;
use serde::{Deserialize, Serialize};

use super::runs::{Reached, Rule, Study};
use super::{EXPLORATORY, Family};
use crate::numpy::Generator;

/// How rates are estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub rule: Rule,
    pub resamples: usize,
    /// The share of resamples within an interval.
    pub level: f64,
    pub seed: u64,
    /// How many n must have a target in both families: 3 in the programs, 4 in the preregistration of the replication.
    pub least_points: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            rule: Rule::default(),
            resamples: EXPLORATORY.n_bootstrap,
            level: 1.0 - EXPLORATORY.alpha,
            seed: 999,
            least_points: 3,
        }
    }
}

/// What a slope is of: how many fewer samples the treatment needs than the baseline; without one, how many more it
/// needs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Contrast {
    pub treatment: Family,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Family>,
}

impl Contrast {
    pub const fn new(treatment: Family, baseline: Family) -> Contrast {
        Contrast { treatment, baseline: Some(baseline) }
    }

    pub const fn alone(family: Family) -> Contrast {
        Contrast { treatment: family, baseline: None }
    }
}

/// One number of petals: `y` is log₂(N_baseline / N_treatment), or log₂ N_treatment without a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub n: u32,
    pub y: f64,
}

/// A slope over log₂ n.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    pub contrast: Contrast,
    pub noise: f64,
    pub slope: f64,
    /// Nothing where no resample has a slope.
    pub spread: Option<Spread>,
    pub points: Vec<Point>,
}

/// What resamples say of a slope.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub low: f64,
    pub high: f64,
    /// Two-sided, of a slope of 0.
    pub p: f64,
    pub resamples: usize,
    /// Of those, how many had a slope.
    pub kept: usize,
}

impl Spread {
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    pub fn overlaps(&self, other: &Spread) -> bool {
        self.high > other.low && other.high > self.low
    }

    /// The share of resamples without a slope.
    pub fn discarded(&self) -> f64 {
        1.0 - self.kept as f64 / self.resamples as f64
    }
}

/// The slope by least squares; nothing where all x are the same.
pub fn slope(points: &[Point]) -> Option<f64> {
    let xs = || points.iter().map(|point| log2(f64::from(point.n)));
    let mean = xs().sum::<f64>() / points.len() as f64;
    let squares: f64 = xs().map(|x| (x - mean) * (x - mean)).sum();
    let products: f64 = xs().zip(points).map(|(x, point)| (x - mean) * point.y).sum();
    (squares >= 1e-15).then(|| products / squares)
}

impl Study {
    /// The rate with its single-level interval; nothing for fewer points than the plan wants.
    pub fn rate(&self, contrast: Contrast, noise: f64, plan: &Plan) -> Option<Rate> {
        self.estimate(contrast, noise, plan, |_, points, generator| {
            let drawn: Vec<Point> = points.iter().map(|_| pick(generator, points)).collect();
            slope(&drawn)
        })
    }

    /// The rate with its two-level interval; nothing for fewer points than the plan wants.
    pub fn two_level_rate(&self, contrast: Contrast, noise: f64, plan: &Plan) -> Option<Rate> {
        self.estimate(contrast, noise, plan, |sizes, _, generator| two_level(sizes, plan, generator))
    }

    fn estimate(
        &self,
        contrast: Contrast,
        noise: f64,
        plan: &Plan,
        resample: impl Fn(&[Size], &[Point], &mut Generator) -> Option<f64>,
    ) -> Option<Rate> {
        let sizes = self.sizes(contrast, noise, &plan.rule);
        let points: Vec<Point> = sizes.iter().filter_map(Size::point).collect();
        if points.len() < plan.least_points {
            return None;
        }
        let mut generator = Generator::new(plan.seed);
        let slopes = (0..plan.resamples).filter_map(|_| resample(&sizes, &points, &mut generator)).collect();
        Some(Rate { contrast, noise, slope: slope(&points)?, spread: spread(slopes, plan), points })
    }

    /// The numbers of petals for which both sides have runs, rising.
    fn sizes(&self, contrast: Contrast, noise: f64, rule: &Rule) -> Vec<Size> {
        let all: BTreeSet<u32> = self.runs().iter().map(|run| run.cell.n).collect();
        let size = |n| Size {
            n,
            treatment: self.reached(contrast.treatment, noise, n, rule),
            baseline: contrast.baseline.map(|baseline| self.reached(baseline, noise, n, rule)),
        };
        all.into_iter().map(size).filter(Size::has_runs).collect()
    }
}

/// What both sides reached with one number of petals.
struct Size {
    n: u32,
    treatment: Reached,
    baseline: Option<Reached>,
}

impl Size {
    fn has_runs(&self) -> bool {
        self.treatment.has_runs() && self.baseline.as_ref().is_none_or(Reached::has_runs)
    }

    /// The point of all seeds; nothing where one side has no target.
    fn point(&self) -> Option<Point> {
        self.point_of(&(0..self.treatment.seeds).collect::<Vec<_>>())
    }

    fn point_of(&self, seeds: &[usize]) -> Option<Point> {
        let log = |reached: &Reached| Some(log2(reached.target_of(seeds)? as f64));
        let treatment = log(&self.treatment)?;
        let y = match &self.baseline {
            Some(baseline) => log(baseline)? - treatment,
            None => treatment,
        };
        Some(Point { n: self.n, y })
    }
}

fn pick<T: Copy>(generator: &mut Generator, items: &[T]) -> T {
    items[generator.below(items.len() as u64) as usize]
}

/// The slope of one two-level resample.
fn two_level(sizes: &[Size], plan: &Plan, generator: &mut Generator) -> Option<f64> {
    let drawn: Vec<usize> = sizes.iter().map(|_| generator.below(sizes.len() as u64) as usize).collect();
    let mut points = Vec::with_capacity(drawn.len());
    for size in drawn.into_iter().map(|index| &sizes[index]) {
        let seeds = size.treatment.seeds;
        let seeds: Vec<usize> = (0..seeds).map(|_| generator.below(seeds as u64) as usize).collect();
        points.extend(size.point_of(&seeds));
    }
    let different: BTreeSet<u32> = points.iter().map(|point| point.n).collect();
    if different.len() < plan.least_points { None } else { slope(&points) }
}

/// Slopes nearer to 0 are rounding.
const ROUNDING: f64 = 1e-12;

fn spread(mut slopes: Vec<f64>, plan: &Plan) -> Option<Spread> {
    slopes.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - plan.level) / 2.0;
    let share = |count: usize| count as f64 / slopes.len() as f64;
    let not_below = share(slopes.iter().filter(|slope| **slope >= -ROUNDING).count());
    let not_above = share(slopes.iter().filter(|slope| **slope <= ROUNDING).count());
    Some(Spread {
        low: percentile(&slopes, tail)?,
        high: percentile(&slopes, 1.0 - tail)?,
        p: (2.0 * not_below.min(not_above)).min(1.0),
        resamples: plan.resamples,
        kept: slopes.len(),
    })
}

/// numpy's `percentile`, which interpolates between neighbours; of rising values, and a share of 1.
fn percentile(rising: &[f64], share: f64) -> Option<f64> {
    let place = share * (rising.len().checked_sub(1)?) as f64;
    let (below, part) = (place.floor(), place.fract());
    let low = *rising.get(below as usize)?;
    let high = *rising.get(place.ceil() as usize)?;
    // From the nearer end, as numpy does.
    Some(if part < 0.5 { low + (high - low) * part } else { high - (high - low) * (1.0 - part) })
}
