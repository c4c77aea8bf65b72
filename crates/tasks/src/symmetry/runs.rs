//! What runs reached, and how many samples that says a family needs.
//!
//! N_target of a family, a number of petals and a level of noise is the least number of samples of the grid with which
//! at least three seeds of five reached 80% of validation accuracy at any evaluation. Where no number does, there is
//! none, and the estimates leave that number of petals out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Cell, Family};

/// A network that was trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub family: Family,
    #[serde(flatten)]
    pub cell: Cell,
    /// The largest over all evaluations, from 0 to 1.
    pub best_val_accuracy: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anomaly: Option<Anomaly>,
}

/// What a run is flagged with. Flagged runs stay in the study, as they do in the published analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anomaly {
    /// The last epoch's loss is no finite number.
    LossNan,
    /// No evaluation was above 0.52 and all epochs were used.
    StuckAtChance,
}

impl Anomaly {
    pub fn of(last_loss: f64, best_val_accuracy: f64, used_all_epochs: bool) -> Option<Anomaly> {
        if !last_loss.is_finite() {
            return Some(Anomaly::LossNan);
        }
        (best_val_accuracy < 0.52 && used_all_epochs).then_some(Anomaly::StuckAtChance)
    }
}

/// When a number of samples is enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub accuracy: f64,
    /// How many seeds must reach it, however many there are.
    pub seeds: usize,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule { accuracy: super::EXPLORATORY.target_acc, seeds: 3 }
    }
}

/// How many samples a family needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub family: Family,
    pub noise: f64,
    pub n: u32,
    /// Nothing where no number of samples of the grid is enough.
    pub samples: Option<usize>,
    /// How many seeds were run.
    pub seeds: usize,
}

/// Runs, each combination of family and cell once.
#[derive(Clone, Debug, PartialEq)]
pub struct Study {
    runs: Vec<Run>,
}

/// Why runs are no study.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum StudyError {
    #[error("there are two runs of {family:?} for {cell:?}: leave one of them out")]
    Twice { family: Family, cell: Cell },
    #[error("the run of {family:?} for {cell:?} has an accuracy of {accuracy}, which is not between 0 and 1")]
    Accuracy { family: Family, cell: Cell, accuracy: f64 },
    #[error("the run of {family:?} for {cell:?} has no petals, no samples, or a share of noise outside 0 to 1")]
    Cell { family: Family, cell: Cell },
}

impl Study {
    /// # Errors
    /// Two runs of the same family and cell, or numbers that mean nothing.
    pub fn new(mut runs: Vec<Run>) -> Result<Study, StudyError> {
        for Run { family, cell, best_val_accuracy: accuracy, .. } in runs.iter().copied() {
            if !(0.0..=1.0).contains(&accuracy) {
                return Err(StudyError::Accuracy { family, cell, accuracy });
            }
            if cell.n == 0 || cell.samples == 0 || !(0.0..=1.0).contains(&cell.noise) {
                return Err(StudyError::Cell { family, cell });
            }
        }
        runs.sort_by(|left, right| {
            let key = |run: &Run| (run.family, run.cell.n, run.cell.samples, run.cell.seed);
            left.cell.noise.total_cmp(&right.cell.noise).then_with(|| key(left).cmp(&key(right)))
        });
        let twice = runs.windows(2).find(|pair| (pair[0].family, pair[0].cell) == (pair[1].family, pair[1].cell));
        match twice {
            Some(pair) => Err(StudyError::Twice { family: pair[0].family, cell: pair[0].cell }),
            None => Ok(Study { runs }),
        }
    }

    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The levels of noise, rising.
    pub fn noises(&self) -> Vec<f64> {
        let mut noises: Vec<f64> = self.runs.iter().map(|run| run.cell.noise).collect();
        noises.dedup();
        noises
    }

    /// The families that have runs.
    pub fn families(&self) -> BTreeSet<Family> {
        self.runs.iter().map(|run| run.family).collect()
    }

    /// The combinations of all that occurs that have no run. Seeds without a run count as seeds that did not reach the
    /// target.
    pub fn gaps(&self) -> Vec<(Family, Cell)> {
        let seen: BTreeSet<_> = self.runs.iter().map(|run| key(run.family, run.cell)).collect();
        let sizes: BTreeSet<u32> = self.runs.iter().map(|run| run.cell.n).collect();
        let levels: BTreeSet<usize> = self.runs.iter().map(|run| run.cell.samples).collect();
        let seeds: BTreeSet<u64> = self.runs.iter().map(|run| run.cell.seed).collect();
        let mut gaps = Vec::new();
        for family in self.families() {
            for (&n, noise) in sizes.iter().flat_map(|n| self.noises().into_iter().map(move |noise| (n, noise))) {
                let cells = levels.iter().flat_map(|&samples| seeds.iter().map(move |&seed| (samples, seed)));
                let cells = cells.map(|(samples, seed)| Cell { n, samples, noise, seed });
                gaps.extend(cells.filter(|cell| !seen.contains(&key(family, *cell))).map(|cell| (family, cell)));
            }
        }
        gaps
    }

    /// How many samples each family needs, by noise, family and number of petals.
    pub fn targets(&self, rule: &Rule) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        for run in &self.runs {
            let (family, noise, n) = (run.family, run.cell.noise, run.cell.n);
            if targets.last().is_none_or(|last| (last.family, last.noise, last.n) != (family, noise, n)) {
                let reached = self.reached(family, noise, n, rule);
                targets.push(Target { family, noise, n, samples: reached.target(), seeds: reached.seeds });
            }
        }
        targets
    }

    /// Which runs of a family reached the accuracy, by number of samples and seed. Seeds are those of all families for
    /// this number of petals, rising, so that one index is one seed for each of them.
    pub(super) fn reached(&self, family: Family, noise: f64, n: u32, rule: &Rule) -> Reached {
        let here = || self.runs.iter().filter(|run| run.cell.noise == noise && run.cell.n == n);
        let seeds: Vec<u64> = here().map(|run| run.cell.seed).collect::<BTreeSet<_>>().into_iter().collect();
        let mut levels: Vec<(usize, Vec<bool>)> = Vec::new();
        for run in here().filter(|run| run.family == family) {
            if levels.last().is_none_or(|(samples, _)| *samples != run.cell.samples) {
                levels.push((run.cell.samples, vec![false; seeds.len()]));
            }
            if let (Some((_, level)), Ok(index)) = (levels.last_mut(), seeds.binary_search(&run.cell.seed)) {
                level[index] = run.best_val_accuracy >= rule.accuracy;
            }
        }
        Reached { levels, seeds: seeds.len(), least: rule.seeds }
    }
}

fn key(family: Family, cell: Cell) -> (Family, u64, u32, usize, u64) {
    (family, cell.noise.to_bits(), cell.n, cell.samples, cell.seed)
}

/// Which runs reached the target, of a family, a level of noise and a number of petals.
pub(super) struct Reached {
    /// Numbers of samples, rising, and whether each seed reached it.
    levels: Vec<(usize, Vec<bool>)>,
    pub(super) seeds: usize,
    least: usize,
}

impl Reached {
    pub(super) fn has_runs(&self) -> bool {
        !self.levels.is_empty()
    }

    /// The least number of samples with which enough seeds reached the target.
    pub(super) fn target(&self) -> Option<usize> {
        self.target_of(&(0..self.seeds).collect::<Vec<_>>())
    }

    /// The same for seeds by their indices, which may come several times.
    pub(super) fn target_of(&self, seeds: &[usize]) -> Option<usize> {
        let enough = |level: &[bool]| seeds.iter().filter(|&&seed| level[seed]).count() >= self.least;
        self.levels.iter().find(|(_, level)| enough(level)).map(|(samples, _)| *samples)
    }
}

/// A run that the preregistrations exclude from the primary analysis and keep in the supplement; so does whoever wants
/// to follow them rather than the published analysis, which excludes none. Two more of their reasons, another
/// configuration and too little memory, are no matter of a run's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exclusion {
    pub family: Family,
    pub cell: Cell,
    pub reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    LossNan,
    /// No seed with any number of samples was above 0.53.
    AtChance,
}

impl Study {
    pub fn exclusions(&self) -> Vec<Exclusion> {
        let mut exclusions = Vec::new();
        let same = |left: &Run, right: &Run| {
            (left.family, left.cell.noise, left.cell.n) == (right.family, right.cell.noise, right.cell.n)
        };
        for group in self.runs.chunk_by(same) {
            let at_chance = group.iter().all(|run| run.best_val_accuracy <= 0.53);
            exclusions.extend(group.iter().filter_map(|run| {
                let reason = match run.anomaly {
                    Some(Anomaly::LossNan) => Reason::LossNan,
                    _ if at_chance => Reason::AtChance,
                    _ => return None,
                };
                Some(Exclusion { family: run.family, cell: run.cell, reason })
            }));
        }
        exclusions
    }
}
