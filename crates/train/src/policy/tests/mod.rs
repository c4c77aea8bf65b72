//! Policy losses and advantages against the reference vectors, a second implementation, and the invariants.
#![allow(clippy::unwrap_used)]

mod advantages;
mod gradients;
mod invariants;
mod vectors;

use super::*;

/// A batch that owns its numbers.
#[derive(Clone)]
struct Case {
    width: usize,
    log_probs: Vec<f64>,
    old: Vec<f64>,
    reference: Vec<f64>,
    entropies: Vec<f64>,
    importance_weights: Option<Vec<f64>>,
    mask: Vec<bool>,
    advantages: Vec<f64>,
}

impl Case {
    /// Pseudo-random rows of these lengths, the advantages of both signs.
    fn random(seed: u64, lengths: &[usize]) -> Case {
        let width = lengths.iter().copied().max().unwrap();
        let count = width * lengths.len();
        let mut numbers = Numbers(seed);
        let log_probs: Vec<f64> = (0..count).map(|_| -0.1 - 2.0 * numbers.next()).collect();
        let mut near = |spread: f64| -> Vec<f64> {
            log_probs.iter().map(|value| value + spread * (2.0 * numbers.next() - 1.0)).collect()
        };
        let (old, reference) = (near(0.6), near(0.4));
        let entropies = (0..count).map(|_| 2.0 * numbers.next()).collect();
        let advantages = (0..lengths.len()).map(|_| 3.0 * numbers.next() - 1.5).collect();
        let mask = (0..count).map(|cell| cell % width < lengths[cell / width]).collect();
        Case { width, log_probs, old, reference, entropies, importance_weights: None, mask, advantages }
    }

    fn batch(&self) -> PolicyBatch<'_> {
        PolicyBatch {
            width: self.width,
            log_probs: &self.log_probs,
            old_log_probs: &self.old,
            reference_log_probs: Some(&self.reference),
            entropies: Some(&self.entropies),
            importance_weights: self.importance_weights.as_deref(),
            mask: &self.mask,
            advantages: &self.advantages,
        }
    }

    fn tokens(&self) -> usize {
        self.mask.iter().filter(|&&real| real).count()
    }

    /// The case as the only micro-batch of its step.
    fn alone(&self) -> Window {
        Window { accumulation: 1, tokens: self.tokens() as f64 }
    }

    fn loss(&self, config: &PolicyConfig) -> PolicyLoss {
        policy_loss(config, &self.batch(), self.alone())
    }

    /// Some of the rows, in a new order.
    fn rows(&self, rows: &[usize]) -> Case {
        fn pick<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
        }
        Case {
            width: self.width,
            log_probs: pick(&self.log_probs, self.width, rows),
            old: pick(&self.old, self.width, rows),
            reference: pick(&self.reference, self.width, rows),
            entropies: pick(&self.entropies, self.width, rows),
            importance_weights: self.importance_weights.as_ref().map(|weights| pick(weights, self.width, rows)),
            mask: pick(&self.mask, self.width, rows),
            advantages: pick(&self.advantages, 1, rows),
        }
    }
}

/// Numbers in [0, 1), the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const LOSS_TYPES: [LossType; 6] =
    [LossType::Grpo, LossType::Bnpo, LossType::DrGrpo, LossType::Dapo, LossType::Cispo, LossType::Luspo];
const LEVELS: [ImportanceSampling; 3] =
    [ImportanceSampling::Token, ImportanceSampling::Sequence, ImportanceSampling::SequenceToken];

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}: {a} is not {b} at {index}");
    }
}
