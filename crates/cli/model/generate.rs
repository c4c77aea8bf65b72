//! `generate`: prompts in, completions out, in batches.

use std::io::{BufRead, stdin};
use std::path::PathBuf;
use std::rc::Rc;

use gazal_lm::{ChatOptions, Demand, End, Generator, Tokenizer};
use serde::Serialize;
use serde_json::Value;

use super::{ModelArgs, SamplingArgs, failed, now, wrong};
use crate::App;
use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::out::Out;

#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// A text to go on with; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// JSON Lines with `prompt` (a text or ids) or `messages` (a conversation) [default: standard input, a prompt a line].
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub prompts: Option<PathBuf>,
    /// Completions of each prompt.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub num_generations: u16,
    /// Prompts that are generated side by side.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub batch_size: u16,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Completed<'a> {
    prompt: &'a Value,
    completion: String,
    ids: Vec<u32>,
    log_probs: Vec<f32>,
    finish_reason: &'static str,
}

/// A prompt as it was given, and its ids.
struct Prompt {
    given: Value,
    ids: Vec<u32>,
}

pub(crate) fn generate(app: &App, args: &Args, verb: &GenerateArgs, out: &mut Out) -> Result<Exit, Failure> {
    let (decoder, tokenizer) = verb.model.load(app, args)?;
    let prompts = read(verb, &tokenizer)?;
    let each = usize::from(verb.num_generations);
    let eos: Rc<[u32]> = Rc::from(&tokenizer.eos_ids[..]);
    for (chunk_at, chunk) in prompts.chunks(verb.batch_size.into()).enumerate() {
        let SamplingArgs { seed, max_new_tokens, .. } = verb.sampling;
        let first = chunk_at * usize::from(verb.batch_size) * each;
        let demand = |row: usize| Demand {
            sampling: verb.sampling.params(),
            max_new_tokens,
            eos: eos.clone(),
            uniform: Box::new(move |step| gazal_lm::uniform(seed, (first + row) as u64, step)),
        };
        let demands = |at: usize| (0..each).map(|index| demand(at * each + index)).collect();
        let entering = chunk.iter().enumerate().map(|(at, prompt)| (prompt.ids.clone(), demands(at))).collect();
        let mut done: Vec<(Vec<u32>, Vec<f32>, &'static str)> = vec![Default::default(); chunk.len() * each];
        let mut generator = Generator::new(&decoder, tokenizer.pad);
        let mut tokens = generator.enter(entering);
        while !tokens.is_empty() {
            for token in &tokens {
                let (ids, log_probs, reason) = &mut done[token.sequence];
                ids.push(token.id);
                log_probs.push(token.log_prob);
                *reason = if token.end == Some(End::Eos) { "stop" } else { "length" };
            }
            tokens = generator.step();
        }
        for (row, (ids, log_probs, finish_reason)) in done.into_iter().enumerate() {
            let completion = tokenizer.decode(&ids).map_err(|error| wrong(&error))?;
            let prompt = &chunk[row / each].given;
            match out.json {
                true => out.json_line(&Completed { prompt, completion, ids, log_probs, finish_reason }),
                false => out.line(completion),
            }
        }
    }
    Ok(Exit::Done)
}

fn read(verb: &GenerateArgs, tokenizer: &Tokenizer) -> Result<Vec<Prompt>, Failure> {
    let plain = |text: &String| Value::String(text.clone());
    let given: Vec<Value> = match &verb.prompts {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::wrong(format!("cannot read {}: {error}", path.display()), ""))?;
            let row = |(line, text): (usize, &str)| {
                let place = format!("{}:{}", path.display(), line + 1);
                serde_json::from_str(text).map_err(|error| Failure::wrong(format!("{place}: {error}"), ""))
            };
            let lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
            lines.map(row).collect::<Result<_, _>>()?
        }
        None if verb.prompt.is_empty() => {
            let lines = stdin().lock().lines().collect::<Result<Vec<String>, _>>().map_err(failed)?;
            lines.iter().filter(|line| !line.trim().is_empty()).map(plain).collect()
        }
        None => verb.prompt.iter().map(plain).collect(),
    };
    given.into_iter().map(|given| prompt(given, tokenizer)).collect()
}

fn prompt(given: Value, tokenizer: &Tokenizer) -> Result<Prompt, Failure> {
    let inner = given.get("prompt").unwrap_or(&given);
    let id = |value: &Value| value.as_u64().map(|id| id as u32).filter(|&id| (id as usize) < tokenizer.vocab_size());
    let ids = inner.as_array().and_then(|ids| ids.iter().map(id).collect::<Option<Vec<u32>>>());
    let ids = match (inner.as_str(), ids, given.get("messages").and_then(Value::as_array)) {
        (Some(text), _, _) => tokenizer.encode(text),
        (_, Some(ids), _) => Ok(ids),
        (_, _, Some(messages)) => {
            let options = ChatOptions { add_generation_prompt: true, now: now(), ..ChatOptions::default() };
            tokenizer.encode_chat(messages, &options)
        }
        _ => return Err(Failure::wrong(format!("no prompt: {given}"), "a row has `prompt` or `messages`")),
    };
    let ids = ids.map_err(|error| wrong(&error))?;
    match ids.is_empty() {
        true => Err(Failure::wrong("a prompt has no tokens", "write something")),
        false => Ok(Prompt { given, ids }),
    }
}
