//! The option of highest log-likelihood.

use gazal_lm::{Labels, TokenBatch};
use gazal_stage_api::StageError;
use gazal_tasks::scoring::{self, Normalization};
use gazal_tasks::{Benchmark, Item};

use super::{NORMALIZED, Protocol, Sample, Scorer};

/// One sequence to score: a context with one continuation.
struct Request {
    ids: Vec<u32>,
    /// The first id of the continuation.
    from: usize,
}

/// Scores a batch of items.
pub fn score(scorer: &Scorer, benchmark: &Benchmark, items: &[Item]) -> Result<Vec<Sample>, StageError> {
    if let Some(item) = items.iter().find(|item| item.options.len() < 2) {
        return Err(StageError::failed(format!(
            "question {} of {} has one answer and none to choose it from, so its log-likelihood tells nothing: \
             set `protocols = [\"generate_cot\"]`",
            item.id, item.benchmark
        )));
    }
    let mut samples = Vec::with_capacity(items.len());
    let mut requests = Vec::new();
    for item in items {
        let prompt = benchmark.prompt(item);
        for continuation in &prompt.continuations {
            requests.push(request(scorer, &prompt.context, continuation)?);
        }
    }
    let scores = log_likelihoods(scorer, &requests);
    let mut scores = scores.into_iter();
    for item in items {
        let (resps, is_greedy): (Vec<f64>, Vec<bool>) = scores.by_ref().take(item.options.len()).unzip();
        let answer = scoring::choose(&resps);
        let by_length =
            scoring::choose_normalized(&resps, &benchmark.prompt(item).continuations, Normalization::Characters);
        let right_by = [(NORMALIZED.to_string(), by_length == Some(item.answer))].into();
        samples.push(Sample { resps, is_greedy, right_by, ..scorer.sample(item, Protocol::Loglikelihood, answer) });
    }
    Ok(samples)
}

/// The ids of context and continuation together, as lm-eval takes them apart: what the whole has beyond the context.
/// A context that is too long for the model loses its beginning.
fn request(scorer: &Scorer, context: &str, continuation: &str) -> Result<Request, StageError> {
    let encode = |text: &str| scorer.tokenizer.encode(text).map_err(StageError::failed);
    let mut ids = encode(&format!("{context}{continuation}"))?;
    let mut from = encode(context)?.len().min(ids.len().saturating_sub(1)).max(1);
    // Of the last id only the probability is asked: the model reads one id less.
    let limit = scorer.decoder.config.max_position_embeddings + 1;
    if ids.len() > limit {
        let cut = ids.len() - limit;
        ids.drain(..cut);
        from = from.saturating_sub(cut).max(1);
    }
    Ok(Request { ids, from })
}

/// Summed log-probabilities of the continuations, and whether each of their tokens is the most likely one. Requests that
/// differ only in a single last token (the letters of one question) share a forward pass.
fn log_likelihoods(scorer: &Scorer, requests: &[Request]) -> Vec<(f64, bool)> {
    let mut sequences: Vec<&[u32]> = Vec::new();
    let mut place = Vec::with_capacity(requests.len());
    for request in requests {
        let inputs = &request.ids[..request.ids.len() - 1];
        let shared = sequences.last().is_some_and(|last| *last == inputs);
        if !shared {
            sequences.push(inputs);
        }
        place.push(sequences.len() - 1);
    }
    // Those of a length side by side: less is padded.
    let mut groups: Vec<usize> = (0..sequences.len()).collect();
    groups.sort_by_key(|&group| sequences[group].len());
    let chunks: Vec<&[usize]> = groups.chunks(scorer.params.batch_size.div_ceil(4)).collect();
    let scores = gazal_train::side_by_side(scorer.decoder, &chunks, |chunk| {
        let rows: Vec<&[u32]> = chunk.iter().map(|&group| sequences[group]).collect();
        let batch = TokenBatch::right_padded(&rows, scorer.tokenizer.pad);
        let (mut positions, mut ids, mut owners) = (Vec::new(), Vec::new(), Vec::new());
        for (index, request) in requests.iter().enumerate() {
            let Some(row) = chunk.iter().position(|&group| group == place[index]) else { continue };
            for at in request.from..request.ids.len() {
                positions.push(row * batch.width + at - 1);
                ids.push(request.ids[at]);
                owners.push(index);
            }
        }
        let scores = scorer.decoder.score(&Labels { batch, positions, ids }, 1.0);
        owners.into_iter().zip(scores.log_probs.into_iter().zip(scores.hits)).collect::<Vec<_>>()
    });
    let mut sums = vec![(0.0, true); requests.len()];
    for (owner, (log_prob, hit)) in scores.into_iter().flatten() {
        let (sum, is_greedy) = &mut sums[owner];
        *sum += f64::from(log_prob);
        *is_greedy &= hit;
    }
    sums
}
