//! UltraMedical (Zhang et al. 2024, arXiv:2406.03949): `id` (`"MedQA,17"`), `type` (exam, literature, open-ended),
//! `conversations` of a human and a model, `answer` (a letter for questions with options), `score`.
//!
//! The model's turn reasons and concludes in one text, so it is the response and there is no reasoning apart.

use serde_json::Value;

use super::{RowError, TrainingRow, optional_text, options, text, type_name};
use crate::item::label;

pub(super) fn read(row: &Value) -> Result<TrainingRow, RowError> {
    let human =
        turn(row, &["human", "user"])?.ok_or_else(|| RowError::Missing("conversations[].from = human".into()))?;
    let (question, options) = options::split(human);
    let answer = optional_text(row, "answer")?.map(str::trim).filter(|answer| !answer.is_empty() && *answer != "None");
    let id = optional_text(row, "id")?;
    Ok(TrainingRow {
        id: id.map(String::from),
        source: id.and_then(|id| Some(id.split_once(',')?.0.to_string())),
        label: answer
            .filter(|_| !options.is_empty())
            .map(|answer| letter(answer, options.len()))
            .transpose()?
            .flatten(),
        question,
        options,
        reasoning: None,
        response: turn(row, &["gpt", "assistant"])?.map(String::from),
        answer: answer.map(String::from),
        reference: None,
    })
}

/// What the first of these speakers says.
fn turn<'a>(row: &'a Value, speakers: &[&str]) -> Result<Option<&'a str>, RowError> {
    let field = "conversations";
    let turns = match row.get(field) {
        None | Some(Value::Null) => return Err(RowError::Missing(field.into())),
        Some(Value::Array(turns)) => turns,
        Some(other) => {
            return Err(RowError::Type { field: field.into(), expected: "a list", found: type_name(other) });
        }
    };
    let place = turns.iter().position(|turn| turn.get("from").is_some_and(|from| speakers.iter().any(|s| from == s)));
    let said =
        |place: usize| text(&turns[place], "value").map_err(|error| within(error, &format!("{field}[{place}].")));
    place.map(said).transpose()
}

/// The error with the field's place.
fn within(error: RowError, place: &str) -> RowError {
    match error {
        RowError::Missing(field) => RowError::Missing(format!("{place}{field}")),
        RowError::Empty(field) => RowError::Empty(format!("{place}{field}")),
        RowError::Type { field, expected, found } => {
            RowError::Type { field: format!("{place}{field}"), expected, found }
        }
        RowError::Value { field, value, why } => RowError::Value { field: format!("{place}{field}"), value, why },
    }
}

/// The index of a letter; nothing for words, and a letter that no option has is an error.
fn letter(answer: &str, options: usize) -> Result<Option<usize>, RowError> {
    let mut letters = answer.chars();
    let (Some(first), None) = (letters.next(), letters.next()) else { return Ok(None) };
    match (0..26).find(|&index| label(index) == first) {
        Some(index) if index >= options => {
            let why = format!("but there are {options} options");
            Err(RowError::Value { field: "answer".into(), value: answer.into(), why })
        }
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn row() -> Value {
        json!({
            "id": "MedQA,17", "type": "Exam", "score": "4.5", "answer": "B",
            "conversations": [
                {"from": "human", "value": "A child coughs. Why?\n\nA. Asthma\nB. Croup"},
                {"from": "gpt", "value": "It barks. So, the answer is B."},
            ],
        })
    }

    #[test]
    fn a_question_with_options() {
        let read = read(&row()).unwrap();
        assert_eq!((read.id.as_deref(), read.source.as_deref()), (Some("MedQA,17"), Some("MedQA")));
        assert_eq!((read.question.as_str(), read.label), ("A child coughs. Why?", Some(1)));
        assert_eq!(read.prompt(), row()["conversations"][0]["value"].as_str().unwrap());
        assert_eq!(read.completion().as_deref(), Some("It barks. So, the answer is B."));
    }

    #[test]
    fn an_open_question() {
        let mut open = row();
        open["answer"] = json!(null);
        open["conversations"][0]["value"] = json!("Explain croup.");
        let read = read(&open).unwrap();
        assert_eq!((read.label, read.answer.clone(), read.options.len()), (None, None, 0));
        assert_eq!(read.item("x", "1"), None);
    }

    #[test]
    fn mistakes_name_their_field() {
        let error = |change: fn(&mut Value)| {
            let mut changed = row();
            change(&mut changed);
            read(&changed).unwrap_err().to_string()
        };
        assert_eq!(error(|row| row["answer"] = json!("D")), "field `answer` is `D`, but there are 2 options");
        assert_eq!(error(|row| row["answer"] = json!(1)), "field `answer` is a number, not a text");
        assert_eq!(error(|row| row["conversations"] = json!("x")), "field `conversations` is a text, not a list");
        assert_eq!(
            error(|row| row["conversations"][1]["value"] = json!(3)),
            "field `conversations[1].value` is a number, not a text"
        );
        assert_eq!(
            error(|row| row["conversations"][0]["value"] = json!(" ")),
            "field `conversations[0].value` is empty"
        );
        assert!(error(|row| row["conversations"] = json!([])).contains("from = human"));
    }
}
