//! "Measuring the Symmetry–Data Exchange Rate" (Adly 2026, arXiv:2606.01090) but for its networks: the data, the
//! families and their orbits, the grids, and all that is computed from the accuracies that runs reached.
//!
//! The question is how many fewer samples a network needs that has a symmetry of the task built in. The task has n
//! petals, so a rotation by 2π / n changes no label. The answer is a slope β: with each doubling of n, a family needs
//! 2^β fewer samples than another. Theory says 1 for the network that averages over the right rotations beside one
//! that knows of none.
//!
//! Facts are those of the paper's abstract, of its two preregistrations and of its programs (the repository
//! `symmetry-exchange` at 94e3b38); where these disagree, the place that had to choose says so. Data and resamples are
//! drawn by [`crate::numpy`], so they are the study's own.

mod checks;
mod config;
mod family;
mod petals;

pub use checks::DataChecks;
pub use config::{CONFIRMATORY, Config, EXPLORATORY, finer_samples};
pub use family::{Family, HIDDEN, PARAMETERS, Rotation};
pub use petals::{Cell, Petals, Sample};

#[cfg(test)]
mod tests;
