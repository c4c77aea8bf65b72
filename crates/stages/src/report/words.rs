//! What a report says beside its numbers, in every form of it.

use super::Report;
use super::baseline::{FREQUENT, GUESSING};
use super::examples::{Examples, Said};
use super::metric::{Metric, explain};
use super::table::{Difference, Table, Verdict};

pub const DISCLAIMER: &str = "For research only: no clinical use, and no medical advice. What the models were trained \
                              on and asked here are general textbook facts; their answers can be wrong and must not \
                              guide anybody's care.";

pub const SYNTHETIC: &str = "made by this project, not comparable with the published ones";

/// The mark of a baseline that lies in an interval.
pub fn mark(baseline: &str) -> &'static str {
    match baseline {
        GUESSING => "g",
        _ => "m",
    }
}

/// A baseline's name where there is little room.
pub fn short(baseline: &str) -> &'static str {
    match baseline {
        GUESSING => "guessing",
        _ => "most frequent",
    }
}

/// What the last column is.
pub fn over(table: &Table) -> String {
    match table.columns.last() {
        Some(name) if !table.is_averaged() => name.clone(),
        _ => "average over the benchmarks".into(),
    }
}

/// What a table measures, where tables of several protocols stand together.
pub fn measured(table: &Table) -> String {
    format!("{}: {}", explain(table.protocol).0, table.metric.title())
}

/// The tables whose differences are summed up in a line each.
pub fn summarized(report: &Report) -> impl Iterator<Item = &Table> {
    report.tables.iter().filter(|table| table.metric == Metric::Accuracy)
}

/// What stands above these lines.
pub fn summary(report: &Report) -> String {
    let seeds = match report.groups.len() {
        0 | 1 => String::new(),
        count => format!(", over {count} seeds"),
    };
    format!(
        "What each label gains over its baseline{seeds}; p is corrected by Holm's method over all lines. Each comparison \
         has its own section below."
    )
}

/// The means of a comparison's baseline and of one of its labels, in a column of its [`Table::part`].
pub fn means(part: &Table, label: usize, column: usize) -> Option<String> {
    let mean =
        |model: usize| Some(part.metric.show(part.models.get(model)?.cells.get(column)?.as_ref()?.interval.mean));
    Some(format!("{} \u{2192} {}", mean(0)?, mean(label + 1)?))
}

/// p of a test.
pub fn p(p: f64) -> String {
    if p < 0.0005 { "<0.001".into() } else { format!("{p:.3}") }
}

/// What a comparison that found nothing could have found.
pub fn could_find(metric: Metric, cell: &Difference) -> Option<String> {
    let largest = if metric == Metric::Reward { f64::INFINITY } else { 1.0 };
    let found = match cell.resolution.filter(|least| *least < largest) {
        Some(least) => format!("could find {}", metric.show(least)),
        None => "too few to tell".into(),
    };
    (cell.verdict == Verdict::WithinNoise).then_some(found)
}

/// What became of the questions, and how those that are shown were chosen.
pub fn examples(examples: &Examples) -> String {
    let Examples { before, after, counts, .. } = examples;
    let each: Vec<String> = counts.iter().map(|(change, count)| format!("{count} {}", change.words())).collect();
    format!(
        "From {before} to {after}, of the questions that both answered in words, {}. Those below were drawn by the digests \
         of their ids, in turn from each of these.",
        each.join(", ")
    )
}

/// What was read from a text.
pub fn read(said: &Said, target: char) -> String {
    let found = match said.answer {
        Some(answer) if said.correct => format!("{answer}, right"),
        Some(answer) => format!("{answer}, wrong ({target} is right)"),
        None => format!("no answer ({target} is right)"),
    };
    if said.unfinished { format!("{found}, unfinished") } else { found }
}

/// How neighbouring models are compared.
const NEIGHBOURS: &str = "Differences are taken question by question between neighbouring models and tested by flipping the signs of whole \
     clusters (McNemar's exact test where there are none). With several benchmarks in a row their p are corrected by \
     Holm's method: of twenty rows without any difference one at most shows one. \"Within noise\" means that p is above \
     5% or that the interval contains zero; what such a comparison could have found, 4 times in 5, stands beside it.";

/// How labels are compared with baselines.
const COMPARED: &str = "Differences are taken question by question between a label and its baseline and tested by flipping the signs of \
     whole clusters (McNemar's exact test where there are none). The p of one measure are corrected by Holm's method over \
     all comparisons, averages and benchmarks each by themselves: of twenty reports without any difference one at most \
     shows one in a table of its summary. What stands under single seeds is not corrected. \"Within noise\" means that p \
     is above 5% or that the interval contains zero; what such a comparison could have found, 4 times in 5, stands beside \
     it.";

/// How to read the numbers, by paragraphs.
pub fn reading(report: &Report) -> Vec<String> {
    let seeds = match report.groups.len() {
        0 | 1 => String::new(),
        count => format!(" Numbers are pooled over {count} seeds."),
    };
    let mut paragraphs = vec![format!(
        "Intervals are for {:.0}%. That of one accuracy is Clopper and Pearson's, at the number of questions that these \
         are worth: questions about one thing (a condition) are a cluster, and no independent evidence. Means of several \
         benchmarks or seeds, and of rewards, have that of {} bootstrap resamples of clusters. The average is the plain \
         mean over benchmarks.{seeds}",
        report.level * 100.0,
        report.resamples
    )];
    if report.tables.iter().any(|table| !table.differences.is_empty()) {
        paragraphs.push(if report.comparisons.is_empty() { NEIGHBOURS } else { COMPARED }.into());
    }
    if report.tables.iter().any(|table| !table.baselines.is_empty()) {
        paragraphs.push(format!(
            "Models are marked where their interval contains a baseline: {GUESSING} (in text: {}) or always giving the \
             benchmark's {FREQUENT} (in text: {}).",
            mark(GUESSING),
            mark(FREQUENT)
        ));
    }
    if report.by_protocol().len() > 1 {
        paragraphs.push("The two protocols measure different things: compare numbers within one only.".into());
    }
    paragraphs
}
