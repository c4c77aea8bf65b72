//! The answer that a model reasons its way to.

use gazal_data::Stream;
use gazal_lm::{GenerationConfig, SamplingParams, generate};
use gazal_stage_api::StageError;
use gazal_tasks::{Completion, Extraction, ExtractionRule, Item, RewardFunc};

use super::{FIRST, LAST, Protocol, Sample, Scorer};
use crate::prompt;

/// Scores a batch of items. A row's random numbers belong to its item and answer, not to its place in the batch.
pub fn score(scorer: &Scorer, items: &[Item]) -> Result<Vec<Sample>, StageError> {
    let params = scorer.params;
    let limit = scorer.decoder.config.max_position_embeddings.saturating_sub(params.max_new_tokens).max(1);
    let texts: Vec<String> = items.iter().map(prompt::reasoning).collect();
    let mut prompts = Vec::with_capacity(items.len());
    for text in &texts {
        let mut ids = scorer.tokenizer.encode(text).map_err(StageError::failed)?;
        ids.drain(..ids.len().saturating_sub(limit));
        prompts.push(ids);
    }
    let config = GenerationConfig {
        sampling: SamplingParams {
            temperature: params.temperature,
            top_p: params.top_p,
            top_k: params.top_k,
            ..SamplingParams::default()
        },
        max_new_tokens: params.max_new_tokens,
        eos: scorer.tokenizer.eos_ids.clone(),
        pad: scorer.tokenizer.pad,
        num_generations: params.num_generations,
    };
    let streams: Vec<Stream> =
        items.iter().map(|item| Stream::new(scorer.seed, &format!("answer {} {}", item.benchmark, item.id))).collect();
    let each = params.num_generations;
    let uniform = |row: usize, step: usize| streams[row / each].uniform(step as u64, (row % each) as u64);
    let generated = generate(scorer.decoder, &prompts, &config, &uniform);
    let mut samples = Vec::with_capacity(generated.len());
    for (row, generated) in generated.into_iter().enumerate() {
        let item = &items[row / each];
        let text = scorer.tokenizer.decode(&generated.ids).map_err(StageError::failed)?;
        let found = item.read(&text);
        let completion =
            Completion { text: &text, ids: &generated.ids, finished: generated.finished, limit: params.max_new_tokens };
        let formatted = RewardFunc::ThinkFormat.score(&completion, item) == Some(1.0);
        let rewards: Vec<f64> =
            params.reward_funcs.iter().filter_map(|reward| reward.func.score(&completion, item)).collect();
        let judged = params.reward_funcs.is_empty() || !rewards.is_empty();
        let reward = judged.then(|| rewards.iter().sum());
        let sample = scorer.sample(item, Protocol::GenerateCot, found.answer());
        // These rules read letters, of which an open question has none.
        let rules = [(FIRST, ExtractionRule::HuatuoFirst), (LAST, ExtractionRule::HuatuoLast)].into_iter();
        let right = |rule: ExtractionRule| rule.read(&text, &item.options).answer() == Some(item.answer);
        let right_by = rules.filter(|_| !item.open).map(|(name, rule)| (name.to_string(), right(rule))).collect();
        let unfinished = found == Extraction::Unfinished || !generated.finished;
        samples.push(Sample {
            generation: row % each,
            prompt: Some(texts[row / each].clone()),
            completion: Some(text),
            unfinished,
            formatted,
            reward,
            right_by,
            ..sample
        });
    }
    Ok(samples)
}
