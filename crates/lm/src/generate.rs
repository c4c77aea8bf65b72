//! Batched generation with a key-value cache: prompts are read once, however many completions they get; a sequence
//! that ends leaves the batch.

use std::rc::Rc;

use crate::decoder::Decoder;
use crate::generator::{Demand, End, Generator};
use crate::sample::SamplingParams;

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
    let eos: Rc<[u32]> = config.eos.clone().into();
    let demand = |row: usize| Demand {
        sampling: config.sampling.clone(),
        max_new_tokens: config.max_new_tokens,
        eos: eos.clone(),
        uniform: Box::new(move |step| uniform(row, step)),
    };
    let each = config.num_generations;
    let demands = |prompt: usize| (prompt * each..(prompt + 1) * each).map(demand).collect();
    let entering = prompts.iter().enumerate().map(|(index, prompt)| (prompt.clone(), demands(index)));
    let mut generator = Generator::new(decoder, config.pad);
    let mut tokens = generator.enter(entering.collect());
    while !tokens.is_empty() {
        for token in tokens {
            let out = &mut done[token.sequence];
            out.ids.push(token.id);
            out.log_probs.push(token.log_prob);
            out.finished = token.end == Some(End::Eos);
        }
        tokens = generator.step();
    }
    done
}
