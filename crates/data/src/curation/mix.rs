//! Several data sets as one, in shares that are met exactly.
//!
//! How many rows come from which data set is settled first: the total in the proportions of the weights, rounded by
//! largest remainders. A data set of which more rows are wanted than it has is gone through as a whole, epoch after
//! epoch; of the last epoch, or the only one, a random sample is taken (selection sampling, Knuth, "The Art of Computer
//! Programming" 3.4.2, algorithm S). So no row comes again before all others of its data set have come. The data sets
//! are interleaved at random, every order of them as likely as any other.
//!
//! Rows of one data set stay in the order of its files, so that they can be read as streams; [`super::shuffle`] changes
//! that. Nothing of a row is remembered.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PlacedRow, Sources};
use crate::{DataError, Stream};

/// Up to which shares are exact.
const MOST_ROWS: u64 = 1 << 53;

/// What is mixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    /// Of each data set, in any unit.
    pub weights: Vec<f64>,
    pub amount: Amount,
}

/// How much is mixed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// So many rows.
    Rows(u64),
    /// As many rows as can be had in these proportions when no data set is gone through more often than this.
    Epochs(f64),
}

/// One row of a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    pub source: usize,
    pub epoch: u64,
    /// Within its data set, counted from 0.
    pub row: u64,
}

/// The rows of a mixture, in order.
pub struct Mix {
    stream: Stream,
    taken: u64,
    left: u64,
    sources: Vec<Source>,
}

/// What is still to be taken of a data set.
struct Source {
    stream: Stream,
    rows: u64,
    wanted: u64,
    /// The next row that has not been decided on.
    epoch: u64,
    row: u64,
}

impl Mix {
    /// Of data sets with so many rows.
    ///
    /// # Errors
    /// The weights are not as many as the data sets or not positive, a data set is empty, or nothing would be taken.
    pub fn new(mixture: &Mixture, rows: &[u64], seed: u64) -> Result<Mix, DataError> {
        let weights = &mixture.weights;
        if weights.len() != rows.len() || weights.is_empty() {
            let message = format!("there are {} weights for {} data sets", weights.len(), rows.len());
            return Err(DataError::parameter("weights", message));
        }
        if weights.iter().any(|weight| !(weight.is_finite() && *weight > 0.0)) {
            return Err(DataError::parameter("weights", "must be above 0: leave out a data set that has no weight"));
        }
        if let Some(empty) = rows.iter().position(|rows| *rows == 0) {
            return Err(DataError::parameter("weights", format!("data set {} has no rows", empty + 1)));
        }
        let total = total(mixture, rows);
        if !(1..=MOST_ROWS).contains(&total) {
            return Err(DataError::parameter("amount", format!("comes to {total} rows, not to between 1 and 2^53")));
        }
        let source = |(index, (wanted, rows)): (usize, (u64, &u64))| {
            let stream = Stream::new(seed, &format!("mix: rows of data set {index}"));
            Source { stream, rows: *rows, wanted, epoch: 0, row: 0 }
        };
        let sources = shares(weights, total).into_iter().zip(rows).enumerate().map(source).collect();
        Ok(Mix { stream: Stream::new(seed, "mix: order"), taken: 0, left: total, sources })
    }

    /// How many rows are still to come of each data set.
    pub fn wanted(&self) -> Vec<u64> {
        self.sources.iter().map(|source| source.wanted).collect()
    }
}

fn total(mixture: &Mixture, rows: &[u64]) -> u64 {
    let sum: f64 = mixture.weights.iter().sum();
    match mixture.amount {
        Amount::Rows(total) => total,
        Amount::Epochs(epochs) => {
            let of = |(rows, weight): (&u64, &f64)| *rows as f64 * epochs * sum / weight;
            // A sum that should be whole may have come out a little below.
            (rows.iter().zip(&mixture.weights).map(of).fold(f64::INFINITY, f64::min) + 1e-6) as u64
        }
    }
}

/// So many rows in the proportions of the weights, by largest remainders; the first of equal ones comes first.
fn shares(weights: &[f64], total: u64) -> Vec<u64> {
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|weight| weight / sum * total as f64).collect();
    let mut shares: Vec<u64> = exact.iter().map(|share| *share as u64).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|one, other| exact[*other].fract().total_cmp(&exact[*one].fract()));
    let given: u64 = shares.iter().sum();
    order.into_iter().cycle().take(total.saturating_sub(given) as usize).for_each(|index| shares[index] += 1);
    shares
}

impl Source {
    /// The next row that is taken; there is one as long as one is wanted.
    fn next(&mut self) -> (u64, u64) {
        loop {
            let (epoch, row, left) = (self.epoch, self.row, self.rows - self.row);
            self.row += 1;
            if self.row == self.rows {
                (self.epoch, self.row) = (epoch + 1, 0);
            }
            // All that are left of an epoch are wanted, or a sample of them.
            let is_taken = self.wanted >= left || self.stream.below(epoch, row, left as usize) < self.wanted as usize;
            if is_taken {
                self.wanted -= 1;
                return (epoch, row);
            }
        }
    }
}

impl Iterator for Mix {
    type Item = Pick;

    fn next(&mut self) -> Option<Pick> {
        let mut place = self.stream.below(self.taken, 0, self.left as usize) as u64;
        let source = self.sources.iter().position(|source| {
            let is_here = place < source.wanted;
            place = place.saturating_sub(source.wanted);
            is_here
        })?;
        (self.taken, self.left) = (self.taken + 1, self.left - 1);
        let (epoch, row) = self.sources[source].next();
        Some(Pick { source, epoch, row })
    }
}

/// The rows of a mixture, read from the files of each data set and numbered anew.
pub fn mixed(files: Vec<Vec<PathBuf>>, mix: Mix) -> impl Iterator<Item = Result<PlacedRow, DataError>> {
    let mut open: Vec<(u64, Sources)> = files.iter().map(|files| (0, Sources::new(files.clone()))).collect();
    mix.zip(1..).map(move |(pick, number)| {
        let (Some(files), Some((epoch, sources))) = (files.get(pick.source), open.get_mut(pick.source)) else {
            return Err(DataError::parameter("weights", "there are more of them than data sets"));
        };
        if *epoch != pick.epoch {
            (*epoch, *sources) = (pick.epoch, Sources::new(files.clone()));
        }
        loop {
            match sources.next().transpose()? {
                Some(row) if row.number == pick.row + 1 => return Ok(PlacedRow { number, ..row }),
                Some(_) => {}
                None => {
                    let message = format!("data set {} has fewer rows than were counted", pick.source + 1);
                    return Err(DataError::parameter("weights", message));
                }
            }
        }
    })
}
