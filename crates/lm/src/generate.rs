//! Batched generation with a key-value cache: prompts are read once, however many completions they get; a sequence
//! that ends leaves the batch.

use crate::batch::TokenBatch;
use crate::cache::Cache;
use crate::decoder::Decoder;
use crate::sample::SamplingParams;
use crate::weights::to_host;

/// How to generate.
#[derive(Clone, Debug)]
pub struct GenerationConfig {
    pub sampling: SamplingParams,
    pub max_new_tokens: usize,
    /// Ids that end a sequence; the one that did is part of the completion.
    pub eos: Vec<u32>,
    pub pad: u32,
    /// Completions for each prompt.
    pub num_generations: usize,
}

/// One completion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    pub ids: Vec<u32>,
    /// Log-probability of each id under the temperature.
    pub log_probs: Vec<f32>,
    /// Whether it ended by itself.
    pub finished: bool,
}

/// Completes every prompt `num_generations` times: row `p × num_generations + g`.
///
/// `uniform(row, step)` gives the random number of a row at a step, so that no row depends on another.
pub fn generate(
    decoder: &Decoder,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
    uniform: &dyn Fn(usize, usize) -> f64,
) -> Vec<Generated> {
    let rows = prompts.len() * config.num_generations;
    let mut done = vec![Generated::default(); rows];
    if rows == 0 || config.max_new_tokens == 0 {
        return done;
    }
    let device = decoder.device();
    let mut cache = Cache::new(decoder.layers.len());
    let batch = TokenBatch::left_padded(prompts, config.pad);
    let last: Vec<usize> = (0..prompts.len()).map(|row| row * batch.width + batch.width - 1).collect();
    let hidden = decoder.hidden(&batch, Some(&mut cache));
    let hidden = hidden.select(0, crate::batch::indices(last.into_iter(), &device));
    let first_logits = to_host(decoder.logits(hidden));
    // From here on a row of the cache is a completion; `active[i]` is the row of `done` that cache row `i` writes.
    let mut active: Vec<usize> = (0..rows).collect();
    let sources: Vec<usize> = active.iter().map(|row| row / config.num_generations).collect();
    let vocab = decoder.config.vocab_size;
    let mut logits: Vec<f32> =
        sources.iter().flat_map(|&source| &first_logits[source * vocab..(source + 1) * vocab]).copied().collect();
    cache.select(&sources, &device);
    for step in 0..config.max_new_tokens {
        for (index, &row) in active.iter().enumerate() {
            let mut prefix = Vec::new();
            if config.sampling.repetition_penalty != 1.0 {
                prefix.extend(prompts[row / config.num_generations].iter().chain(&done[row].ids));
            }
            let row_logits = &logits[index * vocab..(index + 1) * vocab];
            let (id, log_prob) = config.sampling.sample(row_logits, &prefix, uniform(row, step));
            let out = &mut done[row];
            out.ids.push(id);
            out.log_probs.push(log_prob);
            out.finished = config.eos.contains(&id);
        }
        let kept: Vec<usize> = (0..active.len()).filter(|&index| !done[active[index]].finished).collect();
        if kept.is_empty() || step + 1 == config.max_new_tokens {
            break;
        }
        if kept.len() < active.len() {
            cache.select(&kept, &device);
            active = kept.iter().map(|&index| active[index]).collect();
        }
        let ids = active.iter().map(|&row| done[row].ids[step]).collect();
        let next = TokenBatch { ids, rows: active.len(), width: 1, left_pad: cache.left_pad.clone() };
        logits = to_host(decoder.logits(decoder.hidden(&next, Some(&mut cache))));
    }
    done
}
