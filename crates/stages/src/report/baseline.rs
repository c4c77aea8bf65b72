//! What answering without any knowledge would score on the same questions.

use std::collections::BTreeMap;

use gazal_tasks::Benchmark;
use serde::Serialize;

use super::table::Columns;
use crate::eval::Sample;

/// An accuracy that takes no knowledge.
#[derive(Debug, Serialize)]
pub struct Baseline {
    pub name: &'static str,
    /// In the order of the table's columns; empty where the samples do not tell it.
    pub cells: Vec<Option<f64>>,
}

pub const GUESSING: &str = "uniform guessing";
pub const FREQUENT: &str = "most frequent answer";

/// A question's right answer, and how many options it has where that is known.
type Question = (usize, Option<usize>);

/// From a benchmark's name and questions to an accuracy.
type Score = fn(&str, &[Question]) -> Option<f64>;

/// Every question that was asked, once: by benchmark, group and id.
pub struct Questions<'a>(BTreeMap<&'a str, BTreeMap<&'a str, BTreeMap<&'a str, Question>>>);

impl<'a> Questions<'a> {
    /// The samples' log-likelihoods tell how many options there are, whatever the protocol of the table.
    pub fn of(samples: &'a [Sample], models: &[&str]) -> Questions<'a> {
        let mut all: BTreeMap<_, BTreeMap<_, BTreeMap<_, Question>>> = BTreeMap::new();
        for sample in samples.iter().filter(|sample| models.contains(&sample.label.as_str())) {
            let group = all.entry(sample.benchmark.as_str()).or_default().entry(sample.group.as_str()).or_default();
            let question = group.entry(sample.id.as_str()).or_insert((sample.target, None));
            let options = Some(sample.resps.len()).filter(|&count| count > 0);
            question.1 = question.1.or(options);
        }
        Questions(all)
    }

    pub fn baselines(&self, columns: &Columns) -> Vec<Baseline> {
        let of = |name, score: Score| {
            let cells =
                columns.iter().map(|(_, benchmarks)| mean(benchmarks.iter().map(|name| self.score(name, score))));
            Baseline { name, cells: cells.collect() }
        };
        vec![of(GUESSING, guessing), of(FREQUENT, frequent)]
    }

    /// The mean over groups, as models have it.
    fn score(&self, benchmark: &str, score: Score) -> Option<f64> {
        let groups = self.0.get(benchmark)?;
        mean(groups.values().map(|group| score(benchmark, &group.values().copied().collect::<Vec<_>>())))
    }

    /// How many different questions a benchmark has.
    pub fn count(&self, benchmark: &str) -> usize {
        let groups = self.0.get(benchmark).into_iter().flat_map(BTreeMap::values);
        groups.flat_map(BTreeMap::keys).collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// The mean if there are values and none is missing.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values = values.collect::<Option<Vec<f64>>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn guessing(_: &str, questions: &[Question]) -> Option<f64> {
    mean(questions.iter().map(|&(_, options)| options.map(|count| 1.0 / count as f64)))
}

/// Nothing where options are not shown, so that no answer is given twice.
fn frequent(benchmark: &str, questions: &[Question]) -> Option<f64> {
    if Benchmark::named(benchmark).is_some_and(|benchmark| benchmark.options < 2) {
        return None;
    }
    let mut counts = BTreeMap::<usize, usize>::new();
    questions.iter().for_each(|&(target, _)| *counts.entry(target).or_default() += 1);
    let most = counts.into_values().max()?;
    Some(most as f64 / questions.len() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn guessing_needs_every_count_of_options() {
        let guessing = |questions: &[Question]| guessing("medqa", questions);
        assert_eq!(guessing(&[(0, Some(2)), (1, Some(4))]), Some(0.375));
        assert_eq!(guessing(&[(0, Some(2)), (1, None)]), None);
        assert_eq!((guessing(&[]), frequent("medqa", &[])), (None, None));
        let questions = [(0, None), (3, None), (3, None), (1, None)];
        assert_eq!(frequent("medqa", &questions), Some(0.5));
        assert_eq!(frequent("mini_medical_o1_verifiable", &questions), None);
    }
}
