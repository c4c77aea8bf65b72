//! The comparisons of a page: all of them in one table first, then each with its numbers.

use std::fmt::Write;

use super::{gain_tag, heads, number, of_groups};
use crate::comparing::Comparing;
use crate::page::{Grid, escape, missing};
use crate::report::table::{Difference, Table};
use crate::report::{Report, words};

/// Every difference in average accuracy, a line each.
pub fn summary(out: &mut String, report: &Report) {
    if report.comparisons.is_empty() {
        return;
    }
    let _ = write!(out, "<h2>Comparisons</h2>\n<p class=\"soft\">{}</p>\n", escape(&words::summary(report)));
    for table in words::summarized(report) {
        let _ = write!(
            out,
            "<h3>{} <span class=\"soft\">(95% interval below)</span></h3>\n<div class=\"scroll\"><table>\n\
             <thead><tr><th scope=\"col\" style=\"width:30%\">Comparison</th>\
             <th scope=\"col\" style=\"width:24%\">Label \u{2212} baseline</th><th scope=\"col\">Difference</th>\
             <th scope=\"col\" style=\"width:9%\">p</th><th scope=\"col\">Verdict</th></tr></thead>\n",
            escape(&format!("{}, {}", words::measured(table), words::over(table)))
        );
        for (index, comparing) in report.comparisons.iter().enumerate() {
            if let Some(part) = table.part(comparing) {
                lines(out, &part, (index, comparing));
            }
        }
        *out += "</table></div>\n";
    }
}

/// A comparison's lines of the summary, under its title.
fn lines(out: &mut String, part: &Table, (index, comparing): (usize, &Comparing)) {
    *out += "<tbody>\n";
    for (at, row) in part.differences.iter().enumerate() {
        *out += "<tr class=\"difference\">";
        if at == 0 {
            let _ = write!(
                out,
                "<th scope=\"rowgroup\" rowspan=\"{}\" style=\"white-space:normal\">\
                 <a href=\"#{}\" style=\"color:inherit\">{}</a></th>",
                part.differences.len(),
                anchor(index),
                escape(&comparing.title)
            );
        }
        let _ = writeln!(out, "<td>{}</td>{}</tr>", escape(&row.title()), line(part, row.last()));
    }
    *out += "</tbody>\n";
}

/// The cells of a difference: itself, its p and its verdict.
fn line(part: &Table, cell: Option<&Difference>) -> String {
    let Some(cell) = cell else { return format!("<td>{0}</td><td>{0}</td><td>{0}</td>", missing()) };
    let (number, tag) = (number(part.metric, cell), gain_tag(part.metric, cell));
    format!("<td>{number}</td><td>{}</td><td>{tag}</td>", escape(&words::p(cell.p_adjusted)))
}

/// Each comparison, with all that is measured but the form of answers.
pub fn sections(out: &mut String, report: &Report) {
    for (index, comparing) in report.comparisons.iter().enumerate() {
        let _ = write!(
            out,
            "<h2 id=\"{}\">{}</h2>\n\
             <p class=\"soft\">What each gains over <b>{}</b>, and from which mean to which.</p>\n",
            anchor(index),
            escape(&comparing.title),
            escape(&comparing.baseline)
        );
        let tables = report.tables.iter().filter(|table| !table.metric.is_form());
        for part in tables.filter_map(|table| table.part(comparing)) {
            section(out, &part);
        }
    }
}

fn section(out: &mut String, part: &Table) {
    let measured = escape(&words::measured(part));
    let _ = write!(out, "<h3>{measured} <span class=\"soft\">(95% interval below)</span></h3>\n{}", of_labels(part));
    if !part.groups.is_empty() {
        let _ = write!(out, "<h3>Each seed, {}</h3>\n{}", escape(&words::over(part)), of_groups(part));
    }
}

/// A row for each label: what it gains over the baseline, and from which mean to which.
fn of_labels(part: &Table) -> String {
    let rows = part.differences.iter().enumerate().map(|(index, row)| {
        let cells = row.cells.iter().enumerate().map(|(column, cell)| {
            let Some(cell) = cell else { return missing() };
            let means = words::means(part, index, column).map_or_else(String::new, |means| small(&means));
            format!("{}{means}{}", number(part.metric, cell), gain_tag(part.metric, cell))
        });
        ("difference", row.right.clone(), cells.collect())
    });
    Grid { head: heads(part), rows: rows.collect(), marked: part.is_averaged() }.render()
}

fn small(text: &str) -> String {
    format!("<small>{}</small>", escape(text))
}

/// Where a comparison's section begins.
fn anchor(index: usize) -> String {
    format!("comparison-{}", index + 1)
}
