//! From logits to a token: the warpers of transformers in their order (repetition penalty, temperature, top-k,
//! top-p, min-p), on the host, one row at a time, so that a row does not depend on its neighbours.

use serde::{Deserialize, Serialize};

/// Spelled as `GenerationConfig` spells them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    /// 0 takes the most likely token.
    pub temperature: f64,
    /// 0 keeps all.
    pub top_k: usize,
    pub top_p: f64,
    pub min_p: f64,
    pub repetition_penalty: f64,
}

impl Default for SamplingParams {
    fn default() -> SamplingParams {
        SamplingParams { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0 }
    }
}

impl SamplingParams {
    pub fn greedy() -> SamplingParams {
        SamplingParams { temperature: 0.0, ..SamplingParams::default() }
    }

    /// Probabilities `[vocab]` after all warpers; `prefix` are the ids so far (for the repetition penalty).
    pub fn probabilities(&self, logits: &[f32], prefix: &[u32]) -> Vec<f32> {
        let mut scores: Vec<f32> = logits.to_vec();
        self.penalise(&mut scores, prefix);
        self.cool(&mut scores);
        if self.truncates() {
            self.truncate(&mut scores);
        }
        softmax(&mut scores);
        scores
    }

    /// A token for a uniform number in `[0, 1)`, with its log-probability under the temperature alone (what a
    /// trainer computes).
    pub fn sample(&self, logits: &[f32], prefix: &[u32], uniform: f64) -> (u32, f32) {
        let mut scores = logits.to_vec();
        self.cool(&mut scores);
        let log_sum = gazal_kernels::softmax(&mut scores, logits.len())[0].log_sum;
        let token = match self.temperature == 0.0 {
            true => argmax(logits),
            false if self.warps() => inverse(&self.probabilities(logits, prefix), uniform),
            false => inverse(&scores, uniform),
        };
        let mut chosen = [logits[token]];
        self.cool(&mut chosen);
        (token as u32, chosen[0] - log_sum)
    }

    /// Whether probabilities are others than those under the temperature alone.
    fn warps(&self) -> bool {
        self.truncates() || self.repetition_penalty != 1.0
    }

    fn truncates(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0
    }

    fn cool(&self, scores: &mut [f32]) {
        if self.temperature > 0.0 && self.temperature != 1.0 {
            let temperature = self.temperature as f32;
            scores.iter_mut().for_each(|score| *score /= temperature);
        }
    }

    /// Divides a positive, multiplies a negative score of every id that has occurred.
    fn penalise(&self, scores: &mut [f32], prefix: &[u32]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let penalty = self.repetition_penalty as f32;
        let seen: std::collections::BTreeSet<u32> = prefix.iter().copied().collect();
        for id in seen {
            let score = &mut scores[id as usize];
            *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
        }
    }

    fn truncate(&self, scores: &mut [f32]) {
        if self.top_k > 0 && self.top_k < scores.len() {
            let mut sorted = scores.to_vec();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let least = sorted[self.top_k - 1];
            drop_where(scores, |score| score < least);
        }
        if self.top_p < 1.0 {
            self.keep_nucleus(scores);
        }
        if self.min_p > 0.0 {
            let mut probabilities = scores.to_vec();
            softmax(&mut probabilities);
            let least = probabilities.iter().copied().fold(0.0, f32::max) * self.min_p as f32;
            for (score, probability) in scores.iter_mut().zip(probabilities) {
                if probability < least {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Drops the least likely tokens while their sum stays within `1 − top_p`; the most likely one always stays.
    fn keep_nucleus(&self, scores: &mut [f32]) {
        let mut probabilities = scores.to_vec();
        softmax(&mut probabilities);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let mut sum = 0.0_f32;
        for &index in &order[..order.len().saturating_sub(1)] {
            sum += probabilities[index];
            if sum > 1.0 - self.top_p as f32 {
                break;
            }
            scores[index] = f32::NEG_INFINITY;
        }
    }
}

/// The random number of a sequence's step, in `[0, 1)`: from these three alone, so that neighbours change nothing.
pub fn uniform(seed: u64, sequence: u64, step: usize) -> f64 {
    let mut hasher = blake3::Hasher::new_derive_key("gazal-pipe 2026 sampled tokens v1");
    for part in [seed, sequence, step as u64] {
        hasher.update(&part.to_le_bytes());
    }
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
}

fn drop_where(scores: &mut [f32], dropped: impl Fn(f32) -> bool) {
    for score in scores {
        if dropped(*score) {
            *score = f32::NEG_INFINITY;
        }
    }
}

fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - max).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// The first of the largest.
pub fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// The index at which the cumulative sum passes `uniform` of the whole.
fn inverse(probabilities: &[f32], uniform: f64) -> usize {
    let wanted = uniform * probabilities.iter().copied().map(f64::from).sum::<f64>();
    let mut sum = 0.0;
    let passes = |probability: &f32| {
        sum += f64::from(*probability);
        wanted < sum
    };
    probabilities.iter().position(passes).unwrap_or(0)
}
