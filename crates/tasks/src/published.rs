//! The published table of Gazal-R1, with the intervals that its numbers of questions imply.
//!
//! The accuracies are those of the model card of `TachyHealth/Gazal-R1-32B-GRPO-preview` (arXiv:2506.21594), which
//! has neither intervals nor numbers of questions. Where sources disagree on these, both are kept:
//!
//! - *MMLU Pro (Medical)* is no benchmark of its publishers'. The harness whose column names the table has counts
//!   health and biology, 1,535 questions; health alone are 818. The baselines of that harness are the plain mean of
//!   the two columns (68.2 and 80.8 give 74.5), so no share of either number, and an interval is only about right.
//! - *PubMedQA* is 1,000 questions in that harness and 500 in lm-eval and in the publishers' test split. Of 500 an
//!   accuracy has an even last digit in tenths of a percent: 76.7, 73.7, 78.5 and 71.7 in the column cannot come
//!   from 500, [`Cell::is_possible`], while Gazal-R1's own 79.6 and 77.6 can.

use crate::stats::{Interval, clopper_pearson};

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// As the card names it.
    pub title: &'static str,
    /// The benchmark of [`crate::BENCHMARKS`] that it stands beside.
    pub benchmark: &'static str,
    /// How many questions it has, the likeliest number first.
    pub questions: &'static [usize],
}

/// The order in which accuracies are given.
pub static COLUMNS: [Column; 4] = [
    Column { title: "MMLU Pro (Medical)", benchmark: "mmlu_pro", questions: &[1535, 818] },
    Column { title: "MedMCQA", benchmark: "medmcqa", questions: &[4183] },
    Column { title: "MedQA", benchmark: "medqa", questions: &[1273] },
    Column { title: "PubMedQA", benchmark: "pubmedqa", questions: &[1000, 500] },
];

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub model: &'static str,
    /// Accuracies in tenths of a percent, as they are printed, in the order of [`COLUMNS`].
    pub tenths: [u16; 4],
}

/// Gazal-R1 and its SFT stage, then what the card compares them with.
pub static ROWS: [Row; 8] = [
    Row { model: "Gazal-R1 (final)", tenths: [816, 719, 871, 796] },
    Row { model: "Gazal-R1 (SFT only)", tenths: [793, 723, 869, 776] },
    Row { model: "Qwen3 32B", tenths: [784, 716, 844, 767] },
    Row { model: "QwQ 32B", tenths: [701, 656, 723, 737] },
    Row { model: "Llama 3.1 405B", tenths: [702, 758, 819, 746] },
    Row { model: "Llama 3.1 70B", tenths: [745, 725, 784, 785] },
    Row { model: "Qwen2.5 72B", tenths: [721, 662, 727, 717] },
    Row { model: "Med42 70B", tenths: [661, 724, 804, 776] },
];

/// One accuracy and what one number of questions makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// From 0 to 1.
    pub accuracy: f64,
    /// Clopper and Pearson's 95%, for the nearest number of right answers; its mean is that number's.
    pub interval: Interval,
    /// Whether some number of right answers rounds to the printed accuracy.
    pub is_possible: bool,
}

impl Row {
    /// The cell of a column, for each number of questions that it may have; nothing if there is no such column.
    pub fn cells(&self, column: usize) -> Option<Vec<Cell>> {
        let (tenths, column) = (self.tenths.get(column)?, COLUMNS.get(column)?);
        column.questions.iter().map(|&questions| cell(*tenths, questions)).collect()
    }
}

fn cell(tenths: u16, questions: usize) -> Option<Cell> {
    let accuracy = f64::from(tenths) / 1000.0;
    let right = (accuracy * questions as f64).round();
    let interval = clopper_pearson(right as usize, questions, 0.95)?;
    // Half a tenth of a percent away still rounds to it, whichever way halves go.
    let is_possible = (1000.0 * right / questions as f64 - f64::from(tenths)).abs() <= 0.5 + 1e-9;
    Some(Cell { accuracy, interval, is_possible })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn intervals_are_those_of_the_numbers_of_questions() {
        let cells = ROWS[0].cells(2).unwrap();
        let [medqa] = cells[..] else { unreachable!("one number of questions") };
        assert_eq!((medqa.accuracy, medqa.interval.items), (0.871, 1273));
        // scipy's binomtest(1109, 1273).proportion_ci(0.95, "exact").
        assert!(
            (medqa.interval.low - 0.851514869872).abs() < 1e-9 && (medqa.interval.high - 0.889093023751).abs() < 1e-9,
            "{medqa:?}"
        );
        assert_eq!(ROWS[0].cells(4), None);
    }

    #[test]
    fn some_accuracies_cannot_come_from_500_questions() {
        let possible = |row: &Row| row.cells(3).unwrap()[1].is_possible;
        let impossible: Vec<&str> = ROWS.iter().filter(|row| !possible(row)).map(|row| row.model).collect();
        assert_eq!(impossible, ["Qwen3 32B", "QwQ 32B", "Llama 3.1 70B", "Qwen2.5 72B"]);
        assert!(ROWS.iter().all(|row| row.cells(3).unwrap()[0].is_possible));
    }

    #[test]
    fn columns_are_benchmarks() {
        assert!(COLUMNS.iter().all(|column| crate::Benchmark::named(column.benchmark).is_some()));
        assert!(ROWS.iter().all(|row| (0..4).all(|column| row.cells(column).is_some())));
    }
}
