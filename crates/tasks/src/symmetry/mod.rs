//! "Measuring the Symmetry–Data Exchange Rate" (Adly 2026, arXiv:2606.01090) but for its networks: the data, the
//! families and their orbits, the grids, and all that is computed from the accuracies that runs reached.
//!
//! The question is how many fewer samples a network needs that has a symmetry of the task built in. The task has n
//! petals, so a rotation by 2π / n changes no label. The answer is a slope β: with each doubling of n, a family needs
//! 2^β fewer samples than another. Theory says 1 for the network that averages over the right rotations beside one
//! that knows of none.
//!
//! From the top: a [`Cell`] draws its data; whoever trains turns it and a [`Family`] into a [`Run`]; a [`Study`] of
//! runs gives [`Target`]s, [`Rate`]s and an [`Analysis`]; [`published`] puts that beside what the paper reports.
//!
//! Facts are those of the paper's abstract, of its two preregistrations and of its programs (the repository
//! `symmetry-exchange` at 94e3b38); where these disagree, the place that had to choose says so. Data and resamples are
//! drawn by [`crate::numpy`], so they are the study's own.

mod analysis;
mod checks;
mod config;
mod family;
mod petals;
pub mod published;
mod rates;
pub mod representation;
mod runs;
mod taxonomy;

pub use analysis::{Analysis, CONTROL, Estimates, Hypothesis, PRIMARY, Robustness};
pub use checks::DataChecks;
pub use config::{CONFIRMATORY, Config, EXPLORATORY, finer_samples};
pub use family::{Family, HIDDEN, PARAMETERS, Rotation};
pub use petals::{Cell, Petals, Sample};
pub use rates::{Contrast, Plan, Point, Rate, Spread, slope};
pub use runs::{Anomaly, Exclusion, Reason, Rule, Run, Study, StudyError, Target};
pub use taxonomy::{Confirmatory, ConfirmatoryOutcome, Outcome, Preregistered};

#[cfg(test)]
mod tests;
