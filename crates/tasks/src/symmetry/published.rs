//! What is published of the study, and how our runs compare.
//!
//! The paper's body was not at hand: the values are those of its abstract (arXiv:2606.01090v1) and of the replication's
//! preregistration, section 2, which sums up the same runs. No point estimate of the rate beside the wrong group is
//! among them, and no interval of the one on the finer grid.

use serde::Serialize;

use super::Family;
use super::analysis::{CONTROL, Estimates, PRIMARY};
use super::rates::{Contrast, Rate};

const ABSTRACT: &str = "abstract of arXiv:2606.01090v1";
const PREREGISTRATION: &str = "preregistration of the replication, section 2";

/// A value with the interval around it, where there is one of either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Value {
    pub estimate: Option<f64>,
    pub interval: Option<(f64, f64)>,
}

impl Value {
    const fn new(estimate: f64, interval: (f64, f64)) -> Value {
        Value { estimate: Some(estimate), interval: Some(interval) }
    }

    fn of(rate: &Rate) -> Value {
        Value { estimate: Some(rate.slope), interval: rate.spread.map(|spread| (spread.low, spread.high)) }
    }
}

/// What the study reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// β, with the single-level interval.
    Rate,
    /// β, with the two-level interval.
    TwoLevelRate,
    /// β on the grid of samples that are √2 apart.
    FinerRate,
    /// The rate of the right group beside the wrong one. The abstract quotes its interval for the wrong group being
    /// worse than none; of the pairs that the programs compare, this is the one
    /// that it can be of.
    WrongGroup,
    /// The least and the largest share of β that is left with noise, as an interval.
    Robustness,
    /// That augmentation reaches the target for no n of 3 and more.
    Augmentation,
    /// That augmentation with averaging in evaluation is the architecture, to the bit of each epoch's accuracy.
    Averaging,
}

/// A published value, or a claim, which has none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Published {
    pub quantity: Quantity,
    pub value: Value,
    pub source: &'static str,
}

pub static PUBLISHED: [Published; 7] = [
    Published { quantity: Quantity::Rate, value: Value::new(1.28, (0.92, 2.05)), source: ABSTRACT },
    Published { quantity: Quantity::TwoLevelRate, value: Value::new(1.28, (-0.63, 1.72)), source: ABSTRACT },
    Published {
        quantity: Quantity::FinerRate,
        value: Value { estimate: Some(-0.82), interval: None },
        source: ABSTRACT,
    },
    Published {
        quantity: Quantity::WrongGroup,
        value: Value { estimate: None, interval: Some((0.79, 3.26)) },
        source: ABSTRACT,
    },
    Published {
        quantity: Quantity::Robustness,
        value: Value { estimate: None, interval: Some((0.88, 0.97)) },
        source: PREREGISTRATION,
    },
    Published {
        quantity: Quantity::Augmentation,
        value: Value { estimate: None, interval: None },
        source: PREREGISTRATION,
    },
    Published { quantity: Quantity::Averaging, value: Value { estimate: None, interval: None }, source: ABSTRACT },
];

/// Whether ours says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The published estimate is in our interval, or, where either is missing, intervals overlap; a claim holds.
    Agrees,
    Differs,
    /// One of both is missing.
    Untold,
}

/// A row of the report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    #[serde(flatten)]
    pub published: Published,
    pub ours: Value,
    pub verdict: Verdict,
}

/// What of ours is compared.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    pub estimates: &'a Estimates,
    /// Of the runs on [`super::finer_samples`].
    pub finer: Option<&'a Estimates>,
    /// Whether all accuracies of [`Family::AugmentedTta`] were those of [`Family::Equivariant`], epoch by epoch.
    pub is_averaging_equal: Option<bool>,
}

impl Ours<'_> {
    /// All that is published, beside ours.
    pub fn rows(&self) -> Vec<Row> {
        PUBLISHED.iter().map(|published| self.row(*published)).collect()
    }

    fn row(&self, published: Published) -> Row {
        let claim = match published.quantity {
            Quantity::Augmentation => augmentation_fails(self.estimates),
            Quantity::Averaging => self.is_averaging_equal,
            _ => {
                let ours = self.value(published.quantity);
                return Row { published, ours, verdict: verdict(published.value, ours) };
            }
        };
        let verdict = match claim {
            Some(true) => Verdict::Agrees,
            Some(false) => Verdict::Differs,
            None => Verdict::Untold,
        };
        Row { published, ours: Value::default(), verdict }
    }

    fn value(&self, quantity: Quantity) -> Value {
        let single = |contrast: Contrast| self.estimates.rate(contrast).map(Value::of);
        let value = match quantity {
            Quantity::Rate => single(PRIMARY),
            Quantity::TwoLevelRate => {
                let two_level = self.estimates.two_level.iter().find(|rate| rate.contrast == PRIMARY);
                two_level.map(Value::of)
            }
            Quantity::FinerRate => self.finer.and_then(|finer| finer.rate(PRIMARY)).map(Value::of),
            Quantity::WrongGroup => single(CONTROL),
            Quantity::Robustness => Some(robustness(self.estimates)),
            Quantity::Augmentation | Quantity::Averaging => None,
        };
        value.unwrap_or_default()
    }
}

fn robustness(estimates: &Estimates) -> Value {
    let shares = || estimates.robustness.iter().filter_map(|robustness| robustness.share);
    let low = shares().min_by(f64::total_cmp);
    Value { estimate: None, interval: low.zip(shares().max_by(f64::total_cmp)) }
}

/// Nothing where augmentation was not run with three petals or more.
fn augmentation_fails(estimates: &Estimates) -> Option<bool> {
    let large = estimates.targets.iter().filter(|target| target.family == Family::Augmented && target.n >= 3);
    let reached: Vec<bool> = large.map(|target| target.samples.is_some()).collect();
    (!reached.is_empty()).then(|| !reached.contains(&true))
}

fn verdict(published: Value, ours: Value) -> Verdict {
    let agrees = match (published.estimate, published.interval, ours.interval) {
        (Some(estimate), _, Some((low, high))) => (low..=high).contains(&estimate),
        (None, Some((low, high)), Some((our_low, our_high))) => low <= our_high && our_low <= high,
        _ => return Verdict::Untold,
    };
    if agrees { Verdict::Agrees } else { Verdict::Differs }
}
