//! Policy losses of GRPO (arXiv:2402.03300), DAPO (2503.14476), Dr. GRPO (2503.20783) and GSPO (2507.18071), with
//! TRL's normalisers.
//!
//! Everything here is a few numbers per token, so it is done on the host in float64 with its gradient written out:
//! [`policy_loss`] gives `∂loss/∂log π` for every token, and a trainer chains it to the model by the surrogate
//! `Σ log π · sg[∂loss/∂log π]`, which has the same gradient.

use serde::{Deserialize, Serialize};

/// `loss_type`: how per-token losses become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over tokens of each completion, then over completions.
    Grpo,
    /// Mean over all tokens of the micro-batch.
    Bnpo,
    /// Sum over tokens divided by `rows × max_completion_length`.
    DrGrpo,
    /// Sum over tokens divided by all tokens of the accumulation window.
    #[default]
    Dapo,
}

/// `importance_sampling_level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceSampling {
    #[default]
    Token,
    /// One ratio for a completion, the geometric mean of its tokens' (GSPO).
    Sequence,
}

/// `scale_rewards`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    #[default]
    Group,
    Batch,
    None,
}

#[derive(Clone, Copy, Debug)]
pub struct PolicyConfig {
    pub loss_type: LossType,
    pub importance_sampling_level: ImportanceSampling,
    /// The ratio is clipped to `[1 − epsilon, 1 + epsilon_high]`.
    pub epsilon: f64,
    pub epsilon_high: f64,
    /// Weight of the k3 KL to the reference; with 0 no reference is needed.
    pub beta: f64,
    pub max_completion_length: usize,
}

/// Rows of equal width, row-major; `mask` is true on completion tokens up to and including the eos.
pub struct PolicyBatch<'a> {
    pub width: usize,
    pub log_probs: &'a [f64],
    pub old_log_probs: &'a [f64],
    pub reference_log_probs: Option<&'a [f64]>,
    pub mask: &'a [bool],
    /// One per row.
    pub advantages: &'a [f64],
}

/// What a micro-batch must know of the optimizer step that it is part of.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Micro-batches in the step (`gradient_accumulation_steps`).
    pub accumulation: usize,
    /// Completion tokens in the step.
    pub tokens: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyLoss {
    pub loss: f64,
    /// `∂loss/∂log_probs`, zero outside the mask.
    pub gradient: Vec<f64>,
    /// Token means over this micro-batch.
    pub kl: f64,
    /// Share of tokens with ratio < 1 − epsilon and a negative advantage.
    pub clip_low: f64,
    /// Share of tokens with ratio > 1 + epsilon_high and a positive advantage.
    pub clip_high: f64,
}

/// Log-ratios beyond this are clamped: e²⁰ is no longer a ratio.
const LOG_RATIO_LIMIT: f64 = 20.0;

/// Advantages of rewards in groups of `group_size` consecutive completions: `(r − mean) / (std + 1e-4)` with the
/// unbiased deviation of the group or the batch, or without the division.
pub fn advantages(rewards: &[f64], group_size: usize, scale: ScaleRewards) -> Vec<f64> {
    let batch_deviation = deviation(rewards);
    let group = |group: &[f64]| {
        let mean = mean(group);
        let divisor = match scale {
            ScaleRewards::Group => deviation(group) + 1e-4,
            ScaleRewards::Batch => batch_deviation + 1e-4,
            ScaleRewards::None => 1.0,
        };
        group.iter().map(|reward| (reward - mean) / divisor).collect::<Vec<_>>()
    };
    rewards.chunks(group_size).flat_map(group).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The unbiased standard deviation.
fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len().saturating_sub(1)).max(1) as f64).sqrt()
}

/// The loss of a micro-batch and its gradient with respect to the log-probs.
pub fn policy_loss(config: &PolicyConfig, batch: &PolicyBatch, window: Window) -> PolicyLoss {
    let mut out = PolicyLoss { gradient: vec![0.0; batch.log_probs.len()], ..PolicyLoss::default() };
    let lengths: Vec<usize> =
        batch.mask.chunks(batch.width).map(|row| row.iter().filter(|&&real| real).count()).collect();
    let tokens = lengths.iter().sum::<usize>().max(1);
    for (row, &length) in lengths.iter().enumerate() {
        let weight = weight(config, window, lengths.len(), length, tokens);
        let cells: Vec<usize> = (row * batch.width..(row + 1) * batch.width).filter(|&cell| batch.mask[cell]).collect();
        surrogate(config, batch, row, &cells, weight, &mut out);
        penalty(config, batch, &cells, weight, &mut out);
    }
    for share in [&mut out.kl, &mut out.clip_low, &mut out.clip_high] {
        *share /= tokens as f64;
    }
    out
}

/// What a token's loss is multiplied by.
fn weight(config: &PolicyConfig, window: Window, rows: usize, length: usize, tokens: usize) -> f64 {
    let accumulation = window.accumulation as f64;
    match config.loss_type {
        LossType::Grpo => 1.0 / (rows as f64 * length.max(1) as f64 * accumulation),
        LossType::Bnpo => 1.0 / (tokens as f64 * accumulation),
        LossType::DrGrpo => 1.0 / (rows as f64 * config.max_completion_length as f64 * accumulation),
        LossType::Dapo => 1.0 / window.tokens.max(1) as f64,
    }
}

/// Adds `−min(ρÂ, clip(ρ)Â)` of a row's tokens.
fn surrogate(
    config: &PolicyConfig,
    batch: &PolicyBatch,
    row: usize,
    cells: &[usize],
    weight: f64,
    out: &mut PolicyLoss,
) {
    let advantage = batch.advantages[row];
    let log_ratio = |cell: usize| batch.log_probs[cell] - batch.old_log_probs[cell];
    let length = cells.len() as f64;
    match config.importance_sampling_level {
        ImportanceSampling::Token => {
            for &cell in cells {
                let (value, slope) = clipped(config, log_ratio(cell), advantage, 1.0, out);
                out.loss += weight * value;
                out.gradient[cell] += weight * slope;
            }
        }
        ImportanceSampling::Sequence if !cells.is_empty() => {
            let mean = cells.iter().map(|&cell| log_ratio(cell)).sum::<f64>() / length;
            let (value, slope) = clipped(config, mean, advantage, length, out);
            out.loss += weight * length * value;
            // Every token's loss depends on the mean, which depends on every token by 1/length.
            for &cell in cells {
                out.gradient[cell] += weight * slope;
            }
        }
        ImportanceSampling::Sequence => {}
    }
}

/// The clipped loss at a log-ratio and its derivative; counts `tokens` as clipped where they are.
fn clipped(config: &PolicyConfig, log_ratio: f64, advantage: f64, tokens: f64, out: &mut PolicyLoss) -> (f64, f64) {
    let limited = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT);
    let ratio = limited.exp();
    let bounded = ratio.clamp(1.0 - config.epsilon, 1.0 + config.epsilon_high);
    if ratio < 1.0 - config.epsilon && advantage < 0.0 {
        out.clip_low += tokens;
    }
    if ratio > 1.0 + config.epsilon_high && advantage > 0.0 {
        out.clip_high += tokens;
    }
    let clips = bounded * advantage < ratio * advantage;
    let slope = if clips || limited != log_ratio { 0.0 } else { -ratio * advantage };
    (-(ratio * advantage).min(bounded * advantage), slope)
}

/// Adds `β·k3`, `k3 = eᵈ − d − 1` with `d = log π_ref − log π` (always ≥ 0).
fn penalty(config: &PolicyConfig, batch: &PolicyBatch, cells: &[usize], weight: f64, out: &mut PolicyLoss) {
    let Some(reference) = batch.reference_log_probs else { return };
    for &cell in cells {
        let difference = reference[cell] - batch.log_probs[cell];
        let kl = difference.exp() - difference - 1.0;
        out.kl += kl;
        out.loss += weight * config.beta * kl;
        out.gradient[cell] += weight * config.beta * (1.0 - difference.exp());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    }

    fn flat(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().flat_map(numbers).collect()
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 + 1e-6 * b.abs()
    }

    /// `fixtures/policy/policy_losses.json`: losses, gradients, KL and advantages in float64.
    #[test]
    fn policy_fixture_losses_and_gradients() {
        let folder = std::env::var("GAZAL_FIXTURES")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures").into());
        let text = std::fs::read_to_string(format!("{folder}/policy/policy_losses.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let cases = value["cases"].as_array().unwrap();
        for case in cases {
            let name = |field: &str| case[field].clone();
            let config = PolicyConfig {
                loss_type: serde_json::from_value(name("loss_type")).unwrap(),
                importance_sampling_level: serde_json::from_value(name("level")).unwrap(),
                epsilon: case["epsilon_low"].as_f64().unwrap(),
                epsilon_high: case["epsilon_high"].as_f64().unwrap(),
                beta: case["beta"].as_f64().unwrap(),
                max_completion_length: case["max_completion_length"].as_u64().unwrap() as usize,
            };
            let scale: ScaleRewards = serde_json::from_value(name("scale_rewards")).unwrap();
            let group = case["group_size"].as_u64().unwrap() as usize;
            let advantages = advantages(&numbers(&case["rewards"]), group, scale);
            for (a, b) in advantages.iter().zip(numbers(&case["advantages"])) {
                assert!(near(*a, b), "advantage {a} is not {b}");
            }
            let mask: Vec<bool> = flat(&case["mask"]).into_iter().map(|bit| bit > 0.5).collect();
            let width = case["logp"][0].as_array().unwrap().len();
            let tokens = mask.iter().filter(|&&real| real).count();
            let loss = policy_loss(
                &config,
                &PolicyBatch {
                    width,
                    log_probs: &flat(&case["logp"]),
                    old_log_probs: &flat(&case["old_logp"]),
                    reference_log_probs: Some(&flat(&case["ref_logp"])),
                    mask: &mask,
                    advantages: &advantages,
                },
                Window { accumulation: 1, tokens },
            );
            assert!(near(loss.loss, case["loss"].as_f64().unwrap()), "loss of {config:?}");
            assert!(near(loss.kl, case["kl"].as_f64().unwrap()), "kl of {config:?}");
            for (a, b) in loss.gradient.iter().zip(flat(&case["grad"])) {
                assert!(near(*a, b), "gradient {a} is not {b} in {config:?}");
            }
        }
        assert!(cases.len() >= 100, "only {} cases", cases.len());
    }

    #[test]
    fn a_group_without_spread_has_no_advantage_and_no_gradient() {
        let advantages = advantages(&[1.5; 4], 4, ScaleRewards::Group);
        assert_eq!(advantages, [0.0; 4]);
        let config = PolicyConfig {
            loss_type: LossType::Dapo,
            importance_sampling_level: ImportanceSampling::Token,
            epsilon: 0.2,
            epsilon_high: 0.28,
            beta: 0.0,
            max_completion_length: 2,
        };
        let batch = PolicyBatch {
            width: 2,
            log_probs: &[-1.0; 8],
            old_log_probs: &[-1.2; 8],
            reference_log_probs: None,
            mask: &[true; 8],
            advantages: &advantages,
        };
        let loss = policy_loss(&config, &batch, Window { accumulation: 1, tokens: 8 });
        assert!(loss.gradient.iter().all(|&gradient| gradient == 0.0));
    }
}
