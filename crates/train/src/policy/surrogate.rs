//! The surrogate `−min(ρÂ, clip(ρ)Â)` and its relatives, token by token.

use super::{ImportanceSampling, LossType, PolicyBatch, PolicyConfig, PolicyLoss, Row, Scope};

/// Log-ratios beyond this are clamped: e²⁰ is no longer a ratio.
const LOG_RATIO_LIMIT: f64 = 20.0;

/// An importance ratio.
#[derive(Clone, Copy)]
pub(super) struct Ratio {
    pub value: f64,
    /// It was beyond the limit, so it no longer moves with the log-probs.
    pub clamped: bool,
}

impl Ratio {
    fn of(log_ratio: f64) -> Ratio {
        let limited = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT);
        Ratio { value: limited.exp(), clamped: limited != log_ratio }
    }
}

/// The ratios of a row's tokens: their own, or for all of them that of the completion.
pub(super) fn ratios(config: &PolicyConfig, batch: &PolicyBatch, cells: &[usize]) -> Vec<Ratio> {
    let log_ratio = |cell: usize| batch.log_probs[cell] - batch.old_log_probs[cell];
    match config.importance_sampling_level {
        ImportanceSampling::Token => cells.iter().map(|&cell| Ratio::of(log_ratio(cell))).collect(),
        ImportanceSampling::Sequence | ImportanceSampling::SequenceToken => {
            let sum = cells.iter().map(|&cell| log_ratio(cell)).sum::<f64>();
            vec![Ratio::of(sum / cells.len().max(1) as f64); cells.len()]
        }
    }
}

/// Adds the surrogate of a row's tokens that are kept, each times its importance weight.
pub(super) fn add(scope: &Scope, row: &Row, out: &mut PolicyLoss) {
    let Scope { config, batch, kept, .. } = scope;
    let mut slopes = vec![0.0; row.cells.len()];
    for ((&cell, &ratio), slope) in row.cells.iter().zip(&row.ratios).zip(&mut slopes) {
        if !kept[cell] {
            continue;
        }
        let weight = row.weight * batch.importance_weights.map_or(1.0, |weights| weights[cell]);
        if config.loss_type == LossType::Cispo {
            let factor = -ratio.value.min(config.epsilon_high) * row.advantage;
            out.loss += weight * (factor * batch.log_probs[cell]);
            out.gradient[cell] += weight * factor;
        } else {
            let (value, by_log_ratio) = clipped(config, ratio, row.advantage);
            out.loss += weight * value;
            *slope = weight * by_log_ratio;
        }
    }
    spread(config, row, &slopes, &mut out.gradient);
    out.metrics.count(config, row);
}

/// Chains derivatives by the log-ratios of a row's tokens to the log-probs.
pub(super) fn spread(config: &PolicyConfig, row: &Row, slopes: &[f64], gradient: &mut [f64]) {
    // A ratio of the completion depends on each of its log-probs by 1/length.
    let share = slopes.iter().sum::<f64>() / slopes.len().max(1) as f64;
    for (&cell, &slope) in row.cells.iter().zip(slopes) {
        gradient[cell] += if config.importance_sampling_level == ImportanceSampling::Sequence { share } else { slope };
    }
}

/// The clipped loss at a ratio and its derivative by the ratio's logarithm.
fn clipped(config: &PolicyConfig, ratio: Ratio, advantage: f64) -> (f64, f64) {
    let Ratio { value: ratio, clamped } = ratio;
    let open = config.delta.map_or(ratio, |delta| ratio.min(delta));
    let bounded = ratio.clamp(1.0 - config.epsilon, 1.0 + config.epsilon_high);
    let taken = if bounded * advantage < open * advantage { bounded } else { open };
    let floor = config.clip_ratio_c.filter(|_| advantage < 0.0);
    match floor {
        Some(largest) if taken > largest => (-largest * advantage, 0.0),
        // Where a bound was taken, the loss does not move with the ratio.
        _ => (-(taken * advantage), if taken != ratio || clamped { 0.0 } else { -ratio * advantage }),
    }
}
