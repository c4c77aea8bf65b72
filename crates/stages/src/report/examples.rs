//! What the first and the last model wrote to the same questions, side by side.
//!
//! Questions are drawn by the digests of their names, in turn from those that became right, became wrong and stayed what
//! they were: nobody picks them, and one that changed is not missed because few did.

use std::collections::BTreeMap;

use gazal_data::row_digest;
use serde::Serialize;
use serde_json::json;

use super::table::groups;
use crate::eval::Sample;

#[derive(Debug, Serialize)]
pub struct Examples {
    pub before: String,
    pub after: String,
    /// Questions by what became of them.
    pub counts: BTreeMap<Change, usize>,
    pub shown: Vec<Example>,
}

#[derive(Debug, Serialize)]
pub struct Example {
    pub benchmark: String,
    pub id: String,
    pub change: Change,
    pub prompt: String,
    /// The right option's letter.
    pub target: char,
    pub before: Said,
    pub after: Said,
}

#[derive(Debug, Serialize)]
pub struct Said {
    pub completion: String,
    /// The letter that was read from it.
    pub answer: Option<char>,
    pub correct: bool,
    pub unfinished: bool,
}

/// What became of a question from one model to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    BecameRight,
    BecameWrong,
    StayedRight,
    StayedWrong,
}

impl Change {
    pub const ALL: [Change; 4] = [Change::BecameRight, Change::BecameWrong, Change::StayedRight, Change::StayedWrong];

    fn of(before: &Sample, after: &Sample) -> Change {
        match (before.correct, after.correct) {
            (false, true) => Change::BecameRight,
            (true, false) => Change::BecameWrong,
            (true, true) => Change::StayedRight,
            (false, false) => Change::StayedWrong,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Change::BecameRight => "became right",
            Change::BecameWrong => "became wrong",
            Change::StayedRight => "stayed right",
            Change::StayedWrong => "stayed wrong",
        }
    }
}

/// A question by its benchmark and id.
type Question<'a> = (&'a str, &'a str);

/// As many as wanted; nothing where fewer than two of the models wrote something.
pub fn choose(samples: &[Sample], models: &[String], wanted: usize) -> Option<Examples> {
    let written = |model: &&String| samples.iter().any(|sample| sample.label == **model && sample.completion.is_some());
    let mut models = models.iter().filter(written);
    let (before, after) = (models.next()?, models.next_back()?);
    let (first, last) = (of_model(samples, before), of_model(samples, after));
    let mut pairs: Vec<(Change, Question, &Sample, &Sample)> = Vec::new();
    for (question, &sample) in &first {
        pairs.extend(last.get(question).map(|other| (Change::of(sample, other), *question, sample, *other)));
    }
    let mut counts: BTreeMap<Change, usize> = Change::ALL.into_iter().map(|change| (change, 0)).collect();
    pairs.iter().for_each(|(change, ..)| *counts.entry(*change).or_default() += 1);
    pairs.sort_by_cached_key(|(change, question, ..)| (*change, *row_digest(&json!(question)).as_bytes()));
    let of_change = pairs.chunk_by(|one, other| one.0 == other.0);
    let mut in_turn: Vec<_> = of_change.flat_map(|pairs| pairs.iter().enumerate()).collect();
    in_turn.sort_by_key(|(turn, _)| *turn);
    let shown = in_turn.into_iter().take(wanted).map(|(_, &(change, (benchmark, id), one, other))| Example {
        benchmark: benchmark.into(),
        id: id.into(),
        change,
        prompt: one.prompt.clone().unwrap_or_default(),
        target: letter(one.target),
        before: said(one),
        after: said(other),
    });
    Some(Examples { before: before.clone(), after: after.clone(), counts, shown: shown.collect() })
}

/// A model's first text to each question, of its first seed.
fn of_model<'a>(samples: &'a [Sample], model: &str) -> BTreeMap<Question<'a>, &'a Sample> {
    let group = groups(samples, &[model]).first().copied().unwrap_or_default();
    let own = samples.iter().filter(|sample| sample.label == model && sample.group == group && sample.generation == 0);
    let written = own.filter(|sample| sample.completion.is_some());
    written.map(|sample| ((sample.benchmark.as_str(), sample.id.as_str()), sample)).collect()
}

fn said(sample: &Sample) -> Said {
    Said {
        completion: sample.completion.clone().unwrap_or_default(),
        answer: sample.answer.map(letter),
        correct: sample.correct,
        unfinished: sample.unfinished,
    }
}

fn letter(option: usize) -> char {
    ('A'..='Z').nth(option).unwrap_or('?')
}
