//! MMLU-Pro (Wang et al. 2024, arXiv:2406.01574), its categories health and biology: up to ten options.
//!
//! Published results are from generation with five worked examples before the question; [`crate::Benchmark::ask`]
//! gives lm-eval's wording without the examples.

use serde::Deserialize;

use super::{Benchmark, Prompt, lettered};
use crate::item::label;
use crate::read::{convert, json_lines};
use crate::{Item, ReadError};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "mmlu_pro",
    title: "MMLU-Pro (health and biology)",
    options: 10,
    synthetic: false,
    files: &["mmlu_pro_health_biology.jsonl", "mmlu_pro_health.jsonl", "mmlu_pro_biology.jsonl"],
    read,
    prompt,
    ask,
};

#[derive(Deserialize)]
struct Row {
    question_id: u64,
    question: String,
    options: Vec<String>,
    answer: String,
    answer_index: usize,
}

fn read(text: &str) -> Result<Vec<Item>, ReadError> {
    convert(json_lines(text)?, |_, row| item(row))
}

/// Drops the filler options `N/A`, so that the right option may move forward.
fn item(row: Row) -> Result<Item, String> {
    if row.answer != label(row.answer_index).to_string() {
        return Err(format!("`answer` is `{}`, `answer_index` is {}", row.answer, row.answer_index));
    }
    let keep = |option: &&String| option.trim() != "N/A";
    let right = row.options.get(row.answer_index).filter(keep);
    right.ok_or_else(|| format!("the answer `{}` is no option", row.answer))?;
    let id = row.question_id.to_string();
    Ok(Item {
        cluster: id.clone(),
        id,
        benchmark: "mmlu_pro".into(),
        question: row.question,
        context: None,
        open: false,
        answer: row.options[..row.answer_index].iter().filter(keep).count(),
        options: row.options.iter().filter(keep).map(|option| option.trim().to_string()).collect(),
    })
}

fn stem(item: &Item) -> String {
    format!("Question:\n{}\nOptions:\n{}\nAnswer:", item.question, item.lettered())
}

/// Ours: lm-eval has no log-likelihood form of this benchmark.
pub(super) fn prompt(item: &Item) -> Prompt {
    lettered(item, stem(item))
}

/// lm-eval's `mmlu_pro`, without examples and without the category's name.
fn ask(item: &Item) -> String {
    format!(
        "The following are multiple choice questions (with answers). Think step by step and then finish your answer \
         with \"the answer is (X)\" where X is the correct letter choice.\n{} Let's think step by step.",
        stem(item)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ROW: &str = r#"{"question_id": 5, "question": "Which?", "options": ["N/A", " a", "b ", "N/A", "c"],
        "answer": "E", "answer_index": 4, "category": "health", "src": "x"}"#;

    #[test]
    fn fillers_go_and_the_answer_stays_right() {
        let items = read(&ROW.replace('\n', " ")).unwrap();
        assert_eq!(items[0].options, ["a", "b", "c"]);
        assert_eq!((items[0].id.as_str(), items[0].answer), ("5", 2));
    }

    #[test]
    fn an_answer_that_contradicts_itself_or_is_a_filler_is_refused() {
        let row = ROW.replace('\n', " ");
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(error(&row.replace("\"E\"", "\"B\"")), "line 1: `answer` is `B`, `answer_index` is 4");
        let filler = row.replace("\"E\"", "\"A\"").replace(": 4", ": 0");
        assert_eq!(error(&filler), "line 1: the answer `A` is no option");
        let beyond = row.replace("\"E\"", "\"J\"").replace(": 4", ": 9");
        assert_eq!(error(&beyond), "line 1: the answer `J` is no option");
    }
}
