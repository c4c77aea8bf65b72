//! Generation of sequences that come and go: a prompt is read once, however many completions it gets; a sequence that
//! ends leaves the batch, and others may enter at any step.
//!
//! A sequence depends on its own prompt, demand and random numbers alone: padding and neighbours are masked.

use std::rc::Rc;

use crate::batch::{TokenBatch, indices};
use crate::cache::Cache;
use crate::decoder::Decoder;
use crate::device::{is_cpu, within};
use crate::sample::SamplingParams;
use crate::weights::to_host;

/// Tokens of prompts that are read at a time on the CPU: what lies between two products stays in its cache.
const AT_ONCE_ON_CPU: usize = 1024;

/// The same on other devices, which want much to do at once.
const AT_ONCE: usize = 16 * 1024;

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

/// What there is of prompts that were read.
struct Read {
    /// After each prompt.
    logits: Vec<Vec<f32>>,
    cache: Cache,
    /// The row of the cache that is a prompt's.
    places: Vec<usize>,
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
        let Read { logits, mut cache, places } = self.read(&texts);
        let mut running = Vec::new();
        let mut sources = Vec::new();
        for (index, (prompt, demands)) in prompts.into_iter().enumerate() {
            let prompt: Rc<[u32]> = prompt.into();
            for demand in demands {
                running.push(Running { sequence: self.entered, prompt: prompt.clone(), ids: Vec::new(), demand });
                sources.push(index);
                self.entered += 1;
            }
        }
        let logits = sources.iter().map(|&index| &logits[index]);
        let tokens: Vec<Token> = running.iter_mut().zip(logits).map(|(one, logits)| one.sample(logits)).collect();
        let kept = kept(&tokens);
        let rows: Vec<usize> = kept.iter().map(|&index| places[sources[index]]).collect();
        if !rows.is_empty() {
            cache.select(&rows, &self.decoder.device());
            let mut before = self.cache.take();
            before.iter_mut().for_each(Cache::trim);
            self.cache = Some(Cache::joined(before.into_iter().chain([cache]).collect()));
            retain(&mut running, &kept);
            self.running.append(&mut running);
        }
        tokens
    }

    /// Reads prompts, the shortest first, as many at a time as are worth it.
    fn read(&self, prompts: &[&Vec<u32>]) -> Read {
        let most = if is_cpu(&self.decoder.device()) { AT_ONCE_ON_CPU } else { AT_ONCE };
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&index| prompts[index].len());
        let (mut logits, mut places) = (vec![Vec::new(); prompts.len()], vec![0; prompts.len()]);
        order.iter().enumerate().for_each(|(place, &index)| places[index] = place);
        let (mut caches, mut rest) = (Vec::new(), &order[..]);
        while !rest.is_empty() {
            let fits = (1..rest.len()).take_while(|&more| (more + 1) * prompts[rest[more]].len() <= most).count();
            let (part, later) = rest.split_at(1 + fits);
            let texts: Vec<&Vec<u32>> = part.iter().map(|&index| prompts[index]).collect();
            let mut cache = Cache::new(self.decoder.layers.len());
            let found = last_logits(self.decoder, &TokenBatch::left_padded(&texts, self.pad), &mut cache);
            let rows = found.chunks_exact(self.decoder.config.vocab_size);
            part.iter().zip(rows).for_each(|(&index, row)| logits[index] = row.to_vec());
            caches.push(cache);
            rest = later;
        }
        Read { logits, cache: Cache::joined(caches), places }
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

    /// Sequences enter at steps 0, 2 and 5, end by themselves, by their length or because somebody left. What they say is the
    /// same to the bit, but where layers pass a state on.
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
                let bound = if decoder.config.has_linear_attention() { 1e-4 } else { 0.0 };
                let mut pairs = told[index].iter().zip(&wanted);
                assert!(pairs.all(|(a, b)| (a.log_prob - b.log_prob).abs() <= bound), "{name} {index}");
            }
        });
    }

    /// More prompts than are read at a time, not in the order of their lengths.
    #[test]
    fn prompts_that_are_read_in_parts_are_answered_as_alone() {
        let decoder = Decoder::load(&crate::fixtures::folder("models/llama"), &Device::flex()).unwrap();
        let lengths: Vec<usize> = (0..12).map(|at| 60 + at * 53 % 97).collect();
        assert!(lengths.iter().sum::<usize>() > AT_ONCE_ON_CPU);
        let entering = |(seed, &length): (u64, &usize)| (prompt(seed, length), vec![demand(seed, 3)]);
        let mut generator = Generator::new(&decoder, 0);
        let mut told = generator.enter((0..).zip(&lengths).map(entering).collect());
        while generator.running() > 0 {
            told.extend(generator.step());
        }
        for (seed, &length) in (0..).zip(&lengths) {
            let own = told.iter().filter(|token| token.sequence == seed as usize);
            let said: Vec<(u32, f32)> = own.map(|token| (token.id, token.log_prob)).collect();
            let alone = alone(&decoder, seed, length, 3);
            assert_eq!(said, alone.iter().map(|token| (token.id, token.log_prob)).collect::<Vec<_>>(), "{seed}");
        }
    }
}
