//! Steps one after the other over one stream.

use super::{PlacedRow, Step, StepReport, Verdict};
use crate::DataError;

/// Rows that pass through the steps together, so that a step can share them among threads.
const BATCH_ROWS: usize = 1024;
/// Of longer rows, fewer.
const BATCH_BYTES: usize = 8 << 20;

/// Steps in order, each with what it did so far.
#[derive(Default)]
pub struct Chain {
    steps: Vec<(Box<dyn Step>, StepReport)>,
}

impl Chain {
    pub fn new() -> Chain {
        Chain::default()
    }

    /// Adds a step behind those that are there, called `name` in the report.
    pub fn then(mut self, name: impl Into<String>, step: impl Step + 'static) -> Chain {
        self.steps.push((Box::new(step), StepReport::new(name)));
        self
    }

    /// What each step did.
    pub fn reports(&self) -> Vec<StepReport> {
        self.steps.iter().map(|(_, report)| report.clone()).collect()
    }

    /// The rows that every step keeps. A row that a step drops is not seen by those behind it.
    ///
    /// # Errors
    /// The first of a step.
    pub fn pass(&mut self, mut rows: Vec<PlacedRow>) -> Result<Vec<PlacedRow>, DataError> {
        for (step, report) in &mut self.steps {
            let verdicts = step.keep_all(&rows)?;
            rows.iter().zip(&verdicts).for_each(|(row, verdict)| report.add(row, verdict));
            let mut kept = verdicts.into_iter().map(|verdict| verdict == Verdict::Kept);
            rows.retain(|_| kept.next().unwrap_or(false));
        }
        Ok(rows)
    }

    /// Passes a whole stream and hands on the rows that stay, in order. No more than a batch of it is in memory.
    ///
    /// # Errors
    /// The first of the stream, a step or `each`.
    pub fn run<E: From<DataError>>(
        &mut self,
        rows: impl IntoIterator<Item = Result<PlacedRow, DataError>>,
        mut each: impl FnMut(PlacedRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let row = row?;
            bytes += row.size();
            batch.push(row);
            if batch.len() == BATCH_ROWS || bytes >= BATCH_BYTES {
                self.pass(std::mem::take(&mut batch))?.into_iter().try_for_each(&mut each)?;
                bytes = 0;
            }
        }
        self.pass(batch)?.into_iter().try_for_each(each)
    }
}
