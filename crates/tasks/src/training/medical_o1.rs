//! The two sets of HuatuoGPT-o1 (Chen et al. 2024, arXiv:2412.18925): open questions with reasoning and response
//! (`medical-o1-reasoning-SFT`), and with an answer to be verified (`medical-o1-verifiable-problem`). In the first the
//! response is also what a judge compares other responses with.

use serde_json::Value;

use super::{RowError, TrainingRow, text};

pub(super) fn read_reasoning(row: &Value) -> Result<TrainingRow, RowError> {
    let response = text(row, "Response")?;
    Ok(TrainingRow {
        question: text(row, "Question")?.trim().into(),
        reasoning: Some(text(row, "Complex_CoT")?.into()),
        response: Some(response.into()),
        reference: Some(response.trim().into()),
        ..TrainingRow::default()
    })
}

pub(super) fn read_verifiable(row: &Value) -> Result<TrainingRow, RowError> {
    let answer = text(row, "Ground-True Answer")?.trim();
    Ok(TrainingRow {
        question: text(row, "Open-ended Verifiable Question")?.trim().into(),
        answer: Some(answer.into()),
        reference: Some(answer.into()),
        ..TrainingRow::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn both_layouts() {
        let row = json!({"Question": "Why?", "Complex_CoT": "Hm, so.", "Response": "Because."});
        let read = read_reasoning(&row).unwrap();
        assert_eq!((read.prompt().as_str(), read.answer.clone()), ("Why?", None));
        assert_eq!(read.completion().as_deref(), Some("<think>\nHm, so.\n</think>\n\nBecause."));
        assert_eq!(read.item("medical_o1_reasoning", "7").unwrap().reference(), "Because.");
        let row = json!({"Open-ended Verifiable Question": "Which drug?", "Ground-True Answer": " Heparin "});
        let read = read_verifiable(&row).unwrap();
        assert_eq!((read.prompt().as_str(), read.answer.as_deref()), ("Which drug?", Some("Heparin")));
        let item = read.item("medical_o1_verifiable", "7").unwrap();
        assert_eq!((item.open, item.reference().as_str(), item.question.as_str()), (true, "Heparin", "Which drug?"));
        let error = read_verifiable(&json!({"Open-ended Verifiable Question": "?"})).unwrap_err();
        assert_eq!(error, RowError::Missing("Ground-True Answer".into()));
    }
}
