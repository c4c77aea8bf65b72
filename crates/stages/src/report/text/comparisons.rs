//! The comparisons of a report for a terminal: all of them in short lines first, then each with its numbers.

use std::fmt::Write;

use super::{Grid, cut, gain, missing, of_groups, wrapped};
use crate::report::table::{Difference, Table};
use crate::report::{Report, words};

/// Of the names of two models in the summary.
const PAIR: usize = 34;

/// Every difference in average accuracy, a line each.
pub fn summary(report: &Report) -> String {
    if report.comparisons.is_empty() {
        return String::new();
    }
    let mut out = format!("COMPARISONS\n{}\n", wrapped(&words::summary(report)));
    for table in words::summarized(report) {
        out += &wrapped(&format!("{}, {} (95% intervals)", words::measured(table), words::over(table)));
        out.push('\n');
        for comparing in &report.comparisons {
            let Some(part) = table.part(comparing) else { continue };
            out += &wrapped(&comparing.title);
            for row in &part.differences {
                let _ = writeln!(out, "  {:<PAIR$}{}", cut(&row.title(), PAIR), line(&part, row.last()));
            }
        }
        out.push('\n');
    }
    out
}

/// The difference, its p and its verdict.
fn line(part: &Table, cell: Option<&Difference>) -> String {
    let Some(cell) = cell else { return format!("{:>7}", missing()) };
    let (number, interval) =
        (part.metric.show_signed(cell.interval.mean), part.metric.show_interval(&cell.interval, true));
    let could = words::could_find(part.metric, cell).map_or_else(String::new, |could| format!(", {could}"));
    format!("{number:>7} {interval:<17} {:>6}  {}{could}", words::p(cell.p_adjusted), cell.verdict.words())
}

/// Each comparison, with all that is measured but the form of answers.
pub fn sections(report: &Report) -> String {
    let mut out = String::new();
    for comparing in &report.comparisons {
        let title = wrapped(&comparing.title);
        let width = title.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        let baseline = &comparing.baseline;
        let how = wrapped(&format!("What each gains over {baseline}, and from which mean to which."));
        let _ = write!(out, "{title}{}\n{how}\n", "-".repeat(width));
        let tables = report.tables.iter().filter(|table| !table.metric.is_form());
        for part in tables.filter_map(|table| table.part(comparing)) {
            out += &section(&part);
        }
    }
    out
}

fn section(part: &Table) -> String {
    let mut out = format!("{} (95% interval below)\n\n{}", words::measured(part), of_labels(part).render());
    if !part.groups.is_empty() {
        let over = words::over(part);
        let grids: String = of_groups(part).iter().map(Grid::render).collect();
        let _ = write!(out, "Each seed, {over} (intervals are on the page)\n\n{grids}");
    }
    out
}

/// A row for each label: what it gains over the baseline, and from which mean to which.
fn of_labels(part: &Table) -> Grid {
    let rows = part.differences.iter().enumerate().map(|(index, row)| {
        let cells = row.cells.iter().enumerate().map(|(column, cell)| {
            let mut lines = gain(part.metric, cell.as_ref());
            if cell.is_some() {
                // Below the interval, above what is said of it.
                lines.splice(2..2, words::means(part, index, column));
            }
            lines
        });
        (row.right.clone(), cells.collect())
    });
    Grid { head: part.columns.clone(), rows: rows.collect() }
}
