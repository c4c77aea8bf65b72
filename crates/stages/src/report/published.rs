//! The published table of Gazal-R1, with the intervals that its numbers of questions imply, beside what was measured.

use gazal_tasks::published::{COLUMNS, ROWS};
use gazal_tasks::stats::Interval;
use serde::Serialize;

/// What the model card says.
#[derive(Debug, Serialize)]
pub struct Published {
    pub columns: Vec<&'static str>,
    pub models: Vec<PublishedRow>,
}

#[derive(Debug, Serialize)]
pub struct PublishedRow {
    pub model: &'static str,
    /// In the order of the columns, at the likeliest number of questions.
    pub cells: Vec<PublishedCell>,
}

#[derive(Debug, Serialize)]
pub struct PublishedCell {
    pub accuracy: f64,
    pub interval: Interval,
}

pub fn table() -> Published {
    let cell = |cell: &gazal_tasks::published::Cell| PublishedCell { accuracy: cell.accuracy, interval: cell.interval };
    let row = |row: &gazal_tasks::published::Row| PublishedRow {
        model: row.model,
        cells: (0..COLUMNS.len()).filter_map(|column| row.cells(column)?.first().map(cell)).collect(),
    };
    Published { columns: COLUMNS.iter().map(|column| column.title).collect(), models: ROWS.iter().map(row).collect() }
}

/// What is to be known of it.
pub const ABOUT: &str = "Accuracies of Gazal-R1's model card (arXiv:2506.21594), in percent, which gives no intervals: \
    these are Clopper and Pearson's for the likeliest number of questions. The card's protocol is not stated, and its \
    numbers compare with those above as far as the protocols agree, which nobody has shown.";
