//! What the entropy of the policy's distributions decides: which tokens learn, and a bonus for staying undecided.

use super::{PolicyBatch, PolicyConfig, PolicyLoss, Scope};

/// Which tokens the surrogate learns from: those of the mask, and of them with `top_entropy_quantile` only the share
/// with the highest entropies.
pub(super) fn kept(config: &PolicyConfig, batch: &PolicyBatch) -> Vec<bool> {
    let Some(entropies) = batch.entropies.filter(|_| config.top_entropy_quantile < 1.0) else {
        return batch.mask.to_vec();
    };
    let real = entropies.iter().zip(batch.mask).filter(|(_, real)| **real).map(|(entropy, _)| *entropy);
    let threshold = quantile(real.collect(), 1.0 - config.top_entropy_quantile);
    entropies.iter().zip(batch.mask).map(|(&entropy, &real)| real && entropy >= threshold).collect()
}

/// The quantile of some values, between two of them by linear interpolation; NaN, which nothing reaches, of none.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * values.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (values.get(below), values.get(above)) {
        (Some(low), Some(high)) => low + (high - low) * (place - place.floor()),
        _ => f64::NAN,
    }
}

/// Takes `entropy_coef` times the mean entropy of the tokens that learn off the loss. The mean is of the micro-batch,
/// divided by the accumulation alone: the bonus does not depend on `loss_type`.
pub(super) fn add(scope: &Scope, out: &mut PolicyLoss) {
    let Scope { config, batch, window, kept } = scope;
    let Some(entropies) = batch.entropies else { return };
    let sum = |mask: &[bool]| entropies.iter().zip(mask).filter(|(_, real)| **real).map(|(entropy, _)| entropy).sum();
    out.metrics.add_entropy(sum(batch.mask), batch.mask.iter().filter(|&&real| real).count());
    if config.entropy_coef == 0.0 {
        return;
    }
    let count = kept.iter().filter(|&&kept| kept).count().max(1);
    let weight = config.entropy_coef / (count as f64 * window.accumulation as f64);
    let sum: f64 = sum(kept);
    out.bonus = weight * sum;
    out.loss -= out.bonus;
    for (slope, &kept) in out.entropy_gradient.iter_mut().zip(kept) {
        *slope = if kept { -weight } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn high(entropies: &[f64], mask: &[bool], top_entropy_quantile: f64) -> Vec<bool> {
        let none = vec![0.0; mask.len()];
        let batch = PolicyBatch {
            width: mask.len(),
            log_probs: &none,
            old_log_probs: &none,
            reference_log_probs: None,
            entropies: Some(entropies),
            importance_weights: None,
            mask,
            advantages: &[1.0],
        };
        kept(&PolicyConfig { top_entropy_quantile, ..PolicyConfig::default() }, &batch)
    }

    /// The thresholds of `torch.quantile`: 1.1 with all tokens and 1.02 without the last two.
    #[test]
    fn the_tokens_with_the_highest_entropies_are_kept_and_padding_never() {
        let entropies = [0.1, 1.2, 0.3, 1.4, 0.5, 1.0];
        assert_eq!(high(&entropies, &[true; 6], 0.3), [false, true, false, true, false, false]);
        let short = [true, true, true, true, false, false];
        assert_eq!(high(&entropies, &short, 0.4), [false, true, false, true, false, false]);
        assert_eq!(high(&entropies, &short, 1.0), short);
        assert_eq!(high(&entropies, &[true; 6], 1e-9), [false, false, false, true, false, false]);
        assert_eq!(high(&entropies, &[false; 6], 0.5), [false; 6]);
    }

    /// Two rows of six, the last two tokens of the second padding: the threshold is of the ten others together.
    #[test]
    fn a_threshold_is_of_all_rows_and_padding_does_not_count() {
        let mut mask = [true; 12];
        mask[10..].fill(false);
        let kept = |entropies: &[f64], share: f64| -> Vec<usize> {
            (0..12).zip(high(entropies, &mask, share)).filter(|(_, kept)| *kept).map(|(at, _)| at).collect()
        };
        let rising: Vec<f64> = (1..=12).map(|tenths| f64::from(tenths) / 10.0).collect();
        // The thresholds are 0.82 and 0.55; all tokens need none.
        assert_eq!(kept(&rising, 0.2), [8, 9]);
        assert_eq!(kept(&rising, 0.5), [5, 6, 7, 8, 9]);
        assert_eq!(kept(&rising, 1.0), (0..10).collect::<Vec<_>>());
        // 1.4 is the one high entropy of the first row; 0.76 the threshold without what padding has.
        mask = [true, true, true, true, false, false, true, true, true, true, false, false];
        let mixed = [0.1, 0.2, 0.3, 1.4, 0.5, 0.14, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
        let found = high(&mixed, &mask, 0.2);
        assert!((0..12).all(|at| found[at] == [3, 9].contains(&at)), "{found:?}");
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        assert_eq!(quantile(vec![4.0, 1.0, 2.0, 3.0], 0.5), 2.5);
        assert_eq!(quantile(vec![7.0], 0.9), 7.0);
        assert!(quantile(Vec::new(), 0.5).is_nan());
    }
}
