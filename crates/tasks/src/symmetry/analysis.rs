//! All that the study estimates at one level of noise, and what is left of it with more noise.

use serde::{Deserialize, Serialize};

use super::rates::{Contrast, Plan, Rate};
use super::runs::{Study, Target};
use super::taxonomy::{Confirmatory, Outcome, Preregistered};
use super::{EXPLORATORY, Family};
use crate::stats::bonferroni;

/// How much better the right symmetry is than none: the study's estimate.
pub const PRIMARY: Contrast = Contrast::new(Family::Equivariant, Family::Vanilla);

/// How much better it is than another orbit of the same size.
pub const CONTROL: Contrast = Contrast::new(Family::Equivariant, Family::WrongGroup);

/// What is estimated at the least level of noise that was run, which is 0 in the study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimates {
    pub noise: f64,
    pub targets: Vec<Target>,
    /// Slopes of each family alone, of each beside the one without symmetry, and of the right symmetry beside each
    /// other one; only those for which there are enough targets.
    pub rates: Vec<Rate>,
    /// [`PRIMARY`] and [`CONTROL`] by the two-level bootstrap.
    pub two_level: Vec<Rate>,
    pub hypotheses: Vec<Hypothesis>,
    /// What is left of [`PRIMARY`] at the other levels of noise.
    pub robustness: Vec<Robustness>,
}

/// Estimates, and what they are called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    #[serde(flatten)]
    pub estimates: Estimates,
    pub outcome: Outcome,
    pub preregistered: Preregistered,
    pub confirmatory: Confirmatory,
}

/// One of the three tests of the configuration.
///
/// The study's programs have a p for the first alone: for the others they put 0.01 or 0.5, as intervals of the two
/// rates beside the network without symmetry are apart or not, and subtract to more than 0.3. Here all three are of the
/// joint bootstrap, in which what both families share cancels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    pub contrast: Contrast,
    /// Two-sided, from the bootstrap.
    pub p: f64,
    /// Bonferroni's, for three tests.
    pub adjusted_p: f64,
    /// The rate is above 0, and the adjusted p below the configuration's α.
    pub is_supported: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Robustness {
    pub noise: f64,
    pub rate: Option<Rate>,
    /// The rate over that without noise; nothing where either is missing or the latter is not above 0.
    pub share: Option<f64>,
}

impl Estimates {
    /// The single-level rate of a contrast, if it has one.
    pub fn rate(&self, contrast: Contrast) -> Option<&Rate> {
        self.rates.iter().find(|rate| rate.contrast == contrast)
    }

    /// What is left of the rate at a level of noise.
    pub fn share(&self, noise: f64) -> Option<f64> {
        self.robustness.iter().find(|robustness| robustness.noise == noise)?.share
    }

    /// How many samples a family needs, if the grid has as many.
    pub fn target(&self, family: Family, n: u32) -> Option<usize> {
        self.targets.iter().find(|target| (target.family, target.n) == (family, n))?.samples
    }
}

impl Study {
    /// The analysis of the least level of noise; nothing without runs.
    pub fn analysis(&self, plan: &Plan) -> Option<Analysis> {
        let estimates = self.estimates(plan)?;
        Some(Analysis {
            outcome: Outcome::of(&estimates),
            preregistered: Preregistered::of(&estimates, self.slope_left(&estimates, plan)),
            confirmatory: Confirmatory::of(&estimates, estimates.share(0.2)),
            estimates,
        })
    }

    fn estimates(&self, plan: &Plan) -> Option<Estimates> {
        let noises = self.noises();
        let (&noise, noisy) = noises.split_first()?;
        let rates: Vec<Rate> = self.contrasts().filter_map(|contrast| self.rate(contrast, noise, plan)).collect();
        let clean = rates.iter().find(|rate| rate.contrast == PRIMARY).map(|rate| rate.slope);
        let two_level = [PRIMARY, CONTROL].map(|contrast| self.two_level_rate(contrast, noise, plan));
        Some(Estimates {
            noise,
            targets: self.targets(&plan.rule).into_iter().filter(|target| target.noise == noise).collect(),
            two_level: two_level.into_iter().flatten().collect(),
            hypotheses: hypotheses(&rates),
            robustness: noisy.iter().map(|&noise| self.robustness(clean, noise, plan)).collect(),
            rates,
        })
    }

    fn contrasts(&self) -> impl Iterator<Item = Contrast> {
        let families = self.families();
        let alone = families.clone().into_iter().map(Contrast::alone);
        let others = families.clone().into_iter().filter(|family| *family != Family::Vanilla);
        let beside = others.map(|family| Contrast::new(family, Family::Vanilla));
        let controls = families.into_iter().filter(|family| !matches!(family, Family::Vanilla | Family::Equivariant));
        alone.chain(beside).chain(controls.map(|family| Contrast::new(Family::Equivariant, family)))
    }

    fn robustness(&self, clean: Option<f64>, noise: f64, plan: &Plan) -> Robustness {
        let rate = self.rate(PRIMARY, noise, plan);
        let share = rate.as_ref().zip(clean.filter(|slope| *slope > 0.0)).map(|(rate, clean)| rate.slope / clean);
        Robustness { noise, rate, share }
    }

    /// What is left at a noise of 0.2 of the slope that the first preregistration looks at.
    fn slope_left(&self, estimates: &Estimates, plan: &Plan) -> Option<f64> {
        let alone = Contrast::alone(Family::Equivariant);
        let noisy = self.rate(alone, 0.2, plan)?;
        estimates.rate(alone).map(|clean| noisy.slope / clean.slope)
    }
}

fn hypotheses(rates: &[Rate]) -> Vec<Hypothesis> {
    let tested = [PRIMARY, CONTROL, Contrast::new(Family::Equivariant, Family::Augmented)];
    let found: Vec<Option<&Rate>> =
        tested.iter().map(|contrast| rates.iter().find(|rate| rate.contrast == *contrast)).collect();
    let p = |rate: &Option<&Rate>| rate.and_then(|rate| rate.spread).map_or(1.0, |spread| spread.p);
    let p: Vec<f64> = found.iter().map(p).collect();
    let adjusted = bonferroni(&p);
    let each = tested.into_iter().zip(found).zip(p.into_iter().zip(adjusted));
    each.map(|((contrast, rate), (p, adjusted_p))| {
        let is_supported = rate.is_some_and(|rate| rate.slope > 0.0) && adjusted_p < EXPLORATORY.alpha;
        Hypothesis { contrast, p, adjusted_p, is_supported }
    })
    .collect()
}
