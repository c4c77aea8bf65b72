//! The penalty `β · KL(π ‖ π_ref)`, estimated at each token.

use super::surrogate::spread;
use super::{KlEstimator, PolicyLoss, Row, Scope};

/// Adds the KL of a row's tokens, `d = log π_ref − log π`.
pub(super) fn add(scope: &Scope, row: &Row, out: &mut PolicyLoss) {
    let Scope { config, batch, .. } = scope;
    let Some(reference) = batch.reference_log_probs else { return };
    let mut slopes = Vec::with_capacity(row.cells.len());
    for (&cell, ratio) in row.cells.iter().zip(&row.ratios) {
        let (kl, slope) = estimate(config.kl_estimator, reference[cell] - batch.log_probs[cell]);
        let factor = if config.use_bias_correction_kl { ratio.value } else { 1.0 };
        out.metrics.kl += factor * kl;
        out.loss += row.weight * config.beta * (factor * kl);
        out.gradient[cell] += row.weight * config.beta * (factor * slope);
        slopes.push(if ratio.clamped { 0.0 } else { row.weight * config.beta * (factor * kl) });
    }
    if config.use_bias_correction_kl {
        spread(config, row, &slopes, &mut out.gradient);
    }
}

/// An estimate and its derivative by `log π`.
fn estimate(estimator: KlEstimator, difference: f64) -> (f64, f64) {
    match estimator {
        KlEstimator::K1 => (-difference, 1.0),
        KlEstimator::K2 => (difference * difference / 2.0, -difference),
        KlEstimator::K3 => (difference.exp() - difference - 1.0, 1.0 - difference.exp()),
    }
}
