//! From an answer to an example, or to the reason why it is none.

use gazal_data::{Row, row_digest};
use gazal_tasks::{Extraction, Item, answer_part};
use serde_json::{Value, json};

use super::Params;
use super::question::Question;
use crate::respondent::Answer;

/// Why an answer is no example. The names stand in `rejected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The teacher gave none.
    Silent,
    /// It was cut off at its length.
    Unfinished,
    NoReasoning,
    TooFewSteps,
    /// Nothing comes after the reasoning.
    NoAnswer,
    /// No option can be read from it.
    Invalid,
    Wrong,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Silent => "silent",
            Reason::Unfinished => "unfinished",
            Reason::NoReasoning => "no_reasoning",
            Reason::TooFewSteps => "too_few_steps",
            Reason::NoAnswer => "no_answer",
            Reason::Invalid => "invalid",
            Reason::Wrong => "wrong",
        }
    }
}

/// Whether an answer is an example, of a row with this question and its right option where it is to be verified.
///
/// # Errors
/// The first reason why it is none.
pub fn check(params: &Params, item: Option<&Item>, answer: &Answer) -> Result<(), Reason> {
    let text = answer.text.trim();
    if answer.cut {
        return Err(Reason::Unfinished);
    }
    let (reasoning, rest) = match text.strip_prefix("<think>").and_then(|text| text.split_once("</think>")) {
        Some((reasoning, rest)) => (reasoning.trim(), rest),
        None if params.require_reasoning => return Err(Reason::NoReasoning),
        None => ("", text),
    };
    if params.require_reasoning && reasoning.is_empty() {
        return Err(Reason::NoReasoning);
    }
    if steps(reasoning) < params.min_steps {
        return Err(Reason::TooFewSteps);
    }
    if rest.trim().is_empty() || answer_part(text).is_none() {
        return Err(Reason::NoAnswer);
    }
    match item.map(|item| (item.read(text), item.answer)) {
        Some((Extraction::Answer(found), right)) if found != right => Err(Reason::Wrong),
        Some((Extraction::Invalid | Extraction::Unfinished, _)) => Err(Reason::Invalid),
        _ => Ok(()),
    }
}

/// Lines that begin with `Step k:`.
pub fn steps(reasoning: &str) -> usize {
    let is_step = |line: &&str| {
        let number = line.trim_start().strip_prefix("Step ").and_then(|rest| rest.split_once(':'));
        number.is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    };
    reasoning.lines().filter(is_step).count()
}

/// Which answer it is.
pub struct Origin<'a> {
    pub question: &'a Question,
    pub teacher: &'a str,
    pub generation: usize,
}

/// The row's columns, and over them what there is of the example: where it comes from, and what can be counted.
pub fn example(row: &Row, origin: &Origin, answer: &Answer) -> Row {
    let Origin { question, teacher, generation } = origin;
    let digest = |value: &Value| row_digest(value).to_hex()[..16].to_string();
    let prompt_digest = digest(&Value::Array(question.messages.clone()));
    let id = digest(&json!([question.parent, question.template, teacher, prompt_digest, generation]));
    let completion = answer.text.trim();
    let mut example = row.clone();
    for (column, value) in [
        ("id", json!(id)),
        ("prompt", json!(question.prompt)),
        ("completion", json!(completion)),
        ("parents", json!([question.parent])),
        ("template", json!(question.template)),
        ("teacher", json!(teacher)),
        ("prompt_digest", json!(prompt_digest)),
        ("scores", json!({ "steps": steps(completion), "characters": completion.chars().count() })),
    ] {
        example.insert(column.into(), value);
    }
    example
}
