//! Generation of sequences that come and go: a prompt is read once, however many completions it gets; a sequence that
//! ends leaves the batch, and others may enter at any step.
//!
//! A sequence depends on its own prompt, demand and random numbers alone: padding and neighbours are masked.

use std::rc::Rc;

use crate::batch::{TokenBatch, indices};
use crate::cache::Cache;
use crate::decoder::Decoder;
use crate::device::within;
use crate::sample::SamplingParams;
use crate::weights::to_host;

/// What is asked of one sequence.
pub struct Demand<'a> {
    pub sampling: SamplingParams,
    /// At least one.
    pub max_new_tokens: usize,
    /// Ids that end it; the one that did is part of the completion.
    pub eos: Rc<[u32]>,
    /// The random number of a step, in `[0, 1)`.
    pub uniform: Box<dyn Fn(usize) -> f64 + 'a>,
}

/// Why a sequence is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ended by itself.
    Eos,
    /// It has as many tokens as it may.
    Length,
}

/// The next token of a sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// As [`Generator::enter`] counts them.
    pub sequence: usize,
    pub id: u32,
    /// Log-probability under the temperature.
    pub log_prob: f32,
    pub end: Option<End>,
}

/// Sequences that are generated side by side.
pub struct Generator<'a> {
    decoder: &'a Decoder,
    pad: u32,
    /// A row for each of `running`, in their order.
    cache: Option<Cache>,
    running: Vec<Running<'a>>,
    entered: usize,
}

struct Running<'a> {
    sequence: usize,
    prompt: Rc<[u32]>,
    ids: Vec<u32>,
    demand: Demand<'a>,
}

impl<'a> Generator<'a> {
    /// `pad` fills the rectangle; no sequence sees it.
    pub fn new(decoder: &'a Decoder, pad: u32) -> Generator<'a> {
        Generator { decoder, pad, cache: None, running: Vec::new(), entered: 0 }
    }

    /// How many sequences are under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Lets prompts in, each with what is asked of its completions, and returns the first token of each completion.
    /// Sequences are counted in this order, from 0 in the first call on.
    pub fn enter(&mut self, prompts: Vec<(Vec<u32>, Vec<Demand<'a>>)>) -> Vec<Token> {
        let texts: Vec<&Vec<u32>> = prompts.iter().map(|(prompt, _)| prompt).collect();
        if texts.is_empty() {
            return Vec::new();
        }
        let device = self.decoder.device();
        let batch = TokenBatch::left_padded(&texts, self.pad);
        let mut cache = Cache::new(self.decoder.layers.len());
        let logits = last_logits(self.decoder, &batch, &mut cache);
        let mut running = Vec::new();
        let mut sources = Vec::new();
        for (row, (prompt, demands)) in prompts.into_iter().enumerate() {
            let prompt: Rc<[u32]> = prompt.into();
            for demand in demands {
                running.push(Running { sequence: self.entered, prompt: prompt.clone(), ids: Vec::new(), demand });
                sources.push(row);
                self.entered += 1;
            }
        }
        let vocab = self.decoder.config.vocab_size;
        let rows = sources.iter().map(|&row| &logits[row * vocab..(row + 1) * vocab]);
        let tokens: Vec<Token> = running.iter_mut().zip(rows).map(|(one, logits)| one.sample(logits)).collect();
        let kept = kept(&tokens);
        let rows: Vec<usize> = kept.iter().map(|&index| sources[index]).collect();
        if !rows.is_empty() {
            cache.select(&rows, &device);
            self.cache = Some(match self.cache.take() {
                Some(mut before) => {
                    before.trim();
                    before.join(cache)
                }
                None => cache,
            });
            retain(&mut running, &kept);
            self.running.append(&mut running);
        }
        tokens
    }

    /// The next token of every sequence, in the order in which they entered.
    pub fn step(&mut self) -> Vec<Token> {
        let Some(cache) = &mut self.cache else { return Vec::new() };
        let ids = self.running.iter().filter_map(|one| one.ids.last().copied()).collect();
        let left_pad = cache.left_pad.clone();
        let next = TokenBatch { ids, rows: self.running.len(), width: 1, left_pad, documents: Vec::new() };
        let logits = last_logits(self.decoder, &next, cache);
        let rows = logits.chunks_exact(self.decoder.config.vocab_size);
        let tokens: Vec<Token> = self.running.iter_mut().zip(rows).map(|(one, logits)| one.sample(logits)).collect();
        self.keep(&kept(&tokens));
        tokens
    }

    /// Ends a sequence that nobody waits for any more.
    pub fn leave(&mut self, sequence: usize) {
        let stays = |index: &usize| self.running[*index].sequence != sequence;
        let kept: Vec<usize> = (0..self.running.len()).filter(stays).collect();
        self.keep(&kept);
    }

    fn keep(&mut self, kept: &[usize]) {
        if kept.len() == self.running.len() {
            return;
        }
        retain(&mut self.running, kept);
        match &mut self.cache {
            Some(cache) if !kept.is_empty() => cache.select(kept, &self.decoder.device()),
            _ => self.cache = None,
        }
    }
}

/// Reads the batch and gives the logits after the last column of each row, `[rows, vocab]`.
fn last_logits(decoder: &Decoder, batch: &TokenBatch, cache: &mut Cache) -> Vec<f32> {
    let device = decoder.device();
    within(&device, || {
        let hidden = decoder.hidden(batch, Some(cache));
        let last = indices((1..=batch.rows).map(|row| row * batch.width - 1), &device);
        to_host(decoder.logits(hidden.select(0, last)))
    })
}

impl Running<'_> {
    fn sample(&mut self, logits: &[f32]) -> Token {
        let sampling = &self.demand.sampling;
        let mut prefix = Vec::new();
        if sampling.repetition_penalty != 1.0 {
            prefix.extend(self.prompt.iter().chain(&self.ids));
        }
        let (id, log_prob) = sampling.sample(logits, &prefix, (self.demand.uniform)(self.ids.len()));
        self.ids.push(id);
        let end = match () {
            () if self.demand.eos.contains(&id) => Some(End::Eos),
            () if self.ids.len() >= self.demand.max_new_tokens => Some(End::Length),
            () => None,
        };
        Token { sequence: self.sequence, id, log_prob, end }
    }
}

/// Which of them go on.
fn kept(tokens: &[Token]) -> Vec<usize> {
    (0..tokens.len()).filter(|&index| tokens[index].end.is_none()).collect()
}

fn retain<T>(all: &mut Vec<T>, kept: &[usize]) {
    let mut index = 0;
    all.retain(|_| {
        index += 1;
        kept.binary_search(&(index - 1)).is_ok()
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use burn::tensor::Device;

    use super::*;
    use crate::fixtures::each_model;
    use crate::sample::uniform;

    fn demand(seed: u64, max_new_tokens: usize) -> Demand<'static> {
        let uniform = Box::new(move |step| uniform(seed, 0, step));
        let eos: Rc<[u32]> = Rc::from([5_u32, 9, 13]);
        Demand { sampling: SamplingParams::default(), max_new_tokens, eos, uniform }
    }

    fn prompt(seed: u64, length: usize) -> Vec<u32> {
        (0..length).map(|at| (uniform(seed, 1, at) * 300.0) as u32).collect()
    }

    fn alone(decoder: &Decoder, seed: u64, length: usize, most: usize) -> Vec<Token> {
        let mut generator = Generator::new(decoder, 0);
        let mut tokens = generator.enter(vec![(prompt(seed, length), vec![demand(seed, most)])]);
        let mut all = Vec::new();
        while !tokens.is_empty() {
            all.append(&mut tokens);
            tokens = generator.step();
        }
        all
    }

    /// Sequences enter at steps 0, 2 and 5, end by themselves, by their length or because somebody left.
    #[test]
    fn fixture_models_say_the_same_whoever_comes_and_goes() {
        each_model(|name, folder| {
            let decoder = Decoder::load(folder, &Device::flex()).unwrap();
            let mut generator = Generator::new(&decoder, 0);
            let mut told: Vec<Vec<Token>> = vec![Vec::new(); 6];
            // Step, seed, length of the prompt, most tokens: in the order in which they enter.
            let plan = [(0, 1, 9, 20), (0, 2, 4, 6), (2, 3, 17, 12), (2, 4, 3, 1), (5, 5, 2, 25), (5, 6, 11, 9)];
            for step in 0.. {
                let now = plan.iter().filter(|(at, ..)| *at == step);
                let entering = now.map(|&(_, seed, length, most)| (prompt(seed, length), vec![demand(seed, most)]));
                let mut tokens = generator.enter(entering.collect());
                if step > 0 {
                    tokens.extend(generator.step());
                }
                if step == 8 {
                    generator.leave(2);
                }
                tokens.into_iter().for_each(|token| told[token.sequence].push(token));
                if step > 5 && generator.running() == 0 {
                    break;
                }
            }
            for (index, &(_, seed, length, most)) in plan.iter().enumerate() {
                let wanted = alone(&decoder, seed, length, most);
                let ids = |tokens: &[Token]| tokens.iter().map(|token| token.id).collect::<Vec<_>>();
                let count = told[index].len();
                assert!(index == 2 || count == wanted.len(), "{name} {index}");
                assert_eq!(ids(&told[index]), ids(&wanted)[..count], "{name} {index}");
                let pairs = told[index].iter().zip(&wanted);
                assert!(pairs.clone().all(|(a, b)| (a.log_prob - b.log_prob).abs() < 1e-4), "{name} {index}");
            }
        });
    }
}
