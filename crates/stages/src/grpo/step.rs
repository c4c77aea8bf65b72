//! One optimizer step on a rollout.

use burn::tensor::{Tensor, TensorData};
use gazal_lm::weights::to_host;
use gazal_lm::{Decoder, TokenBatch, Tokenizer, Trainable};
use gazal_train::{Gradients, Optimizer, PolicyBatch, PolicyLoss, Window, policy_loss, side_by_side};
use serde_json::{Map, Value, json};

use super::Params;
use super::rollout::Rollout;

/// The rows of a micro-batch, ready for forward passes.
struct MicroBatch {
    tokens: TokenBatch,
    /// Where each completion token is predicted from, and the token; by row, then by position.
    positions: Vec<usize>,
    targets: Vec<u32>,
    /// Width of the completions, and which cells of `[rows × width]` are tokens that count.
    width: usize,
    mask: Vec<bool>,
    advantages: Vec<f64>,
    /// Log-probs `[rows × width]` of the sampler, of the reference, and of the policy before its first update on this
    /// rollout.
    sampled: Vec<f64>,
    reference: Option<Vec<f64>>,
    old: Option<Vec<f64>>,
}

/// A rollout cut into micro-batches.
pub struct Batch {
    parts: Vec<MicroBatch>,
    /// Completion tokens of the step.
    tokens: usize,
    /// Prompt and completion tokens of all completions.
    pub all_tokens: usize,
}

impl Batch {
    pub fn new(params: &Params, rollout: &Rollout, reference: Option<&Decoder>, tokenizer: &Tokenizer) -> Batch {
        let rows: Vec<usize> = (0..rollout.completions.len()).collect();
        let cut = |rows: &&[usize]| MicroBatch::new(params, rollout, rows, reference, tokenizer);
        let chunks: Vec<&[usize]> = rows.chunks(params.per_device_train_batch_size).collect();
        let parts = chunks.iter().map(cut).collect();
        let tokens = rows.iter().map(|&row| rollout.length(params, row)).sum();
        let all_tokens = rows
            .iter()
            .map(|&row| rollout.prompts[row / params.num_generations].len() + rollout.completions[row].ids.len())
            .sum();
        Batch { parts, tokens, all_tokens }
    }
}

impl MicroBatch {
    fn new(
        params: &Params,
        rollout: &Rollout,
        rows: &[usize],
        reference: Option<&Decoder>,
        tokenizer: &Tokenizer,
    ) -> MicroBatch {
        let prompt = |row: usize| &rollout.prompts[row / params.num_generations];
        let sequences: Vec<Vec<u32>> =
            rows.iter().map(|&row| [prompt(row).as_slice(), &rollout.completions[row].ids].concat()).collect();
        let tokens = TokenBatch::right_padded(&sequences, tokenizer.pad);
        let width = rows.iter().map(|&row| rollout.completions[row].ids.len()).max().unwrap_or(0);
        let mut mask = vec![false; rows.len() * width];
        let mut sampled = vec![0.0; rows.len() * width];
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (index, &row) in rows.iter().enumerate() {
            let generated = &rollout.completions[row];
            for at in 0..rollout.length(params, row) {
                mask[index * width + at] = true;
                sampled[index * width + at] = f64::from(generated.log_probs[at]);
                positions.push(index * tokens.width + prompt(row).len() + at - 1);
                targets.push(generated.ids[at]);
            }
        }
        let advantages = rows.iter().map(|&row| rollout.advantages[row]).collect();
        let mut part =
            MicroBatch { tokens, positions, targets, width, mask, advantages, sampled, reference: None, old: None };
        part.reference = reference.map(|model| part.spread(&to_host(part.log_probs(model, params.temperature))));
        part
    }

    /// Log-probs of the completion tokens that count, in order.
    fn log_probs(&self, model: &Decoder, temperature: f64) -> Tensor<1> {
        model.log_probs(&self.tokens, &self.positions, &self.targets, temperature)
    }

    /// From one value a counting token to `[rows × width]`.
    fn spread(&self, values: &[f32]) -> Vec<f64> {
        let mut values = values.iter();
        self.mask
            .iter()
            .map(|&real| if real { values.next().map_or(0.0, |&value| f64::from(value)) } else { 0.0 })
            .collect()
    }

    /// Whether no gradient can come of it: every advantage is zero and no KL is asked for.
    fn is_idle(&self, params: &Params) -> bool {
        self.targets.is_empty() || (params.beta == 0.0 && self.advantages.iter().all(|advantage| *advantage == 0.0))
    }

    /// Loss and gradients at the policy's present parameters; keeps its log-probs as the old ones if there are none.
    fn gradients(&self, params: &Params, policy: &Decoder, window: Window) -> Outcome {
        let mut tracked = policy.tracked(Trainable::Adapters);
        let log_probs = self.log_probs(&tracked, params.temperature);
        let current = self.spread(&to_host(log_probs.clone().inner()));
        let old = self.old.clone().unwrap_or_else(|| current.clone());
        let batch = PolicyBatch {
            width: self.width,
            log_probs: &current,
            old_log_probs: &old,
            reference_log_probs: self.reference.as_deref(),
            mask: &self.mask,
            advantages: &self.advantages,
        };
        let loss = policy_loss(&params.policy_config(), &batch, window);
        let slopes: Vec<f32> =
            loss.gradient.iter().zip(&self.mask).filter(|(_, real)| **real).map(|(slope, _)| *slope as f32).collect();
        let count = slopes.len();
        let slopes = Tensor::<1>::from_data(TensorData::new(slopes, [count]), &log_probs.device());
        let gradients = (log_probs * slopes).sum().backward();
        let mismatch = current.iter().zip(&self.sampled).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        Outcome { loss, gradients: Gradients::collect(&mut tracked, Trainable::Adapters, &gradients), old, mismatch }
    }
}

/// What a micro-batch gave.
struct Outcome {
    loss: PolicyLoss,
    gradients: Gradients,
    old: Vec<f64>,
    /// Largest difference between a sampler's and a trainer's log-prob, which on the first update should be zero.
    mismatch: f64,
}

/// Moves the policy by one step on the batch; gives TRL's metrics of the update.
///
/// # Errors
/// A non-finite loss or gradient, in words.
pub fn update(
    params: &Params,
    policy: &mut Decoder,
    optimizer: &mut Optimizer,
    batch: &mut Batch,
    rate: f64,
) -> Result<Map<String, Value>, String> {
    let window = Window { accumulation: params.gradient_accumulation_steps, tokens: batch.tokens };
    let busy: Vec<usize> = (0..batch.parts.len()).filter(|&index| !batch.parts[index].is_idle(params)).collect();
    let outcomes = side_by_side(policy, &busy, |&index| batch.parts[index].gradients(params, policy, window));
    let mut gradients = Gradients::default();
    let mut sums = PolicyLoss::default();
    let mut mismatch: f64 = 0.0;
    let first = batch.parts.iter().all(|part| part.old.is_none());
    for (&index, outcome) in busy.iter().zip(outcomes) {
        let share = outcome.old.len() as f64 / batch.parts.iter().map(|part| part.mask.len()).sum::<usize>() as f64;
        sums.loss += outcome.loss.loss;
        sums.kl += share * outcome.loss.kl;
        sums.clip_low += share * outcome.loss.clip_low;
        sums.clip_high += share * outcome.loss.clip_high;
        mismatch = mismatch.max(outcome.mismatch);
        gradients.add(outcome.gradients);
        batch.parts[index].old.get_or_insert(outcome.old);
    }
    let norm = gradients.clip(params.max_grad_norm);
    if !sums.loss.is_finite() || !norm.is_finite() {
        return Err(format!("the loss is {} and the gradient norm {norm}", sums.loss));
    }
    optimizer.step(policy, Trainable::Adapters, &gradients, rate);
    let mut metrics = Map::new();
    for (name, value) in [
        ("loss", sums.loss),
        ("grad_norm", norm),
        ("learning_rate", rate),
        ("clip_ratio/low_mean", sums.clip_low),
        ("clip_ratio/high_mean", sums.clip_high),
    ] {
        metrics.insert(name.into(), json!(value));
    }
    if params.beta > 0.0 {
        metrics.insert("kl".into(), json!(sums.kl));
    }
    if first {
        metrics.insert("sampling/sampling_logp_difference/max".into(), json!(mismatch));
    }
    Ok(metrics)
}
