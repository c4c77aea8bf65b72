//! A model card from the facts of the report, as Hugging Face shows it beside a model: `README.md`.

use std::fmt::Write;

use super::Report;
use super::metric::{Metric, explain};
use super::table::{Difference, DifferenceRow, Table};
use super::words;

/// What a reader has to know before anything else, whatever the numbers say.
const LIMITS: &str = "The model was not reviewed by clinicians, it was evaluated on multiple-choice questions alone, and \
    being right on those is not being safe: it states falsehoods with the same confidence as facts. It must not be used \
    to diagnose, treat or advise anybody, and nobody's health data belongs into it. Who builds on it has to evaluate it \
    for that purpose.";

/// The whole card.
pub fn render(report: &Report) -> String {
    let mut out =
        String::from("---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags: [gazal-pipe]\n---\n\n");
    let _ = write!(out, "# {}\n\n", report.title);
    if let Some(disclaimer) = report.disclaimer {
        let _ = write!(out, "> **{disclaimer}**\n\n## Limits\n\n{LIMITS}\n\n");
    }
    for (protocol, tables) in report.by_protocol() {
        let (title, how) = explain(protocol);
        let _ = write!(out, "## {title}\n\n{how}\n\n");
        tables.iter().for_each(|table| section(&mut out, table));
    }
    out += "## Benchmarks\n\n";
    for benchmark in &report.benchmarks {
        let _ = writeln!(out, "- `{}`: {}", benchmark.name, benchmark.describe());
    }
    if let Some(contamination) = &report.contamination {
        let _ = write!(out, "\n{}\n", contamination.sentence());
    }
    let mut histories: Vec<&str> = report.curves.iter().map(|curve| curve.history.as_str()).collect();
    histories.dedup();
    if !histories.is_empty() {
        let _ = write!(out, "\nTrained in these stages, whose curves are in the report: {}.\n", histories.join(", "));
    }
    out += "\n## How to read the numbers\n\n";
    words::reading(report).iter().for_each(|paragraph| out += &format!("- {paragraph}\n"));
    out
}

fn section(out: &mut String, table: &Table) {
    let metric = table.metric;
    let head = |out: &mut String| {
        let _ = writeln!(out, "| | {} |", table.columns.join(" | "));
        let _ = writeln!(out, "|---|{}", "---|".repeat(table.columns.len()));
    };
    let _ = write!(out, "### {}\n\n", metric.title());
    head(out);
    for row in &table.models {
        let cells = row.cells.iter().map(|cell| {
            let cell = cell.as_ref().map(|cell| &cell.interval);
            cell.map_or_else(missing, |interval| {
                format!("{} {}", metric.show(interval.mean), metric.show_interval(interval, false))
            })
        });
        let _ = writeln!(out, "| {} | {} |", row.model, cells.collect::<Vec<_>>().join(" | "));
    }
    for baseline in &table.baselines {
        let cells = baseline.cells.iter().map(|cell| cell.map_or_else(missing, |value| metric.show(value)));
        let _ = writeln!(out, "| {} | {} |", baseline.name, cells.collect::<Vec<_>>().join(" | "));
    }
    out.push('\n');
    if metric.is_form() || table.differences.is_empty() {
        return;
    }
    head(out);
    for row in &table.differences {
        let cells = row.cells.iter().map(|cell| cell.as_ref().map_or_else(missing, |cell| gain(metric, cell)));
        let _ = writeln!(out, "| {} | {} |", DifferenceRow::title(row), cells.collect::<Vec<_>>().join(" | "));
    }
    out.push('\n');
}

fn gain(metric: Metric, cell: &Difference) -> String {
    let interval = metric.show_interval(&cell.interval, true);
    format!("{} {interval}, {}", metric.show_signed(cell.interval.mean), cell.verdict.words())
}

fn missing() -> String {
    "–".into()
}
