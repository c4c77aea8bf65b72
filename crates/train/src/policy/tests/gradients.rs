//! Every combination of choices: the value against a second, straightforward implementation, the gradient against
//! central differences of that one (I25).

use super::*;

/// The loss from the definitions, of `log_probs` and `entropies` where all that the definitions hold constant is
/// taken at `frozen`.
fn loss(config: &PolicyConfig, case: &Case, log_probs: &[f64], entropies: &[f64], frozen: &[f64]) -> f64 {
    let rows = case.advantages.len();
    let keep = high_entropy(config, case);
    let tokens = case.tokens() as f64;
    let mut sum = 0.0;
    for row in 0..rows {
        let cells: Vec<usize> = (row * case.width..(row + 1) * case.width).filter(|&cell| case.mask[cell]).collect();
        let length = cells.len().max(1) as f64;
        let row_loss: f64 =
            cells.iter().map(|&cell| token_loss(config, case, log_probs, frozen, &cells, cell, keep[cell])).sum();
        sum += row_loss
            / match config.loss_type {
                LossType::Grpo => length * rows as f64,
                LossType::DrGrpo => rows as f64 * config.max_completion_length as f64,
                LossType::Luspo => rows as f64,
                LossType::Bnpo | LossType::Dapo | LossType::Cispo => tokens,
            };
    }
    let kept: Vec<f64> = entropies.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(entropy, _)| *entropy).collect();
    sum - config.entropy_coef * kept.iter().sum::<f64>() / kept.len() as f64
}

fn token_loss(
    config: &PolicyConfig,
    case: &Case,
    log_probs: &[f64],
    frozen: &[f64],
    cells: &[usize],
    cell: usize,
    keep: bool,
) -> f64 {
    let advantage = case.advantages[cell / case.width];
    let own = |at: usize, values: &[f64]| values[at] - case.old[at];
    let mean = |values: &[f64]| cells.iter().map(|&at| own(at, values)).sum::<f64>() / cells.len() as f64;
    let ratio = |values: &[f64]| match config.importance_sampling_level {
        ImportanceSampling::Token => own(cell, values).exp(),
        ImportanceSampling::Sequence => mean(values).exp(),
        ImportanceSampling::SequenceToken => (mean(frozen) + values[cell] - frozen[cell]).exp(),
    };
    let r = ratio(log_probs);
    let surrogate = if config.loss_type == LossType::Cispo {
        -ratio(frozen).min(config.epsilon_high) * advantage * log_probs[cell]
    } else {
        let open = config.delta.unwrap_or(f64::INFINITY).min(r);
        let bounded = r.max(1.0 - config.epsilon).min(1.0 + config.epsilon_high);
        let worst = (-open * advantage).max(-bounded * advantage);
        if advantage < 0.0 { worst.min(-config.clip_ratio_c.unwrap_or(f64::INFINITY) * advantage) } else { worst }
    };
    let log_ratio = log_probs[cell] - case.reference[cell];
    let kl = match config.kl_estimator {
        KlEstimator::K1 => log_ratio,
        KlEstimator::K2 => 0.5 * log_ratio.powi(2),
        KlEstimator::K3 => (-log_ratio).exp() - 1.0 + log_ratio,
    };
    let weight = case.importance_weights.as_ref().map_or(1.0, |weights| weights[cell]);
    let kl = if config.use_bias_correction_kl { kl * r } else { kl };
    f64::from(u8::from(keep)) * weight * surrogate + config.beta * kl
}

fn high_entropy(config: &PolicyConfig, case: &Case) -> Vec<bool> {
    let mut sorted: Vec<f64> =
        case.entropies.iter().zip(&case.mask).filter(|(_, real)| **real).map(|(entropy, _)| *entropy).collect();
    sorted.sort_by(f64::total_cmp);
    // As many as lie at or above the quantile.
    let from = ((1.0 - config.top_entropy_quantile) * (sorted.len() - 1) as f64).ceil() as usize;
    case.entropies.iter().zip(&case.mask).map(|(&entropy, &real)| real && entropy >= sorted[from]).collect()
}

/// What may be combined with every loss type and level.
fn options(base: PolicyConfig) -> Vec<PolicyConfig> {
    let kl = |beta, kl_estimator, use_bias_correction_kl| PolicyConfig {
        beta,
        kl_estimator,
        use_bias_correction_kl,
        ..base
    };
    vec![
        base,
        kl(0.3, KlEstimator::K1, false),
        kl(0.3, KlEstimator::K2, false),
        kl(0.3, KlEstimator::K3, false),
        kl(0.3, KlEstimator::K1, true),
        kl(0.3, KlEstimator::K2, true),
        kl(0.3, KlEstimator::K3, true),
        PolicyConfig { delta: Some(1.35), ..base },
        PolicyConfig { delta: Some(1.1), ..base },
        PolicyConfig { clip_ratio_c: Some(1.3), ..base },
        PolicyConfig { epsilon: 0.0003, epsilon_high: 0.0004, ..base },
        PolicyConfig { entropy_coef: 0.2, ..base },
        PolicyConfig { top_entropy_quantile: 0.45, ..base },
        PolicyConfig {
            top_entropy_quantile: 0.45,
            entropy_coef: 0.2,
            delta: Some(1.35),
            clip_ratio_c: Some(1.5),
            ..kl(0.1, KlEstimator::K3, true)
        },
    ]
}

/// Largest difference between a gradient and central differences, over the tokens of the mask.
fn worst(gradient: &[f64], mask: &[bool], values: &[f64], f: impl Fn(&[f64]) -> f64) -> f64 {
    let step = 1e-6;
    let mut worst: f64 = 0.0;
    for cell in 0..values.len() {
        if !mask[cell] {
            assert_eq!(gradient[cell], 0.0, "a gradient outside of the mask");
            continue;
        }
        let at = |offset: f64| {
            let mut moved = values.to_vec();
            moved[cell] += offset;
            f(&moved)
        };
        worst = worst.max((gradient[cell] - (at(step) - at(-step)) / (2.0 * step)).abs());
    }
    worst
}

#[test]
fn i25_every_gradient_is_that_of_central_differences() {
    let mut case = Case::random(6, &[7, 5, 1, 0, 6]);
    let weights = Case::random(12, &[7, 5, 1, 0, 6]).entropies;
    let mut checked = 0;
    for importance_weights in [None, Some(weights)] {
        case.importance_weights = importance_weights;
        for loss_type in LOSS_TYPES {
            for importance_sampling_level in LEVELS {
                let epsilon_high = if loss_type == LossType::Cispo { 1.2 } else { 0.28 };
                let base = PolicyConfig {
                    loss_type,
                    importance_sampling_level,
                    epsilon_high,
                    max_completion_length: 9,
                    ..PolicyConfig::default()
                };
                for config in options(base) {
                    let found = case.loss(&config);
                    let expected = loss(&config, &case, &case.log_probs, &case.entropies, &case.log_probs);
                    assert_near(&[found.loss], &[expected], 1e-12, &format!("{config:?}"));
                    let by_log_probs = worst(&found.gradient, &case.mask, &case.log_probs, |log_probs| {
                        loss(&config, &case, log_probs, &case.entropies, &case.log_probs)
                    });
                    assert!(by_log_probs < 1e-6, "{by_log_probs} by the log-probs in {config:?}");
                    let by_entropies = worst(&found.entropy_gradient, &case.mask, &case.entropies, |entropies| {
                        loss(&config, &case, &case.log_probs, entropies, &case.log_probs)
                    });
                    assert!(by_entropies < 1e-6, "{by_entropies} by the entropies in {config:?}");
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 2 * 6 * 3 * 14);
}

/// Where a bound binds, and where it does not, there are tokens in the case above: else it would show nothing.
#[test]
fn the_case_of_the_gradients_has_tokens_on_both_sides_of_every_bound() {
    let case = Case::random(6, &[7, 5, 1, 0, 6]);
    let ratios = |sign: f64| {
        let real = (0..case.mask.len()).filter(|&cell| case.mask[cell]);
        let own = real.filter(|cell| case.advantages[cell / case.width] * sign > 0.0);
        own.map(|cell| (case.log_probs[cell] - case.old[cell]).exp()).collect::<Vec<_>>()
    };
    for (sign, bounds) in [(1.0, vec![0.8, 1.28]), (-1.0, vec![0.8, 1.28, 1.1, 1.35, 1.3, 1.5])] {
        for bound in bounds {
            let below = ratios(sign).iter().filter(|ratio| **ratio < bound).count();
            assert!(below > 0 && below < ratios(sign).len(), "{bound} with a sign of {sign}: {:?}", ratios(sign));
        }
    }
}

#[test]
fn a_log_ratio_beyond_twenty_is_clamped_counted_and_without_gradient() {
    let mut case = Case::random(5, &[2]);
    case.advantages = vec![-1.0];
    case.old = vec![case.log_probs[0] - 30.0, case.log_probs[1]];
    let loss = case.loss(&PolicyConfig::default());
    assert_near(&[loss.loss], &[(20.0_f64.exp() + 1.0) / 2.0], 1e-12, "the loss at the limit");
    assert_eq!(loss.gradient[0], 0.0);
    let named = loss.metrics.named(&PolicyConfig::default());
    assert!(named.contains(&("clip_ratio/clamped_mean", 0.5)), "{named:?}");
}
