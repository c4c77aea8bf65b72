//! One optimizer step on a rollout.

use gazal_lm::{Decoder, Labels, TokenBatch, Trainable};
use gazal_train::{Backward, Gradients, Optimizer, PolicyBatch, PolicyLoss, Slopes, Window, policy_loss};
use serde_json::{Map, Value, json};

use super::Params;
use super::replicas::Replicas;
use super::rollout::Rollout;

/// The rows of a micro-batch, ready for forward passes.
struct MicroBatch {
    /// The completion tokens that count; by row, then by position.
    labels: Labels,
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
    /// Completion tokens of the generation.
    tokens: usize,
    /// Prompt and completion tokens of all completions.
    pub all_tokens: usize,
}

/// Who is asked for log-probs as a batch is made.
#[derive(Clone, Copy)]
pub struct Models<'a> {
    /// As it generated.
    pub policy: &'a Replicas,
    pub reference: Option<&'a Replicas>,
    pub pad: u32,
}

impl Batch {
    /// Forward passes whose values nothing needs are left out: the reference's without a KL, the policy's own where
    /// the first update will make it anyway, and all of micro-batches that no gradient can come of.
    pub fn new(params: &Params, rollout: &Rollout, models: Models) -> Batch {
        let rows: Vec<usize> = (0..rollout.completions.len()).collect();
        let chunks: Vec<&[usize]> = rows.chunks(params.per_device_train_batch_size).collect();
        let mut parts: Vec<MicroBatch> =
            chunks.into_iter().map(|rows| MicroBatch::new(params, rollout, rows, models.pad)).collect();
        let log_probs =
            |model: &Decoder, part: &MicroBatch| part.spread(&model.score(&part.labels, params.temperature).log_probs);
        let busy = |part: &MicroBatch| !part.is_idle(params);
        if let Some(reference) = models.reference {
            let found = reference.each(&parts, |model, part| busy(part).then(|| log_probs(model, part)));
            parts.iter_mut().zip(found).for_each(|(part, found)| part.reference = found);
        }
        let later = parts.get_mut(params.gradient_accumulation_steps..).unwrap_or_default();
        let found = models.policy.each(later, |model, part| busy(part).then(|| log_probs(model, part)));
        later.iter_mut().zip(found).for_each(|(part, found)| part.old = found);
        let tokens = rows.iter().map(|&row| rollout.length(params, row)).sum();
        let all_tokens = rows
            .iter()
            .map(|&row| rollout.prompts[row / params.num_generations].len() + rollout.completions[row].ids.len())
            .sum();
        Batch { parts, tokens, all_tokens }
    }
}

impl MicroBatch {
    fn new(params: &Params, rollout: &Rollout, rows: &[usize], pad: u32) -> MicroBatch {
        let prompt = |row: usize| &rollout.prompts[row / params.num_generations];
        let sequences: Vec<Vec<u32>> =
            rows.iter().map(|&row| [prompt(row).as_slice(), &rollout.completions[row].ids].concat()).collect();
        let batch = TokenBatch::right_padded(&sequences, pad);
        let width = rows.iter().map(|&row| rollout.completions[row].ids.len()).max().unwrap_or(0);
        let mut mask = vec![false; rows.len() * width];
        let mut sampled = vec![0.0; rows.len() * width];
        let (mut positions, mut ids) = (Vec::new(), Vec::new());
        for (index, &row) in rows.iter().enumerate() {
            let generated = &rollout.completions[row];
            for at in 0..rollout.length(params, row) {
                mask[index * width + at] = true;
                sampled[index * width + at] = f64::from(generated.log_probs[at]);
                positions.push(index * batch.width + prompt(row).len() + at - 1);
                ids.push(generated.ids[at]);
            }
        }
        let advantages = rows.iter().map(|&row| rollout.advantages[row]).collect();
        let labels = Labels { batch, positions, ids };
        MicroBatch { labels, width, mask, advantages, sampled, reference: None, old: None }
    }

    /// From one value a counting token to `[rows × width]`.
    fn spread(&self, values: &[f32]) -> Vec<f64> {
        let mut values = values.iter();
        self.mask
            .iter()
            .map(|&real| if real { values.next().map_or(0.0, |&value| f64::from(value)) } else { 0.0 })
            .collect()
    }

    /// Of values `[rows × width]` those of the counting tokens, in order.
    fn gathered(&self, values: &[f64]) -> Vec<f64> {
        values.iter().zip(&self.mask).filter(|(_, real)| **real).map(|(value, _)| *value).collect()
    }

    /// Whether no gradient can come of it: every advantage is zero and neither a KL nor a bonus is asked for.
    fn is_idle(&self, params: &Params) -> bool {
        let without = !params.policy_config().learns_without_advantage();
        self.labels.ids.is_empty() || (without && self.advantages.iter().all(|advantage| *advantage == 0.0))
    }

    /// Loss at these log-probs.
    fn loss(&self, params: &Params, window: Window, values: &Values) -> PolicyLoss {
        let batch = PolicyBatch {
            width: self.width,
            log_probs: values.log_probs,
            old_log_probs: values.old,
            reference_log_probs: self.reference.as_deref(),
            entropies: values.entropies,
            importance_weights: None,
            mask: &self.mask,
            advantages: &self.advantages,
        };
        policy_loss(&params.policy_config(), &batch, window)
    }

    /// What an idle micro-batch gives: its tokens, as an unmoved policy has them, count in the shares of the metrics.
    fn untouched(&self, params: &Params, window: Window) -> PolicyLoss {
        let zeros = vec![0.0; self.mask.len()];
        self.loss(params, window, &Values { log_probs: &zeros, old: &zeros, entropies: None })
    }

    /// Loss and gradients at the policy's present parameters; keeps its log-probs as the old ones if there are none.
    fn gradients(
        &self,
        params: &Params,
        (policy, trainable): (&Decoder, Trainable),
        window: Window,
    ) -> (Outcome, Gradients) {
        let (mut loss, mut current, mut old) = (PolicyLoss::default(), Vec::new(), Vec::new());
        let backward = Backward { trainable, gradient_checkpointing: params.gradient_checkpointing };
        let (_, gradients) = backward.gradients(policy, (&self.labels, params.temperature), |scores| {
            current = self.spread(&scores.log_probs);
            old = self.old.clone().unwrap_or_else(|| current.clone());
            let entropies = self.spread(&scores.entropies);
            loss = self.loss(params, window, &Values { log_probs: &current, old: &old, entropies: Some(&entropies) });
            let bonus = (params.entropy_coef != 0.0).then(|| self.gathered(&loss.entropy_gradient));
            Slopes { log_probs: self.gathered(&loss.gradient), entropies: bonus }
        });
        let real = current.iter().zip(&self.sampled).zip(&self.mask).filter(|(_, real)| **real);
        let differences = real.map(|((current, sampled), _)| current - sampled).collect();
        (Outcome { loss, old, differences }, gradients)
    }
}

/// Numbers of a micro-batch's cells.
struct Values<'a> {
    log_probs: &'a [f64],
    old: &'a [f64],
    entropies: Option<&'a [f64]>,
}

/// What a micro-batch gave.
struct Outcome {
    loss: PolicyLoss,
    old: Vec<f64>,
    /// Of the trainer's log-probs to the sampler's, by token; on the first update they should be zero.
    differences: Vec<f64>,
}

/// Which optimizer step on a rollout.
#[derive(Clone, Copy)]
pub struct Step {
    /// Counted from 0.
    pub index: usize,
    pub rate: f64,
}

/// Moves the policy by one step on its part of the batch; gives TRL's metrics of the update.
///
/// # Errors
/// A non-finite loss or gradient, in words.
pub fn update(
    params: &Params,
    policy: &mut Replicas,
    optimizer: &mut Optimizer,
    batch: &mut Batch,
    step: Step,
) -> Result<Map<String, Value>, String> {
    let accumulation = params.gradient_accumulation_steps;
    // TRL's normaliser of an optimizer step: its share of the generation's tokens.
    let tokens = batch.tokens as f64 * accumulation as f64 / params.steps_per_generation() as f64;
    let window = Window { accumulation, tokens };
    let from = step.index % params.windows() * accumulation;
    let own = from..(from + accumulation).min(batch.parts.len());
    let (idle, busy): (Vec<usize>, Vec<usize>) = own.partition(|&index| batch.parts[index].is_idle(params));
    let (outcomes, mut gradients) = policy
        .gradients(&busy, |decoder, &index| batch.parts[index].gradients(params, (decoder, policy.trainable), window));
    let mut sums = PolicyLoss::default();
    let mut differences = Vec::new();
    for (&index, outcome) in busy.iter().zip(outcomes) {
        sums.loss += outcome.loss.loss;
        sums.bonus += outcome.loss.bonus;
        sums.metrics.add(&outcome.loss.metrics);
        differences.extend(outcome.differences);
        batch.parts[index].old.get_or_insert(outcome.old);
    }
    for index in idle {
        sums.metrics.add(&batch.parts[index].untouched(params, window).metrics);
    }
    let norm = gradients.clip(params.max_grad_norm);
    if !sums.loss.is_finite() || !norm.is_finite() {
        return Err(format!("the loss is {} and the gradient norm {norm}", sums.loss));
    }
    optimizer.step(&mut policy.decoder, policy.trainable, &gradients, step.rate);
    policy.changed();
    let mut metrics = Map::new();
    let mut put = |name: &str, value: f64| metrics.insert(name.into(), json!(value));
    put("loss", sums.loss);
    put("grad_norm", norm);
    put("learning_rate", step.rate);
    sums.metrics.named(&params.policy_config()).into_iter().for_each(|(name, value)| drop(put(name, value)));
    if params.entropy_coef != 0.0 {
        put("policy_loss", sums.loss + sums.bonus);
        put("entropy_coef", params.entropy_coef);
    }
    if step.index == 0 && !differences.is_empty() {
        mismatch(&differences).into_iter().for_each(|(name, value)| drop(put(name, value)));
    }
    Ok(metrics)
}

/// How far the trainer's log-probs are from the sampler's.
fn mismatch(differences: &[f64]) -> [(&'static str, f64); 5] {
    let mean = |of: fn(&f64) -> f64| differences.iter().map(of).sum::<f64>() / differences.len() as f64;
    let largest = |of: fn(&f64) -> f64| differences.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
    [
        ("sampling/sampling_logp_difference/mean", mean(|difference| difference.abs())),
        ("sampling/sampling_logp_difference/max", largest(|difference| difference.abs())),
        ("sampling/importance_sampling_ratio/min", -largest(|difference| -difference.exp())),
        ("sampling/importance_sampling_ratio/mean", mean(|difference| difference.exp())),
        ("sampling/importance_sampling_ratio/max", largest(|difference| difference.exp())),
    ]
}

#[cfg(test)]
mod tests;
