//! PubMedQA (Jin et al. 2019, arXiv:1909.06146), the questions with expert labels: does an abstract answer its
//! own title with yes, no or maybe?
//!
//! The abstract's conclusion, `LONG_ANSWER` in the file, says the answer: it is not even read.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Benchmark, Prompt, strict_turn};
use crate::read::distinct;
use crate::{Item, ReadError};

const OPTIONS: [&str; 3] = ["yes", "no", "maybe"];

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "pubmedqa",
    title: "PubMedQA (expert labels)",
    options: OPTIONS.len(),
    synthetic: false,
    files: &["pubmedqa_pqal_1000.json", "ori_pqal.json", "pubmedqa_test500.json", "test_set.json"],
    read,
    prompt,
    ask: strict_turn,
};

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "QUESTION")]
    question: String,
    #[serde(rename = "CONTEXTS")]
    contexts: Vec<String>,
    final_decision: String,
}

/// The official layout: one object keyed by PubMed id, in the order of the file.
fn read(text: &str) -> Result<Vec<Item>, ReadError> {
    let entries: Map<String, Value> = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| ReadError::File(error.to_string()))?;
    let items = entries
        .into_iter()
        .map(|(key, value)| item(&key, value).map_err(|message| ReadError::Entry { key, message }))
        .collect::<Result<Vec<_>, _>>()?;
    distinct(items)
}

fn item(id: &str, value: Value) -> Result<Item, String> {
    let entry: Entry = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let answer = OPTIONS.iter().position(|option| *option == entry.final_decision);
    let answer =
        answer.ok_or_else(|| format!("`final_decision` is `{}`, not yes, no or maybe", entry.final_decision))?;
    let item = Item {
        id: id.into(),
        benchmark: "pubmedqa".into(),
        question: entry.question,
        context: Some(entry.contexts.join("\n")),
        options: OPTIONS.map(String::from).into(),
        answer,
        cluster: id.into(),
    };
    item.checked()
}

/// lm-eval's `pubmedqa`: continued by the answer's word, not by a letter.
pub(super) fn prompt(item: &Item) -> Prompt {
    let context = item.context.as_deref().unwrap_or_default();
    Prompt {
        context: format!("Abstract: {context}\nQuestion: {}\nAnswer:", item.question),
        continuations: item.options.iter().map(|option| format!(" {option}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const FILE: &str = r#"{
        "31": {"QUESTION": "Does it help?", "CONTEXTS": ["We asked.", "It did."], "LABELS": ["AIM", "RESULTS"],
               "final_decision": "maybe", "LONG_ANSWER": "Perhaps it helps."},
        "4": {"QUESTION": "Does it harm?", "CONTEXTS": [], "final_decision": "no", "LONG_ANSWER": "It is harmless."}
    }"#;

    #[test]
    fn the_published_layout_without_its_conclusion() {
        let items = read(FILE).unwrap();
        assert_eq!(items.iter().map(|item| (item.id.as_str(), item.answer)).collect::<Vec<_>>(), [("31", 2), ("4", 1)]);
        assert_eq!(items[0].context.as_deref(), Some("We asked.\nIt did."));
        assert!(!format!("{items:?}").contains("Perhaps") && !BENCHMARK.ask(&items[0]).contains("Perhaps"));
    }

    #[test]
    fn mistakes_name_their_entry() {
        let error = read(&FILE.replace("\"no\"", "\"never\"")).unwrap_err().to_string();
        assert_eq!(error, "entry `4`: `final_decision` is `never`, not yes, no or maybe");
        let error = read(&FILE.replace("\"CONTEXTS\": []", "\"x\": 1")).unwrap_err().to_string();
        assert_eq!(error, "entry `4`: missing field `CONTEXTS`");
        assert!(read("[]").is_err());
    }
}
