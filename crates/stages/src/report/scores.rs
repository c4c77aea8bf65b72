//! Samples of one protocol and metric as the scores that intervals are made of.

use std::collections::{BTreeMap, BTreeSet};

use gazal_stage_api::StageError;
use gazal_tasks::Benchmark;
use gazal_tasks::stats::{self, Bootstrap, Comparison, Interval, Score, StatsError};

use super::metric::Metric;
use crate::eval::{Protocol, Sample};

pub struct Scores<'a> {
    /// By model, group (seed) and benchmark.
    cells: BTreeMap<&'a str, BTreeMap<&'a str, BTreeMap<&'a str, Vec<Score>>>>,
    bootstrap: Bootstrap,
}

impl<'a> Scores<'a> {
    pub fn new(samples: &'a [Sample], protocol: Protocol, metric: Metric, bootstrap: Bootstrap) -> Scores<'a> {
        let mut cells = BTreeMap::<_, BTreeMap<_, BTreeMap<_, Vec<Score>>>>::new();
        // Several answers to a question are one score, their mean: what follows the first is taken into it.
        let mut answers: BTreeMap<(&str, &str, &str, &str), (usize, f64)> = BTreeMap::new();
        for sample in samples.iter().filter(|sample| sample.protocol == protocol) {
            let Some(value) = metric.value(sample) else { continue };
            let groups = cells.entry(sample.label.as_str()).or_default();
            let benchmarks = groups.entry(sample.group.as_str()).or_default();
            let scores = benchmarks.entry(sample.benchmark.as_str()).or_default();
            let place = (sample.label.as_str(), sample.group.as_str(), sample.benchmark.as_str(), sample.id.as_str());
            match answers.get_mut(&place).filter(|_| sample.generation > 0) {
                Some((at, count)) => {
                    *count += 1.0;
                    scores[*at].value += (value - scores[*at].value) / *count;
                }
                None => {
                    answers.insert(place, (scores.len(), 1.0));
                    scores.push(score(sample, value));
                }
            }
        }
        Scores { cells, bootstrap }
    }

    pub fn has(&self, model: &str) -> bool {
        self.cells.contains_key(model)
    }

    /// The groups in which a model was scored.
    fn groups(&self, model: &str) -> BTreeSet<&'a str> {
        self.cells.get(model).into_iter().flat_map(BTreeMap::keys).copied().collect()
    }

    /// A model's mean over benchmarks and groups, or over one group; nothing if it lacks one of the benchmarks. A model
    /// without a group is in every group. One accuracy has its exact interval, means of several the bootstrap's.
    ///
    /// # Errors
    /// A question twice, or a score that is no number.
    pub fn mean(&self, model: &str, benchmarks: &[&str], only: Option<&str>) -> Result<Option<Interval>, StageError> {
        let groups = self.groups(model);
        let is_shared = groups.len() == 1 && groups.contains("");
        let groups = groups.into_iter().filter(|&group| is_shared || only.is_none_or(|only| only == group));
        let cells = groups.flat_map(|group| benchmarks.iter().map(move |&benchmark| (model, group, benchmark)));
        let Some(cells) = cells.map(|key| self.cell(key)).collect::<Option<Vec<_>>>() else { return Ok(None) };
        if cells.is_empty() {
            return Ok(None);
        }
        let named = |error: StatsError| StageError::failed(format!("samples of `{model}`: {error}"));
        let exact = match cells[..] {
            [alone] => stats::accuracy(alone, self.bootstrap.level).map_err(named)?,
            _ => None,
        };
        exact.map_or_else(|| self.bootstrap.mean(&cells).map_err(named), Ok).map(Some)
    }

    /// `right` beside `left`, question by question, over the groups that both have, or over one of them.
    ///
    /// # Errors
    /// As [`Scores::mean`], or questions that only one side was asked.
    pub fn difference(
        &self,
        (left, right): (&str, &str),
        benchmarks: &[&str],
        only: Option<&str>,
    ) -> Result<Option<Comparison>, StageError> {
        let pairs = pairs(&self.groups(left), &self.groups(right));
        let pairs = pairs.into_iter().filter(|pair| only.is_none_or(|only| only == pair.0 || only == pair.1));
        let cells = pairs.flat_map(|pair| benchmarks.iter().map(move |&benchmark| (pair, benchmark)));
        let both = |((l, r), benchmark)| Some((self.cell((left, l, benchmark))?, self.cell((right, r, benchmark))?));
        let Some(cells) = cells.map(both).collect::<Option<Vec<_>>>() else { return Ok(None) };
        if cells.is_empty() {
            return Ok(None);
        }
        let named =
            |error: StatsError| StageError::failed(format!("`{right}` cannot be compared with `{left}`: {error}"));
        Comparison::of(&cells, &self.bootstrap).map(Some).map_err(named)
    }

    fn cell(&self, (model, group, benchmark): (&str, &str, &str)) -> Option<&[Score]> {
        self.cells.get(model)?.get(group)?.get(benchmark).map(Vec::as_slice)
    }
}

/// Groups of two models that belong together: those of one name, or the only group of one with each of the other.
fn pairs<'a>(left: &BTreeSet<&'a str>, right: &BTreeSet<&'a str>) -> Vec<(&'a str, &'a str)> {
    let common: Vec<_> = left.intersection(right).map(|&group| (group, group)).collect();
    if !common.is_empty() || (left.len() > 1 && right.len() > 1) {
        return common;
    }
    left.iter().flat_map(|&l| right.iter().map(move |&r| (l, r))).collect()
}

/// The right answer is part of the id, so that questions that changed between two models are not taken for the same.
/// The clusters of published sets are their own: equal ids in two of them say nothing.
fn score(sample: &Sample, value: f64) -> Score {
    let synthetic = Benchmark::named(&sample.benchmark).is_some_and(|benchmark| benchmark.synthetic);
    let own = if synthetic { "" } else { sample.benchmark.as_str() };
    let id = format!("{} (answer {})", sample.id, sample.target + 1);
    Score { id, cluster: format!("{own}/{}", sample.cluster), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_paired_by_name_or_with_the_only_one() {
        let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(pairs(&set(&["0", "1"]), &set(&["1", "2"])), [("1", "1")]);
        assert_eq!(pairs(&set(&[""]), &set(&["1", "2"])), [("", "1"), ("", "2")]);
        assert_eq!(pairs(&set(&["1", "2"]), &set(&["x"])), [("1", "x"), ("2", "x")]);
        assert!(pairs(&set(&["1", "2"]), &set(&["3", "4"])).is_empty());
    }
}
