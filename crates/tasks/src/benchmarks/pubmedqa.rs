//! PubMedQA (Jin et al. 2019, arXiv:1909.06146), the questions with expert labels: does an abstract answer its
//! own title with yes, no or maybe?
//!
//! The publishers' file is one object keyed by PubMed id; the Hugging Face hub has a row for each (`pubid`, `context`
//! with its `contexts`). The abstract's conclusion, `LONG_ANSWER` or `long_answer`, says the answer: it is not even
//! read.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Benchmark, Prompt, strict_turn};
use crate::read::{convert, distinct, json_lines};
use crate::{Item, ReadError};

const OPTIONS: [&str; 3] = ["yes", "no", "maybe"];

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "pubmedqa",
    title: "PubMedQA (expert labels)",
    options: OPTIONS.len(),
    synthetic: false,
    files: &["pubmedqa_pqal_1000.json", "ori_pqal.json", "pqa_labeled.jsonl", "pubmedqa_test500.json", "test_set.json"],
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

/// A row of the hub's.
#[derive(Deserialize)]
struct Row {
    pubid: u64,
    question: String,
    context: Context,
    final_decision: String,
}

#[derive(Deserialize)]
struct Context {
    contexts: Vec<String>,
}

/// Either layout. Only rows have a `pubid`; a publishers' file of one question is an object too.
fn read(text: &str) -> Result<Vec<Item>, ReadError> {
    let first = text.trim_start_matches('\u{feff}').lines().find(|line| !line.trim().is_empty());
    let row = first.and_then(|line| serde_json::from_str::<Value>(line).ok());
    if row.is_some_and(|row| row.get("pubid").is_some()) {
        return convert(json_lines(text)?, |_, Row { pubid, question, context, final_decision }| {
            item(&pubid.to_string(), Entry { question, contexts: context.contexts, final_decision })
        });
    }
    read_keyed(text)
}

/// The publishers' layout, in the order of the file.
fn read_keyed(text: &str) -> Result<Vec<Item>, ReadError> {
    let entries: Map<String, Value> = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| ReadError::File(error.to_string()))?;
    let items = entries
        .into_iter()
        .map(|(key, value)| {
            let entry = serde_json::from_value(value).map_err(|error| error.to_string());
            entry.and_then(|entry| item(&key, entry)).map_err(|message| ReadError::Entry { key, message })
        })
        .collect::<Result<Vec<_>, _>>()?;
    distinct(items)
}

fn item(id: &str, entry: Entry) -> Result<Item, String> {
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
        open: false,
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
    fn the_hub_s_rows() {
        let row = r#"{"pubid": 31, "question": "Does it help?", "context": {"contexts": ["We asked.", "It did."],
            "labels": ["AIM", "RESULTS"]}, "long_answer": "Perhaps it helps.", "final_decision": "maybe"}"#
            .replace('\n', " ");
        assert_eq!(read(&row).unwrap(), read(FILE).unwrap()[..1]);
        let two = format!("\n{row}\n{}", row.replace("31", "32").replace("\"contexts\"", "\"context\""));
        assert!(read(&two).unwrap_err().to_string().starts_with("line 3: missing field `contexts`"));
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
