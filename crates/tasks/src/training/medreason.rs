//! MedReason (Wu et al. 2025, arXiv:2504.00993): `dataset_name`, `id_in_dataset`, `question`, `options` (a text of
//! lettered lines, empty for open questions), `answer` (an option's words, often with an explanation), `reasoning`.
//!
//! The answer names its option by words, so the label is the option that the answer begins with, the longest where
//! one begins another; where none does, the row has no label.

use serde_json::Value;

use super::{RowError, TrainingRow, optional_text, options, text};

pub(super) fn read(row: &Value) -> Result<TrainingRow, RowError> {
    let answer = text(row, "answer")?.trim();
    let (_, options) = options::split(optional_text(row, "options")?.unwrap_or_default());
    let number = row.get("id_in_dataset").filter(|id| id.is_number() || id.is_string());
    let id = number.map(|id| id.as_str().map_or_else(|| id.to_string(), String::from));
    Ok(TrainingRow {
        id,
        source: optional_text(row, "dataset_name")?.map(String::from),
        question: text(row, "question")?.trim().into(),
        label: begun(answer, &options),
        options,
        reasoning: Some(text(row, "reasoning")?.into()),
        response: Some(answer.into()),
        answer: Some(answer.into()),
        reference: None,
    })
}

/// The option that a text begins with, as whole words.
fn begun(answer: &str, options: &[String]) -> Option<usize> {
    let answer = answer.to_lowercase();
    let begins = |option: &str| {
        let option = option.trim().trim_end_matches('.').to_lowercase();
        let rest = answer.strip_prefix(&option).filter(|_| !option.is_empty())?;
        (!rest.starts_with(char::is_alphanumeric)).then_some(option.len())
    };
    let found = options.iter().enumerate().filter_map(|(index, option)| Some((begins(option)?, index)));
    found.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn row() -> Value {
        json!({
            "dataset_name": "medmcqa", "id_in_dataset": 7131, "question": "Which vitamin dissolves in fat?",
            "options": "Answer Choices:\nA. Vitamin B\nB. Vitamin B12\nC. Vitamin D\nD. Vitamin",
            "answer": "Vitamin D. Explanation: it is stored in fat.", "reasoning": "Finding paths:\n1. fat -> D",
        })
    }

    #[test]
    fn the_option_is_told_by_its_words() {
        let read = read(&row()).unwrap();
        assert_eq!((read.id.as_deref(), read.source.as_deref(), read.label), (Some("7131"), Some("medmcqa"), Some(2)));
        assert!(read.completion().unwrap().starts_with("<think>\nFinding paths:\n1. fat -> D\n</think>\n\nVitamin D."));
        assert_eq!(read.item("medreason", "1").unwrap().answer_label(), 'C');
        let label = |answer: &str| begun(answer, &read.options);
        assert_eq!((label("VITAMIN B12"), label("Vitamin B"), label("Vitamin K")), (Some(1), Some(0), Some(3)));
        assert_eq!((label("Vitamins"), label("It is vitamin D")), (None, None));
    }

    #[test]
    fn open_questions_and_mistakes() {
        let mut open = row();
        open["options"] = json!("");
        let read_open = read(&open).unwrap();
        assert_eq!((read_open.options.len(), read_open.label), (0, None));
        open["reasoning"] = json!(["x"]);
        assert_eq!(read(&open).unwrap_err().to_string(), "field `reasoning` is a list, not a text");
        open["answer"] = json!(null);
        assert_eq!(read(&open).unwrap_err().to_string(), "field `answer` is missing or null");
    }
}
