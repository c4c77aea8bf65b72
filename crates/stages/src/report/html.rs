//! The report as one page that needs nothing else: no script, no file beside it, light and dark.

mod comparisons;

use std::fmt::Write;

use gazal_tasks::stats::Interval;

use super::Report;
use super::contamination::Contamination;
use super::examples::{Change, Examples};
use super::metric::{Metric, explain};
use super::published::{ABOUT, Published, PublishedCell};
use super::table::{AVERAGE, Cell, Difference, DifferenceRow, Table, Verdict, title};
use super::{svg, words};
use crate::page::{self, Grid, escape, missing, tag};

/// The whole page.
pub fn render(report: &Report) -> String {
    let mut out = page::opening(&report.title);
    if let Some(disclaimer) = report.disclaimer {
        let _ = writeln!(out, "<p class=\"disclaimer\">{}</p>", escape(disclaimer));
    }
    comparisons::summary(&mut out, report);
    comparisons::sections(&mut out, report);
    let is_compared = !report.comparisons.is_empty();
    for (protocol, tables) in report.by_protocol() {
        let (title, how) = explain(protocol);
        let _ = write!(out, "<h2>{}</h2>\n<p class=\"soft\">{}</p>\n", escape(title), escape(how));
        tables.iter().filter(|table| !table.metric.is_form()).for_each(|table| section(&mut out, table, is_compared));
        let form: Vec<&Table> = tables.into_iter().filter(|table| table.metric.is_form()).collect();
        if !form.is_empty() {
            let _ = writeln!(out, "<h3>Form of the answers, {}</h3>", escape(&words::over(form[0])));
            out += &of_form(&form);
        }
    }
    if let Some(table) = &report.published {
        published(&mut out, table);
    }
    if let Some(examples) = &report.examples {
        side_by_side(&mut out, examples);
    }
    if let Some(contamination) = &report.contamination {
        leaks(&mut out, contamination);
    }
    pictures(&mut out, report);
    notes(&mut out, report);
    out + page::CLOSING
}

/// What a table has, without its differences and seeds if they stand in sections of comparisons.
fn section(out: &mut String, table: &Table, is_compared: bool) {
    let heading = table.metric.title();
    if table.metric == Metric::Accuracy {
        let caption = escape(&format!("{heading}, {}, with 95% intervals", words::over(table)));
        let seeds = if table.groups.is_empty() { "" } else { " <span class=\"soft\">(small rings: seeds)</span>" };
        let _ = writeln!(
            out,
            "<figure class=\"wide\"><figcaption>{caption}{seeds}</figcaption>\n{}</figure>",
            svg::dots(table)
        );
    }
    let _ = write!(out, "<h3>{heading} <span class=\"soft\">(95% interval below)</span></h3>\n{}", of_models(table));
    if is_compared {
        return;
    }
    if !table.differences.is_empty() {
        let _ = write!(out, "<h3>Paired differences of neighbouring models</h3>\n{}", of_differences(table));
    }
    if !table.groups.is_empty() {
        let _ = write!(out, "<h3>Each seed, {}</h3>\n{}", escape(&words::over(table)), of_groups(table));
    }
}

fn published(out: &mut String, published: &Published) {
    let metric = Metric::Accuracy;
    let cell = |cell: &PublishedCell| {
        format!("<b>{}</b><small>{}</small>", metric.show(cell.accuracy), metric.show_interval(&cell.interval, false))
    };
    let rows = published.models.iter().map(|row| ("model", row.model.into(), row.cells.iter().map(cell).collect()));
    let head = published.columns.iter().map(ToString::to_string).collect();
    let grid = Grid { head, rows: rows.collect(), marked: false };
    let _ = write!(out, "<h2>Published</h2>\n<p class=\"soft\">{}</p>\n{}", escape(ABOUT), grid.render());
}

fn side_by_side(out: &mut String, examples: &Examples) {
    let _ = write!(out, "<h2>Before and after</h2>\n<p class=\"soft\">{}</p>\n", escape(&words::examples(examples)));
    for example in &examples.shown {
        let class = match example.change {
            Change::BecameRight => "up",
            Change::BecameWrong => "down",
            Change::StayedRight | Change::StayedWrong => "noise",
        };
        let id = escape(&format!("{} {}", title(&example.benchmark), example.id));
        let change = tag(class, example.change.words(), None);
        let _ = write!(
            out,
            "<h3>{id} {change}</h3>\n<div class=\"said\" tabindex=\"0\">{}</div>\n\
             <div class=\"sides\">\n",
            escape(example.prompt.trim_end())
        );
        for (model, said) in [(&examples.before, &example.before), (&examples.after, &example.after)] {
            let caption = escape(&format!("{model}: {}", words::read(said, example.target)));
            let text = escape(&said.completion);
            let _ = writeln!(
                out,
                "<figure><figcaption>{caption}</figcaption>\n<div class=\"said\" tabindex=\"0\">{text}</div></figure>"
            );
        }
        *out += "</div>\n";
    }
}

fn leaks(out: &mut String, contamination: &Contamination) {
    let _ = write!(out, "<h2>Contamination</h2>\n<p>{}</p>\n", escape(&contamination.sentence()));
    if contamination.listed.is_empty() {
        return;
    }
    *out += "<ul>\n";
    for leak in &contamination.listed {
        let [item, row, words] = [&leak.item, &leak.row, &leak.ngram].map(|text| escape(text));
        let _ = writeln!(out, "<li><code>{item}</code> in <code>{row}</code>: {words}</li>");
    }
    *out += "</ul>\n";
}

fn pictures(out: &mut String, report: &Report) {
    if report.curves.is_empty() {
        return;
    }
    *out += "<h2>Learning curves</h2>\n<p class=\"soft\">Faint: as logged. Bold: moving average.</p>\n";
    *out += &svg::figures(&report.curves);
}

fn notes(out: &mut String, report: &Report) {
    *out += "<h2>Benchmarks</h2>\n<ul>\n";
    for benchmark in &report.benchmarks {
        let _ = writeln!(out, "<li><code>{}</code>: {}</li>", escape(&benchmark.name), escape(&benchmark.describe()));
    }
    *out += "</ul>\n<h2>How to read the numbers</h2>\n<ul>\n";
    for paragraph in words::reading(report) {
        let _ = writeln!(out, "<li>{}</li>", escape(&paragraph));
    }
    *out += "</ul>\n";
}

fn heads(table: &Table) -> Vec<String> {
    table.columns.iter().map(|name| if name == AVERAGE { "Average".into() } else { title(name).into() }).collect()
}

fn of_models(table: &Table) -> String {
    let metric = table.metric;
    let cells = |cells: &[Option<Cell>]| cells.iter().map(|cell| mean(metric, cell.as_ref())).collect();
    let mut rows: Vec<_> = table.models.iter().map(|row| ("model", row.model.clone(), cells(&row.cells))).collect();
    for baseline in &table.baselines {
        let cells = baseline.cells.iter().map(|cell| cell.map_or_else(missing, |value| metric.show(value)));
        rows.push(("baseline", baseline.name.into(), cells.collect()));
    }
    Grid { head: heads(table), rows, marked: table.is_averaged() }.render()
}

fn of_differences(table: &Table) -> String {
    let cells = |cells: &[Option<Difference>]| cells.iter().map(|cell| gain(table.metric, cell.as_ref())).collect();
    let rows = table.differences.iter().map(|row| ("difference", row.title(), cells(&row.cells)));
    Grid { head: heads(table), rows: rows.collect(), marked: table.is_averaged() }.render()
}

fn of_groups(table: &Table) -> String {
    let models = table.models.iter().map(|row| row.model.clone());
    let head = models.chain(table.differences.iter().map(DifferenceRow::title)).collect();
    let rows = table.groups.iter().map(|group| {
        let means =
            group.models.iter().map(|cell| cell.as_ref().map_or_else(missing, |interval| bare(table.metric, interval)));
        let gains = group.differences.iter().map(|cell| gain(table.metric, cell.as_ref()));
        ("group", group.title(), means.chain(gains).collect())
    });
    Grid { head, rows: rows.collect(), marked: false }.render()
}

/// The last column of several tables, side by side.
fn of_form(tables: &[&Table]) -> String {
    let models = tables[0].models.iter().enumerate();
    let rows = models.map(|(index, row)| {
        let cells = tables.iter().map(|table| {
            let cell = table.models.get(index).and_then(|row| row.cells.last());
            mean(table.metric, cell.and_then(Option::as_ref))
        });
        ("model", row.model.clone(), cells.collect())
    });
    let head = tables.iter().map(|table| table.metric.title().into()).collect();
    Grid { head, rows: rows.collect(), marked: false }.render()
}

fn bare(metric: Metric, interval: &Interval) -> String {
    format!("<b>{}</b><small>{}</small>", metric.show(interval.mean), metric.show_interval(interval, false))
}

fn mean(metric: Metric, cell: Option<&Cell>) -> String {
    let Some(cell) = cell else { return missing() };
    let tags =
        cell.contains.iter().map(|name| format!("<small class=\"inside\">contains {}</small>", words::short(name)));
    bare(metric, &cell.interval) + &tags.collect::<String>()
}

fn gain(metric: Metric, cell: Option<&Difference>) -> String {
    let Some(cell) = cell else { return missing() };
    number(metric, cell) + &gain_tag(metric, cell)
}

fn number(metric: Metric, cell: &Difference) -> String {
    let (number, interval) = (metric.show_signed(cell.interval.mean), metric.show_interval(&cell.interval, true));
    format!("<b>{number}</b><small>{interval}</small>")
}

/// The verdict, and what could have been found where there is none.
fn gain_tag(metric: Metric, cell: &Difference) -> String {
    let (class, sign) = match cell.verdict {
        Verdict::AboveZero => ("up", "▲ "),
        Verdict::BelowZero => ("down", "▼ "),
        Verdict::WithinNoise => ("noise", ""),
    };
    let could = words::could_find(metric, cell).map_or_else(String::new, |could| format!("<small>{could}</small>"));
    tag(class, &format!("{sign}{}", cell.verdict.words()), Some(cell.p_adjusted)) + &could
}
