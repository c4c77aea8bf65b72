//! The numbers of a report: models × benchmarks of one protocol and one metric, with what stands beside them.

use std::collections::{BTreeMap, BTreeSet};

use gazal_stage_api::StageError;
use gazal_tasks::stats::{self, Bootstrap, Comparison, Interval, holm};
use gazal_tasks::{BENCHMARKS, Benchmark};
use serde::Serialize;

use super::baseline::{Baseline, Questions};
use super::metric::Metric;
use super::scores::Scores;
use crate::comparing::Comparing;
use crate::eval::{Protocol, Sample};

/// The name of the last column where there are several benchmarks.
pub const AVERAGE: &str = "average";

/// One protocol and one metric; protocols are never mixed. Cells are in the order of `columns`; a cell is empty where
/// a model was not scored.
#[derive(Debug, Serialize)]
pub struct Table {
    pub protocol: Protocol,
    pub metric: Metric,
    /// Names of benchmarks, and [`AVERAGE`] if there are several.
    pub columns: Vec<String>,
    pub models: Vec<ModelRow>,
    /// Neighbouring models, or the pairs of all comparisons, each once.
    pub differences: Vec<DifferenceRow>,
    /// The last column for each group (seed), if there are several.
    pub groups: Vec<GroupRow>,
    pub baselines: Vec<Baseline>,
}

impl Table {
    pub fn is_averaged(&self) -> bool {
        self.columns.last().is_some_and(|name| name == AVERAGE)
    }

    /// A comparison's part: its baseline, then its labels, with their differences and seeds; nothing if no pair of it was
    /// measured.
    pub fn part(&self, comparing: &Comparing) -> Option<Table> {
        let of = |(left, right)| self.differences.iter().position(|row| row.left == left && row.right == right);
        let pairs: Vec<usize> = comparing.pairs().filter_map(of).collect();
        let rights = pairs.iter().map(|&at| &self.differences[at].right);
        let names = std::iter::once(&comparing.baseline).chain(rights);
        let models = names.filter_map(|name| self.models.iter().position(|row| row.model == *name)).collect::<Vec<_>>();
        let part = |group: &GroupRow| GroupRow {
            group: group.group.clone(),
            models: picked(&group.models, &models),
            differences: picked(&group.differences, &pairs),
        };
        (!pairs.is_empty()).then(|| Table {
            columns: self.columns.clone(),
            models: picked(&self.models, &models),
            differences: picked(&self.differences, &pairs),
            groups: self.groups.iter().map(part).collect(),
            baselines: Vec::new(),
            ..*self
        })
    }
}

fn picked<T: Clone>(all: &[T], places: &[usize]) -> Vec<T> {
    places.iter().map(|&at| all[at].clone()).collect()
}

#[derive(Clone, Debug, Serialize)]
pub struct ModelRow {
    pub model: String,
    pub cells: Vec<Option<Cell>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    #[serde(flatten)]
    pub interval: Interval,
    /// Names of the baselines that lie in the interval.
    pub contains: Vec<&'static str>,
}

/// What `right` gains over `left`.
#[derive(Clone, Debug, Serialize)]
pub struct DifferenceRow {
    pub left: String,
    pub right: String,
    pub cells: Vec<Option<Difference>>,
}

impl DifferenceRow {
    pub fn title(&self) -> String {
        format!("{} \u{2212} {}", self.right, self.left)
    }

    /// Of the average, or of the only benchmark.
    pub fn last(&self) -> Option<&Difference> {
        self.cells.last().and_then(Option::as_ref)
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    #[serde(flatten)]
    pub interval: Interval,
    /// Of the test that it is zero; see [`gazal_tasks::stats::Comparison`].
    pub p: f64,
    /// The same by Holm's correction over the benchmarks of the row; of the average it is `p`. Of comparisons it is
    /// corrected over all rows of the table, benchmarks and averages each by themselves.
    pub p_adjusted: f64,
    /// What these questions can resolve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<f64>,
    pub verdict: Verdict,
}

/// What is said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    AboveZero,
    BelowZero,
    WithinNoise,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Verdict::AboveZero => "above zero",
            Verdict::BelowZero => "below zero",
            Verdict::WithinNoise => "within noise",
        }
    }
}

/// The chance of a verdict other than "within noise" where there is no difference, at most.
pub const LEVEL: f64 = 0.05;

impl Difference {
    fn new(compared: &Comparison, p_adjusted: f64) -> Difference {
        let verdict = match compared.verdict(p_adjusted, LEVEL) {
            stats::Verdict::Better => Verdict::AboveZero,
            stats::Verdict::Worse => Verdict::BelowZero,
            stats::Verdict::WithinNoise => Verdict::WithinNoise,
        };
        let Comparison { interval, resolution, .. } = *compared;
        Difference { interval, p: compared.test.p, p_adjusted, resolution, verdict }
    }

    fn alone(compared: &Comparison) -> Difference {
        Difference::new(compared, compared.test.p)
    }
}

/// One group: cells in the order of the models, differences in the order of the table's.
#[derive(Clone, Debug, Serialize)]
pub struct GroupRow {
    pub group: String,
    pub models: Vec<Option<Interval>>,
    pub differences: Vec<Option<Difference>>,
}

impl GroupRow {
    pub fn title(&self) -> String {
        match self.group.as_str() {
            group if group.chars().all(|c| c.is_ascii_digit()) => format!("seed {group}"),
            group => group.into(),
        }
    }
}

/// What all tables of a report share.
pub struct Plan<'a> {
    pub samples: &'a [Sample],
    /// In the order in which each is compared with the one before.
    pub models: &'a [String],
    /// What is compared instead, if there are any.
    pub comparisons: &'a [Comparing],
    pub bootstrap: Bootstrap,
}

impl Plan<'_> {
    /// The table of a protocol and a metric; nothing if no model has it.
    ///
    /// # Errors
    /// Samples of two models that cannot be compared, or one question twice.
    pub fn table(&self, protocol: Protocol, metric: Metric) -> Result<Option<Table>, StageError> {
        let scores = Scores::new(self.samples, protocol, metric, self.bootstrap);
        let models: Vec<&str> = self.models.iter().map(String::as_str).filter(|model| scores.has(model)).collect();
        let asked =
            self.samples.iter().filter(|sample| sample.protocol == protocol && models.contains(&sample.label.as_str()));
        let columns = columns(&in_order(asked.map(|sample| sample.benchmark.as_str())));
        if models.is_empty() {
            return Ok(None);
        }
        let names: Vec<String> = columns.iter().map(|(name, _)| (*name).into()).collect();
        let baselines = match metric {
            Metric::Accuracy => Questions::of(self.samples, &models).baselines(&columns),
            _ => Vec::new(),
        };
        let rows = models.iter().map(|model| model_row(&scores, model, &columns, &baselines));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let pairs = self.pairs(&models);
        // Each pair of neighbours is a question of its own, those of comparisons are one that is asked many times.
        let together = if self.comparisons.is_empty() { 1 } else { pairs.len().max(1) };
        let differences = pairs.chunks(together).map(|pairs| difference_rows(&scores, pairs, &columns));
        let differences = differences.collect::<Result<Vec<_>, _>>()?.concat();
        let last = columns.last().map_or(&[][..], |(_, benchmarks)| benchmarks);
        let groups = self.group_rows(&scores, &models, &pairs, last)?;
        Ok(Some(Table { protocol, metric, columns: names, models: rows, differences, groups, baselines }))
    }

    /// Who is compared with whom, of these models.
    fn pairs<'b>(&'b self, models: &[&'b str]) -> Vec<(&'b str, &'b str)> {
        if self.comparisons.is_empty() {
            return models.windows(2).map(|pair| (pair[0], pair[1])).collect();
        }
        let mut pairs = Vec::new();
        for pair in self.comparisons.iter().flat_map(Comparing::pairs) {
            if models.contains(&pair.0) && models.contains(&pair.1) && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        pairs
    }

    fn group_rows(
        &self,
        scores: &Scores,
        models: &[&str],
        pairs: &[(&str, &str)],
        benchmarks: &[&str],
    ) -> Result<Vec<GroupRow>, StageError> {
        let groups = groups(self.samples, models);
        if groups.len() < 2 {
            return Ok(Vec::new());
        }
        let row = |group: &&str| -> Result<GroupRow, StageError> {
            let means = models.iter().map(|model| scores.mean(model, benchmarks, Some(group)));
            let gains = pairs.iter().map(|&pair| scores.difference(pair, benchmarks, Some(group)));
            let gains = gains.collect::<Result<Vec<_>, _>>()?;
            let differences = gains.iter().map(|gain| gain.as_ref().map(Difference::alone)).collect();
            Ok(GroupRow { group: (*group).into(), models: means.collect::<Result<_, _>>()?, differences })
        };
        groups.iter().map(row).collect()
    }
}

/// The groups of these models, numbers by value; no name is one only where there is no other.
pub fn groups<'a>(samples: &'a [Sample], models: &[&str]) -> Vec<&'a str> {
    let samples = samples.iter().filter(|sample| models.contains(&sample.label.as_str()));
    let names: BTreeSet<&str> = samples.map(|sample| sample.group.as_str()).collect();
    let is_only = names.len() == 1;
    let mut groups: Vec<&str> = names.into_iter().filter(|name| is_only || !name.is_empty()).collect();
    groups.sort_by_key(|group| group.parse::<u64>().unwrap_or(u64::MAX));
    groups
}

/// Benchmarks once each: known ones in the order of reports, then the others by name.
pub fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
    names.sort_by_key(|name| BENCHMARKS.iter().position(|benchmark| benchmark.name == *name).unwrap_or(usize::MAX));
    names
}

/// As a report names a benchmark.
pub fn title(benchmark: &str) -> &str {
    Benchmark::named(benchmark).map_or(benchmark, |known| known.title)
}

/// Columns by name, each with the benchmarks that it is the mean of.
pub type Columns<'a> = Vec<(&'a str, Vec<&'a str>)>;

fn columns<'a>(benchmarks: &[&'a str]) -> Columns<'a> {
    let mut columns: Columns = benchmarks.iter().map(|&benchmark| (benchmark, vec![benchmark])).collect();
    if benchmarks.len() > 1 {
        columns.push((AVERAGE, benchmarks.to_vec()));
    }
    columns
}

fn model_row(scores: &Scores, model: &str, columns: &Columns, baselines: &[Baseline]) -> Result<ModelRow, StageError> {
    let cells = columns.iter().enumerate().map(|(index, (_, benchmarks))| {
        let interval = scores.mean(model, benchmarks, None)?;
        Ok(interval.map(|interval| {
            let inside = |baseline: &&Baseline| baseline.cells[index].is_some_and(|value| interval.contains(value));
            Cell { interval, contains: baselines.iter().filter(inside).map(|baseline| baseline.name).collect() }
        }))
    });
    Ok(ModelRow { model: model.into(), cells: cells.collect::<Result<_, StageError>>()? })
}

/// Pairs whose p are corrected together, those of benchmarks and those of averages each by themselves.
fn difference_rows(
    scores: &Scores,
    pairs: &[(&str, &str)],
    columns: &Columns,
) -> Result<Vec<DifferenceRow>, StageError> {
    let compare = |pair| columns.iter().map(move |(_, benchmarks)| scores.difference(pair, benchmarks, None)).collect();
    let compared = pairs.iter().map(|&pair| compare(pair)).collect::<Result<Vec<Vec<_>>, _>>()?;
    let corrected = |of_average: bool| {
        let cells = compared.iter().flat_map(|row| row.iter().zip(columns));
        let family = cells.filter(|(_, (name, _))| (*name == AVERAGE) == of_average);
        holm(&family.filter_map(|(cell, _)| Some(cell.as_ref()?.test.p)).collect::<Vec<_>>()).into_iter()
    };
    let (mut benchmarks, mut averages) = (corrected(false), corrected(true));
    let rows = pairs.iter().zip(&compared).map(|(&(left, right), compared)| {
        let cells = compared.iter().zip(columns).map(|(compared, (name, _))| {
            let compared = compared.as_ref()?;
            let p = if *name == AVERAGE { averages.next() } else { benchmarks.next() };
            Some(Difference::new(compared, p?))
        });
        DifferenceRow { left: left.into(), right: right.into(), cells: cells.collect() }
    });
    Ok(rows.collect())
}

/// `{benchmark: {metric: number}}`: means as `sft.acc`, differences as `sft-base.acc`, each with `_low` and `_high`.
pub fn metrics(tables: &[Table]) -> BTreeMap<&str, BTreeMap<String, f64>> {
    let mut tasks: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
    for table in tables {
        let name = table.metric.name(table.protocol);
        for (index, column) in table.columns.iter().enumerate() {
            let task = tasks.entry(column).or_default();
            let means =
                table.models.iter().map(|row| (row.model.clone(), row.cells[index].as_ref().map(|cell| cell.interval)));
            let gains = table.differences.iter().map(|row| {
                (format!("{}-{}", row.right, row.left), row.cells[index].as_ref().map(|cell| cell.interval))
            });
            for (who, interval) in means.chain(gains) {
                let Some(interval) = interval else { continue };
                task.insert(format!("{who}.{name}"), interval.mean);
                task.insert(format!("{who}.{name}_low"), interval.low);
                task.insert(format!("{who}.{name}_high"), interval.high);
            }
        }
    }
    tasks
}
