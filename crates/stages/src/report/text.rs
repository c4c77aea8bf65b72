//! The report for a terminal: at most 100 columns, no colours.

mod comparisons;

use std::fmt::Write;

use gazal_tasks::stats::Interval;

use super::Report;
use super::metric::{Metric, explain};
use super::published::{ABOUT, Published};
use super::table::{Cell, Difference, DifferenceRow, Table};
use super::words;

/// The widest line.
pub const WIDTH: usize = 100;
/// The widest column, with the space before it: five of them and the longest label fill a line.
const COLUMN: usize = 16;
const LABEL: usize = 20;

/// Rows of cells, each cell some lines.
struct Grid {
    head: Vec<String>,
    rows: Vec<(String, Vec<Vec<String>>)>,
}

/// The whole report.
pub fn render(report: &Report) -> String {
    let mut out = format!("{}\n{}\n\n", report.title, "=".repeat(report.title.chars().count().min(WIDTH)));
    if let Some(disclaimer) = report.disclaimer {
        out += &wrapped(disclaimer);
        out.push('\n');
    }
    out += &comparisons::summary(report);
    out += &comparisons::sections(report);
    let is_compared = !report.comparisons.is_empty();
    for (protocol, tables) in report.by_protocol() {
        let (title, how) = explain(protocol);
        let _ = write!(out, "{}\n{}\n", title.to_uppercase(), wrapped(how));
        for table in tables.iter().filter(|table| !table.metric.is_form()) {
            out += &section(table, is_compared);
        }
        let form: Vec<&Table> = tables.into_iter().filter(|table| table.metric.is_form()).collect();
        if !form.is_empty() {
            let _ = write!(out, "Form of the answers, {}\n\n{}", words::over(form[0]), of_form(&form).render());
        }
    }
    if let Some(published) = &report.published {
        let _ = write!(out, "Published\n\n{}{}\n", of_published(published).render(), wrapped(ABOUT));
    }
    if let Some(contamination) = &report.contamination {
        out += &wrapped(&format!("Contamination: {}", contamination.sentence()));
    }
    for benchmark in &report.benchmarks {
        out += &wrapped(&format!("{}: {}", benchmark.name, benchmark.describe()));
    }
    out.push('\n');
    words::reading(report).iter().for_each(|paragraph| out += &wrapped(paragraph));
    out
}

/// What a table has, without its differences and seeds if they stand in sections of comparisons.
fn section(table: &Table, is_compared: bool) -> String {
    let metric = table.metric;
    let mut out = format!("{} (95% interval below)\n\n{}", metric.title(), of_models(table).render());
    if is_compared {
        return out;
    }
    if !table.differences.is_empty() {
        let _ = write!(out, "Paired differences\n\n{}", of_differences(table).render());
    }
    if !table.groups.is_empty() {
        let over = words::over(table);
        let _ = write!(
            out,
            "Each seed, {over} (intervals are on the page)\n\n{}",
            of_groups(table).iter().map(Grid::render).collect::<String>()
        );
    }
    out
}

fn of_models(table: &Table) -> Grid {
    let metric = table.metric;
    let row = |cells: &[Option<Cell>]| cells.iter().map(|cell| mean(metric, cell.as_ref())).collect();
    let mut rows: Vec<_> = table.models.iter().map(|model| (model.model.clone(), row(&model.cells))).collect();
    for baseline in &table.baselines {
        let cells = baseline.cells.iter().map(|cell| vec![cell.map_or_else(missing, |value| metric.show(value))]);
        rows.push((baseline.name.into(), cells.collect()));
    }
    Grid { head: table.columns.clone(), rows }
}

fn of_differences(table: &Table) -> Grid {
    let row = |cells: &[Option<Difference>]| cells.iter().map(|cell| gain(table.metric, cell.as_ref())).collect();
    let rows = table.differences.iter().map(|difference| (difference.title(), row(&difference.cells)));
    Grid { head: table.columns.clone(), rows: rows.collect() }
}

/// Means, and gains where there are two models; their intervals are on the page.
fn of_groups(table: &Table) -> Vec<Grid> {
    let metric = table.metric;
    let means = table.groups.iter().map(|group| {
        let cells = group.models.iter().map(|cell| cell.map_or_else(missing, |interval| metric.show(interval.mean)));
        (group.title(), cells.map(|text| vec![text]).collect())
    });
    let gains = table.groups.iter().map(|group| {
        let cells = group.differences.iter().map(|cell| gain(metric, cell.as_ref()).into_iter().take(3).step_by(2));
        (group.title(), cells.map(Iterator::collect).collect())
    });
    let means = Grid { head: table.models.iter().map(|row| row.model.clone()).collect(), rows: means.collect() };
    let gains = Grid { head: table.differences.iter().map(DifferenceRow::title).collect(), rows: gains.collect() };
    [means, gains].into_iter().filter(|grid| !grid.head.is_empty()).collect()
}

/// The last column of several tables, side by side.
fn of_form(tables: &[&Table]) -> Grid {
    let models = tables[0].models.iter().map(|row| row.model.clone()).enumerate();
    let rows = models.map(|(index, model)| {
        let cells = tables.iter().map(|table| {
            let last = table.models.get(index).and_then(|row| row.cells.last());
            mean(table.metric, last.and_then(Option::as_ref))
        });
        (model, cells.collect())
    });
    let head = |metric: Metric| metric.title().trim_end_matches(", %").to_string() + " %";
    Grid { head: tables.iter().map(|table| head(table.metric)).collect(), rows: rows.collect() }
}

fn of_published(published: &Published) -> Grid {
    let metric = Metric::Accuracy;
    let rows = published.models.iter().map(|row| {
        let cells =
            row.cells.iter().map(|cell| vec![metric.show(cell.accuracy), interval(metric, &cell.interval, false)]);
        (row.model.to_string(), cells.collect())
    });
    Grid { head: published.columns.iter().map(ToString::to_string).collect(), rows: rows.collect() }
}

fn missing() -> String {
    "-".into()
}

fn mean(metric: Metric, cell: Option<&Cell>) -> Vec<String> {
    let Some(cell) = cell else { return vec![missing()] };
    let marks: String = cell.contains.iter().map(|name| words::mark(name)).collect();
    let mean = metric.show(cell.interval.mean);
    let marked = if marks.is_empty() { mean } else { format!("{marks} {mean}") };
    vec![marked, interval(metric, &cell.interval, false)]
}

fn gain(metric: Metric, cell: Option<&Difference>) -> Vec<String> {
    let Some(cell) = cell else { return vec![missing()] };
    let (mean, interval) = (metric.show_signed(cell.interval.mean), interval(metric, &cell.interval, true));
    [mean, interval, cell.verdict.words().into()].into_iter().chain(words::could_find(metric, cell)).collect()
}

/// Without the space within where it is too wide for a column.
fn interval(metric: Metric, interval: &Interval, signed: bool) -> String {
    let text = metric.show_interval(interval, signed);
    if text.chars().count() < COLUMN { text } else { text.replace(' ', "") }
}

impl Grid {
    /// In blocks of as many columns as fit, the last column of all in the last block.
    fn render(&self) -> String {
        let label = self.rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default().min(LABEL);
        let columns: Vec<usize> = (0..self.head.len()).collect();
        let blocks = columns.chunks((WIDTH - label) / COLUMN);
        blocks.map(|columns| self.block(columns, label) + "\n").collect()
    }

    fn block(&self, columns: &[usize], label: usize) -> String {
        let mut out = line("", columns.iter().map(|&column| self.head[column].as_str()), label);
        for (name, cells) in &self.rows {
            let height = columns.iter().map(|&column| cells[column].len()).max().unwrap_or(1);
            for row in 0..height {
                let name = if row == 0 { name.as_str() } else { "" };
                let texts = columns.iter().map(|&column| cells[column].get(row).map_or("", String::as_str));
                out += &line(name, texts, label);
            }
        }
        out
    }
}

/// One line, without white space at its end.
fn line<'a>(label: &str, texts: impl Iterator<Item = &'a str>, width: usize) -> String {
    let mut out = format!("{:<width$}", cut(label, width));
    for text in texts {
        let _ = write!(out, "{:>COLUMN$}", cut(text, COLUMN - 1));
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// A paragraph in lines of at most [`WIDTH`] columns.
fn wrapped(text: &str) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_wrapped_by_characters() {
        assert_eq!(cut("äöüß", 4), "äöüß");
        assert_eq!(cut("äöüßx", 4), "äöü…");
        let text = wrapped(&"wörter ".repeat(40));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert_eq!(text.split_whitespace().count(), 40);
    }
}
