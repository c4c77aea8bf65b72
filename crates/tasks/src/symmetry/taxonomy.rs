//! What a result is called. There are three taxonomies, and each is a list of conditions of which the first that holds
//! decides: that of the programs, by which the published result is a signal; that of the first preregistration, by
//! which no result with rising slopes has a name; and that of the replication's.

use serde::{Deserialize, Serialize};

use super::analysis::{CONTROL, Estimates, PRIMARY};
use super::rates::{Contrast, Rate, Spread};
use super::runs::Target;
use super::{CONFIRMATORY, Family};

/// Slopes that are nearer to each other, or to what theory says, are the same.
const CLOSE: f64 = 0.3;

/// The outcome by the study's programs, in the order in which they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Outcome {
    /// The network with symmetry has no rate beside the one without, or no interval.
    InsufficientData,
    /// The interval contains 0.
    A,
    /// The interval is below 0.
    ANegative,
    /// The wrong group is as good as the right one: orbits help, alignment does not.
    E,
    /// Augmentation is as good as the architecture.
    Aug,
    /// Better than without symmetry and better than the wrong group.
    Signal { matches_theory: bool },
    /// Better than without symmetry, and nothing to tell whether alignment is why.
    SignalNeedsWrongGroup { matches_theory: bool },
    /// Better than without symmetry, worse than the wrong group.
    Ambiguous,
}

impl Outcome {
    pub(super) fn of(estimates: &Estimates) -> Outcome {
        let beside_vanilla = |family| measured(estimates, Contrast::new(family, Family::Vanilla));
        let Some((rate, spread)) = beside_vanilla(Family::Equivariant) else { return Outcome::InsufficientData };
        if spread.contains(0.0) {
            return Outcome::A;
        }
        if spread.high < 0.0 {
            return Outcome::ANegative;
        }
        if is_same(estimates, Family::WrongGroup) == Some(true) {
            return Outcome::E;
        }
        if is_same(estimates, Family::Augmented) == Some(true) {
            return Outcome::Aug;
        }
        let matches_theory = (rate.slope - 1.0).abs() < CLOSE;
        match beside_vanilla(Family::WrongGroup) {
            None => Outcome::SignalNeedsWrongGroup { matches_theory },
            Some(_) if beats(estimates, Family::WrongGroup) => Outcome::Signal { matches_theory },
            Some(_) => Outcome::Ambiguous,
        }
    }
}

fn measured(estimates: &Estimates, contrast: Contrast) -> Option<(&Rate, Spread)> {
    estimates.rate(contrast).and_then(|rate| Some((rate, rate.spread?)))
}

/// The rates of both beside the network without symmetry, for where they have too few n in common to be compared
/// with each other.
fn margins(estimates: &Estimates, other: Family) -> Option<(f64, bool)> {
    let (equivariant, wide) = measured(estimates, PRIMARY)?;
    let (other, narrow) = measured(estimates, Contrast::new(other, Family::Vanilla))?;
    Some((equivariant.slope - other.slope, wide.overlaps(&narrow)))
}

/// Whether a family cannot be told from the one with the right symmetry; nothing without data.
fn is_same(estimates: &Estimates, other: Family) -> Option<bool> {
    match measured(estimates, Contrast::new(Family::Equivariant, other)) {
        Some((_, spread)) => Some(spread.contains(0.0)),
        None => margins(estimates, other).map(|(gap, overlap)| gap.abs() < CLOSE && overlap),
    }
}

/// Whether the right symmetry is better than another family.
fn beats(estimates: &Estimates, other: Family) -> bool {
    match measured(estimates, Contrast::new(Family::Equivariant, other)) {
        Some((_, spread)) => spread.low > 0.0,
        None => margins(estimates, other).is_some_and(|(gap, overlap)| gap > CLOSE && !overlap),
    }
}

/// The outcome by the first preregistration, which looks at slopes of N_target itself and expects −1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preregistered {
    InsufficientData,
    /// The interval of the slope contains 0.
    A,
    /// The slope falls, and by less than 0.2 more than the wrong group's.
    E,
    /// As for a signal, but at a noise of 0.2 less than half of the slope is left.
    D,
    /// The slope is within 0.3 of −1, 0.3 below the wrong group's with an interval apart from it, and at a noise of 0.2
    /// half of it is left.
    Signal,
    /// None of these, as whenever the slope rises.
    Unnamed,
}

impl Preregistered {
    /// `noisy` is the share of the slope that is left at a noise of 0.2, if that was run.
    pub(super) fn of(estimates: &Estimates, noisy: Option<f64>) -> Preregistered {
        let slope = |family| measured(estimates, Contrast::alone(family));
        let Some((rate, spread)) = slope(Family::Equivariant) else { return Preregistered::InsufficientData };
        if spread.contains(0.0) {
            return Preregistered::A;
        }
        let Some((wrong, apart)) = slope(Family::WrongGroup) else { return Preregistered::Unnamed };
        let gap = wrong.slope - rate.slope;
        if rate.slope < 0.0 && gap < 0.2 {
            return Preregistered::E;
        }
        let is_supported = gap > CLOSE && !spread.overlaps(&apart);
        if rate.slope >= 0.0 || !is_supported {
            return Preregistered::Unnamed;
        }
        match noisy {
            Some(share) if share < 0.5 => Preregistered::D,
            Some(_) if (-1.3..=-0.7).contains(&rate.slope) => Preregistered::Signal,
            _ => Preregistered::Unnamed,
        }
    }
}

/// The outcome by the preregistration of the replication, and what it rests on.
///
/// Its two tables disagree where a rate is a signal and a control fails; here the failed control decides, as in the
/// longer one, but where the interval excludes 1 both have `signal_shifted` first. Neither says what an interval below
/// 0 is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmatory {
    pub outcome: ConfirmatoryOutcome,
    /// H1: the interval is above 0.
    pub is_positive: bool,
    /// H1's second criterion, which decides no outcome: the interval contains 1, and the rate is within 0.5 of it.
    pub matches_theory: bool,
    /// H2: the interval of the rate beside the wrong group is above 0.
    pub beats_wrong_group: bool,
    /// H3: with four petals and more, augmentation never reaches the target and the architecture does for at least
    /// three numbers of petals.
    pub beats_augmentation: bool,
    /// H4, which is described and decides nothing: at a noise of 0.2 more than half of the rate is left.
    pub is_robust: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmatoryOutcome {
    /// Fewer than four numbers of petals for which both families reach the target.
    Undefined,
    Signal,
    /// The rate is above 0 and its interval excludes 1.
    SignalShifted,
    /// The interval contains 0, and the rate is above 0.3.
    Ambiguous,
    /// The interval contains 0.
    FailureA,
    /// H2 fails.
    FailureE,
    /// H3 fails.
    FailureAug,
    /// The interval is below 0.
    Unnamed,
}

impl Confirmatory {
    pub(super) fn of(estimates: &Estimates, noisy: Option<f64>) -> Confirmatory {
        let enough = |rate: &&Rate| rate.points.len() >= 4;
        let rate_of =
            |contrast| estimates.rate(contrast).filter(enough).and_then(|rate| Some((rate.slope, rate.spread?)));
        let rate = rate_of(PRIMARY);
        let wrong = rate_of(CONTROL);
        let facts = Confirmatory {
            outcome: ConfirmatoryOutcome::Undefined,
            is_positive: rate.is_some_and(|(_, spread)| spread.low > 0.0),
            matches_theory: rate.is_some_and(|(slope, spread)| spread.contains(1.0) && (slope - 1.0).abs() < 0.5),
            beats_wrong_group: wrong.is_some_and(|(_, spread)| spread.low > 0.0),
            beats_augmentation: beats_augmentation(&estimates.targets),
            is_robust: noisy.map(|share| share > 0.5),
        };
        Confirmatory { outcome: rate.map_or(facts.outcome, |(slope, spread)| facts.outcome(slope, spread)), ..facts }
    }

    fn outcome(&self, slope: f64, spread: Spread) -> ConfirmatoryOutcome {
        if spread.contains(0.0) {
            return if slope > CLOSE { ConfirmatoryOutcome::Ambiguous } else { ConfirmatoryOutcome::FailureA };
        }
        if !self.is_positive {
            return ConfirmatoryOutcome::Unnamed;
        }
        match (spread.contains(1.0), self.beats_wrong_group, self.beats_augmentation) {
            (false, _, _) => ConfirmatoryOutcome::SignalShifted,
            (true, false, _) => ConfirmatoryOutcome::FailureE,
            (true, true, false) => ConfirmatoryOutcome::FailureAug,
            (true, true, true) => ConfirmatoryOutcome::Signal,
        }
    }
}

/// H3, which wants all of the registered numbers of petals to have been run.
fn beats_augmentation(targets: &[Target]) -> bool {
    let large = |family| {
        let of_family = targets.iter().filter(move |target| target.family == family && target.n >= 4);
        of_family.filter(|target| CONFIRMATORY.n_groups.contains(&target.n))
    };
    large(Family::Augmented).filter(|target| target.samples.is_none()).count() == 4
        && large(Family::Equivariant).filter(|target| target.samples.is_some()).count() >= 3
}
