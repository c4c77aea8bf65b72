//! Gazal-R1's own sets (arXiv:2506.21594): `structured_medical` (`case`, `reasoning`, `answer`), and `medical_grpo`
//! (`question` with its options, `answer` a letter). Further columns are passed over.

use serde_json::Value;

use super::{RowError, TrainingRow, options, text};
use crate::item::label;

pub(super) fn read_structured(row: &Value) -> Result<TrainingRow, RowError> {
    let answer = text(row, "answer")?;
    Ok(TrainingRow {
        question: text(row, "case")?.trim().into(),
        reasoning: Some(text(row, "reasoning")?.into()),
        response: Some(answer.into()),
        answer: Some(answer.trim().into()),
        ..TrainingRow::default()
    })
}

pub(super) fn read_grpo(row: &Value) -> Result<TrainingRow, RowError> {
    let (question, options) = options::split(text(row, "question")?);
    let answer = text(row, "answer")?.trim();
    let index = (0..26).find(|&index| label(index).to_string() == answer);
    let value = |why: &str| RowError::Value { field: "answer".into(), value: answer.into(), why: why.into() };
    let index = index.ok_or_else(|| value("which is no letter of an option"))?;
    if !options.is_empty() && index >= options.len() {
        return Err(value(&format!("but there are {} options", options.len())));
    }
    let label = (!options.is_empty()).then_some(index);
    Ok(TrainingRow { question, options, label, answer: Some(answer.into()), ..TrainingRow::default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn cases_with_reasoning() {
        let read = read_structured(&json!({"case": "A man.", "reasoning": "Step 1: look", "answer": "Rest."})).unwrap();
        assert_eq!(read.completion().as_deref(), Some("<think>\nStep 1: look\n</think>\n\nRest."));
    }

    #[test]
    fn questions_with_letters() {
        let row = |answer: &str| json!({"question": "Which?\nA. a\nB. b", "answer": answer, "more": 1});
        let read = read_grpo(&row(" B")).unwrap();
        assert_eq!((read.question.as_str(), read.label, read.answer.as_deref()), ("Which?", Some(1), Some("B")));
        let error = |answer| read_grpo(&row(answer)).unwrap_err().to_string();
        assert_eq!(error("D"), "field `answer` is `D`, but there are 2 options");
        assert_eq!(error("b"), "field `answer` is `b`, which is no letter of an option");
        let bare = read_grpo(&json!({"question": "Which?", "answer": "C"})).unwrap();
        assert_eq!((bare.label, bare.answer.as_deref()), (None, Some("C")));
    }
}
