//! Rows of published training sets: a question, how to reason about it, its answer.
//!
//! One layout each, told by its fields; a stage asks [`Layout::detect`] once and [`Layout::read`] for every row. What
//! has options and a right one is also an [`Item`], so that it can be asked and rewarded like a benchmark; so is an open
//! question with an answer in words, for a judge.

mod medical_o1;
mod medreason;
mod options;
mod tachyhealth;
mod ultramedical;

use serde_json::Value;

use crate::Item;

/// A row whatever set it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainingRow {
    /// The row's own, where its set has ids.
    pub id: Option<String>,
    /// The set that the question was taken from, as the row names it.
    pub source: Option<String>,
    /// Without options.
    pub question: String,
    pub options: Vec<String>,
    /// The index of the right option, where it can be told.
    pub label: Option<usize>,
    /// What is thought before the response, where the set parts them.
    pub reasoning: Option<String>,
    /// What is said to the user.
    pub response: Option<String>,
    /// What a completion is checked against: a letter or words.
    pub answer: Option<String>,
    /// What a judge compares an answer in words with, of a question without options.
    pub reference: Option<String>,
}

impl TrainingRow {
    /// The user's turn: the question and its lettered options.
    pub fn prompt(&self) -> String {
        match self.item("", "0").filter(|item| !item.open) {
            Some(item) => format!("{}\n\n{}", self.question, item.lettered()),
            None if self.options.is_empty() => self.question.clone(),
            None => format!("{}\n\n{}", self.question, self.options.join("\n")),
        }
    }

    /// The assistant's turn: the reasoning between think tags, then the response, or the answer where there is no
    /// response. Nothing where there is neither.
    pub fn completion(&self) -> Option<String> {
        let said = self.response.as_ref().or(self.answer.as_ref())?;
        let thought = self.reasoning.as_ref().map(|reasoning| format!("<think>\n{}\n</think>\n\n", reasoning.trim()));
        Some(format!("{}{}", thought.unwrap_or_default(), said.trim()))
    }

    /// The row as a question with a checkable answer, if one of its options is known to be right, or it has none and a
    /// reference.
    pub fn item(&self, benchmark: &str, id: &str) -> Option<Item> {
        let reference = self.reference.as_ref().filter(|_| self.options.is_empty());
        let (options, answer, open) = match reference {
            Some(reference) => (vec![reference.clone()], 0, true),
            None => (self.options.clone(), self.label?, false),
        };
        let item = Item {
            id: id.into(),
            benchmark: benchmark.into(),
            question: self.question.clone(),
            context: None,
            options,
            answer,
            cluster: id.into(),
            open,
        };
        item.checked().ok()
    }
}

/// A published layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `TsinghuaC3I/UltraMedical`: a conversation of a question with its options and an answer.
    UltraMedical,
    /// `UCSC-VLAA/MedReason`.
    MedReason,
    /// `FreedomIntelligence/medical-o1-reasoning-SFT`.
    MedicalO1Reasoning,
    /// `FreedomIntelligence/medical-o1-verifiable-problem`.
    MedicalO1Verifiable,
    /// `TachyHealth/structured_medical`.
    StructuredMedical,
    /// `TachyHealth/medical_grpo`.
    MedicalGrpo,
}

impl Layout {
    /// Every layout, in the order in which rows are compared with them: one that another contains comes later.
    pub const ALL: [Layout; 6] = [
        Layout::UltraMedical,
        Layout::MedReason,
        Layout::MedicalO1Reasoning,
        Layout::MedicalO1Verifiable,
        Layout::StructuredMedical,
        Layout::MedicalGrpo,
    ];

    /// As a pipeline names it.
    pub fn name(self) -> &'static str {
        match self {
            Layout::UltraMedical => "ultramedical",
            Layout::MedReason => "medreason",
            Layout::MedicalO1Reasoning => "medical_o1_reasoning",
            Layout::MedicalO1Verifiable => "medical_o1_verifiable",
            Layout::StructuredMedical => "structured_medical",
            Layout::MedicalGrpo => "medical_grpo",
        }
    }

    /// The layout of this name.
    pub fn named(name: &str) -> Option<Layout> {
        Layout::ALL.into_iter().find(|layout| layout.name() == name)
    }

    /// The fields without which a row has another layout.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Layout::UltraMedical => &["conversations", "answer"],
            Layout::MedReason => &["question", "reasoning", "answer", "options"],
            Layout::MedicalO1Reasoning => &["Question", "Complex_CoT", "Response"],
            Layout::MedicalO1Verifiable => &["Open-ended Verifiable Question", "Ground-True Answer"],
            Layout::StructuredMedical => &["case", "reasoning", "answer"],
            Layout::MedicalGrpo => &["question", "answer"],
        }
    }

    /// The layout whose fields a row has. A row with `options` of its own is not of `medical_grpo`, whose options are
    /// in the question.
    pub fn detect(row: &Value) -> Option<Layout> {
        let has = |layout: &Layout| layout.fields().iter().all(|field| row.get(field).is_some());
        let found = Layout::ALL.into_iter().find(has)?;
        (found != Layout::MedicalGrpo || row.get("options").is_none()).then_some(found)
    }

    /// Reads a row.
    ///
    /// # Errors
    /// A field that is missing, of another type or contradicts another one.
    pub fn read(self, row: &Value) -> Result<TrainingRow, RowError> {
        match self {
            Layout::UltraMedical => ultramedical::read(row),
            Layout::MedReason => medreason::read(row),
            Layout::MedicalO1Reasoning => medical_o1::read_reasoning(row),
            Layout::MedicalO1Verifiable => medical_o1::read_verifiable(row),
            Layout::StructuredMedical => tachyhealth::read_structured(row),
            Layout::MedicalGrpo => tachyhealth::read_grpo(row),
        }
    }
}

/// Why a row cannot be read. The caller knows its place and puts it in front.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("field `{0}` is missing or null")]
    Missing(String),
    #[error("field `{0}` is empty")]
    Empty(String),
    #[error("field `{field}` is {found}, not {expected}")]
    Type { field: String, expected: &'static str, found: &'static str },
    #[error("field `{field}` is `{value}`, {why}")]
    Value { field: String, value: String, why: String },
}

/// A text that must be there and say something.
fn text<'a>(row: &'a Value, field: &str) -> Result<&'a str, RowError> {
    let text = optional_text(row, field)?.ok_or_else(|| RowError::Missing(field.into()))?;
    if text.trim().is_empty() { Err(RowError::Empty(field.into())) } else { Ok(text) }
}

/// A text that may be missing, null or empty.
fn optional_text<'a>(row: &'a Value, field: &str) -> Result<Option<&'a str>, RowError> {
    match row.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(RowError::Type { field: field.into(), expected: "a text", found: type_name(other) }),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn layouts_are_told_by_their_fields() {
        for layout in Layout::ALL {
            let row: Value = layout.fields().iter().map(|field| (field.to_string(), json!("x"))).collect();
            assert_eq!(Layout::detect(&row), Some(layout));
            assert_eq!(Layout::named(layout.name()), Some(layout));
            for field in layout.fields() {
                let mut lacking = row.clone();
                lacking.as_object_mut().unwrap().remove(*field);
                assert_ne!(Layout::detect(&lacking), Some(layout), "{field}");
            }
        }
        let medqa = json!({"question": "q", "answer": "a", "options": {"A": "a"}, "answer_idx": "A"});
        assert_eq!((Layout::detect(&medqa), Layout::detect(&json!([]))), (None, None));
    }

    #[test]
    fn prompts_and_completions() {
        let mut row = TrainingRow { question: "Which?".into(), answer: Some("B".into()), ..TrainingRow::default() };
        assert_eq!((row.prompt().as_str(), row.completion().as_deref()), ("Which?", Some("B")));
        assert_eq!(row.item("x", "1"), None);
        row.options = vec!["a".into(), "b".into()];
        row.label = Some(1);
        row.reasoning = Some(" It is b.\n".into());
        row.response = Some("The answer is B.".into());
        assert_eq!(row.prompt(), "Which?\n\nA. a\nB. b");
        assert_eq!(row.completion().unwrap(), "<think>\nIt is b.\n</think>\n\nThe answer is B.");
        assert_eq!(row.item("x", "1").unwrap().answer_label(), 'B');
        row.label = Some(2);
        assert_eq!(row.item("x", "1"), None);
        assert_eq!(TrainingRow::default().completion(), None);
    }
}
