//! `tokens`: what a model sees of a text, a prompt with its completion, or a conversation.

use gazal_lm::{ChatOptions, Tokenizer};
use serde::Serialize;
use serde_json::Value;

use super::{ModelArgs, now, wrong};
use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::{App, words};

#[derive(Debug, clap::Args)]
pub(crate) struct TokensArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// A text.
    #[arg(long, value_name = "TEXT", required_unless_present = "row")]
    pub text: Option<String>,
    /// A row of a data set: {"text"}, {"prompt", "completion"} or {"messages"}.
    #[arg(long, value_name = "JSON", conflicts_with = "text")]
    pub row: Option<String>,
}

#[derive(Serialize)]
struct TokenLine {
    position: usize,
    id: u32,
    token: String,
    /// Whether it is learned: completions and what the assistant says are, prompts are not.
    mask: bool,
    /// Which part of the row it is of.
    segment: &'static str,
}

pub(crate) fn tokens(app: &App, args: &Args, verb: &TokensArgs, out: &mut Out) -> Result<Exit, Failure> {
    let tokenizer = verb.model.tokenizer(app, args)?;
    let row = match (&verb.row, &verb.text) {
        (Some(row), _) => serde_json::from_str(row)
            .map_err(|error| Failure::wrong(format!("the row is no JSON: {error}"), "--row '{\"text\": \"...\"}'"))?,
        (None, text) => serde_json::json!({"text": text}),
    };
    let lines = lines(&row, &tokenizer)?;
    if out.json {
        lines.iter().for_each(|line| out.json_line(line));
        return Ok(Exit::Done);
    }
    let mut table = vec![["position", "id", "mask", "segment", "token"].map(String::from).to_vec()];
    table.extend(lines.iter().map(|line| {
        let mask = if line.mask { "1" } else { "0" };
        vec![
            line.position.to_string(),
            line.id.to_string(),
            mask.into(),
            line.segment.into(),
            format!("{:?}", line.token),
        ]
    }));
    out.line(words::table(&table));
    let learned = lines.iter().filter(|line| line.mask).count();
    out.line(format!("{} tokens, {learned} of them learned", lines.len()));
    Ok(Exit::Done)
}

fn lines(row: &Value, tokenizer: &Tokenizer) -> Result<Vec<TokenLine>, Failure> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let encode = |text: &str| tokenizer.encode(text).map_err(|error| wrong(&error));
    let mut parts: Vec<(u32, bool, &'static str)> = Vec::new();
    if let Some(messages) = row.get("messages").and_then(Value::as_array) {
        let options = ChatOptions { now: now(), ..ChatOptions::default() };
        let talk = tokenizer.encode_conversation(messages, &options).map_err(|error| wrong(&error))?;
        let part = |(id, said): (u32, bool)| (id, said, if said { "assistant" } else { "context" });
        parts.extend(talk.ids.into_iter().zip(talk.assistant).map(part));
    } else if let (Some(prompt), Some(completion)) = (text("prompt"), text("completion")) {
        parts.extend(encode(prompt)?.into_iter().map(|id| (id, false, "prompt")));
        parts.extend(encode(completion)?.into_iter().map(|id| (id, true, "completion")));
    } else if let Some(text) = text("text") {
        parts.extend(encode(text)?.into_iter().map(|id| (id, true, "text")));
    } else {
        let help = "it has `text`, or `prompt` and `completion`, or `messages`";
        return Err(Failure::wrong(format!("no row of a data set: {row}"), help));
    }
    let line = |(position, (id, mask, segment)): (usize, (u32, bool, &'static str))| {
        Ok(TokenLine { position, id, token: tokenizer.spell(id).unwrap_or_default(), mask, segment })
    };
    parts.into_iter().enumerate().map(line).collect()
}
