//! MedQA (Jin et al. 2020, arXiv:2009.13081), the USMLE questions with four options: clinical vignettes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Benchmark, Prompt, lettered, strict_turn};
use crate::read::{convert, json_lines};
use crate::{Item, ReadError};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "medqa",
    title: "MedQA (USMLE, 4 options)",
    options: 4,
    synthetic: false,
    files: &["medqa_usmle_4opt_test.jsonl", "phrases_no_exclude_test.jsonl"],
    read,
    prompt,
    ask: strict_turn,
};

/// A line of the publishers' `*.jsonl`.
#[derive(Deserialize)]
struct Row {
    question: String,
    options: BTreeMap<String, String>,
    answer_idx: String,
}

fn read(text: &str) -> Result<Vec<Item>, ReadError> {
    convert(json_lines(text)?, item)
}

/// The file has no ids, so the line's number is one.
fn item(line: usize, row: Row) -> Result<Item, String> {
    let id = format!("medqa-{line:04}");
    let letters: String = row.options.keys().map(String::as_str).collect();
    if !"ABCDEFGHIJ".starts_with(&letters) {
        return Err(format!("the options are lettered `{letters}`, not A, B, …"));
    }
    let answer = row.options.keys().position(|letter| *letter == row.answer_idx);
    let answer = answer.ok_or_else(|| format!("`answer_idx` is `{}`, which is no option", row.answer_idx))?;
    let options = row.options.into_values().collect();
    Ok(Item {
        cluster: id.clone(),
        id,
        benchmark: "medqa".into(),
        question: row.question,
        context: None,
        open: false,
        options,
        answer,
    })
}

/// lm-eval's `medqa_4options`.
pub(super) fn prompt(item: &Item) -> Prompt {
    lettered(item, format!("Question: {}\n{}\nAnswer:", item.question, item.lettered()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ROW: &str = r#"{"question": "A child coughs. Why?", "answer": "Croup", "options": {"B": "Asthma", "A": "Croup",
        "C": "Cold", "D": "Dust"}, "meta_info": "step1", "answer_idx": "B", "metamap_phrases": ["child"]}"#;

    #[test]
    fn the_published_layout() {
        let items = read(&format!("\n{}\n", ROW.replace('\n', " "))).unwrap();
        let [item] = &items[..] else { unreachable!("one row") };
        assert_eq!((item.id.as_str(), item.cluster.as_str(), item.answer), ("medqa-0002", "medqa-0002", 1));
        assert_eq!(item.options, ["Croup", "Asthma", "Cold", "Dust"]);
    }

    #[test]
    fn answers_and_letters_are_checked() {
        let row = ROW.replace('\n', " ");
        let error = |text: String| read(&text).unwrap_err().to_string();
        assert_eq!(error(row.replace(": \"B\",", ": \"E\",")), "line 1: `answer_idx` is `E`, which is no option");
        assert_eq!(error(row.replace("\"C\":", "\"X\":")), "line 1: the options are lettered `ABDX`, not A, B, …");
    }
}
