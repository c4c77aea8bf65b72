//! `chat`: a conversation at the terminal, or one that is read from standard input, a line a turn.

use std::io::{BufRead, IsTerminal, stdin};
use std::rc::Rc;

use gazal_lm::{ChatOptions, Decoder, Demand, Generator, Tokenizer, Unfolding};
use serde_json::{Value, json};

use super::{ModelArgs, SamplingArgs, failed, now, say};
use crate::App;
use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::out::Out;

#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// What the model is told before the first turn.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Qwen3's switch [default: as the template has it].
    #[arg(long, value_name = "BOOL")]
    pub enable_thinking: Option<bool>,
}

pub(crate) fn chat(app: &App, args: &Args, verb: &ChatArgs, out: &mut Out) -> Result<Exit, Failure> {
    let (decoder, tokenizer) = verb.model.load(app, args)?;
    let person = stdin().is_terminal();
    let mut messages: Vec<Value> = Vec::new();
    messages.extend(verb.system.as_ref().map(|text| json!({"role": "system", "content": text})));
    let mut turns = 0;
    loop {
        if person {
            say("> ");
        }
        let mut line = String::new();
        if stdin().lock().read_line(&mut line).map_err(failed)? == 0 {
            return Ok(Exit::Done);
        }
        if line.trim().is_empty() {
            continue;
        }
        messages.push(json!({"role": "user", "content": line.trim_end_matches(['\n', '\r'])}));
        let talk = Talk { decoder: &decoder, tokenizer: &tokenizer, verb, silent: out.json };
        let answer = talk.answer(&messages, turns)?;
        turns += 1;
        match out.json {
            true => out.json_line(&json!({"role": "assistant", "content": answer})),
            false => out.line(""),
        }
        messages.push(json!({"role": "assistant", "content": answer}));
    }
}

struct Talk<'a> {
    decoder: &'a Decoder,
    tokenizer: &'a Tokenizer,
    verb: &'a ChatArgs,
    silent: bool,
}

impl Talk<'_> {
    /// Says the answer as it comes.
    fn answer(&self, messages: &[Value], turn: u64) -> Result<String, Failure> {
        let options = ChatOptions {
            add_generation_prompt: true,
            enable_thinking: self.verb.enable_thinking,
            now: now(),
            ..ChatOptions::default()
        };
        let prompt = self.tokenizer.encode_chat(messages, &options).map_err(|error| super::wrong(&error))?;
        let SamplingArgs { seed, max_new_tokens, .. } = self.verb.sampling;
        let demand = Demand {
            sampling: self.verb.sampling.params(),
            max_new_tokens,
            eos: Rc::from(&self.tokenizer.eos_ids[..]),
            uniform: Box::new(move |step| gazal_lm::uniform(seed, turn, step)),
        };
        let decode = |ids: &[u32]| self.tokenizer.decode(ids).unwrap_or_default();
        let (mut text, mut unfolding) = (String::new(), Unfolding::new(Vec::new()));
        let mut generator = Generator::new(self.decoder, self.tokenizer.pad);
        let mut tokens = generator.enter(vec![(prompt, vec![demand])]);
        while let Some(token) = tokens.first() {
            let mut piece = unfolding.add(token.id, &decode).text;
            if token.end.is_some() {
                piece += &unfolding.finish(&decode).text;
            }
            if !self.silent {
                say(&piece);
            }
            text += &piece;
            tokens = generator.step();
        }
        Ok(text)
    }
}
