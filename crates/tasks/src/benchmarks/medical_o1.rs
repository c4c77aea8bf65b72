//! The open questions of HuatuoGPT-o1 (Chen et al. 2024, arXiv:2412.18925; `medical-o1-verifiable-problem`), each with an
//! answer in words that others are compared with. The set was published for training: what it says of a model says so
//! only if its rows were held out.
//!
//! There are no options to choose from, so log-likelihood tells nothing where the reference alone is known.

use serde_json::Value;

use super::{Benchmark, Prompt};
use crate::read::distinct;
use crate::training::Layout;
use crate::{Item, ReadError};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "medical_o1_verifiable",
    title: "medical-o1 (open questions)",
    options: 1,
    synthetic: false,
    files: &["medical_o1_verifiable_problem.json"],
    read,
    prompt,
    ask: |item| item.question.clone(),
};

/// A list of rows.
fn read(text: &str) -> Result<Vec<Item>, ReadError> {
    let rows: Vec<Value> = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| ReadError::File(format!("this is no list of rows: {error}")))?;
    let items = rows.iter().enumerate().map(|(at, row)| {
        let error = |message: String| ReadError::Entry { key: at.to_string(), message };
        let read = Layout::MedicalO1Verifiable.read(row).map_err(|mistake| error(mistake.to_string()))?;
        read.item(BENCHMARK.name, &format!("{at:05}")).ok_or_else(|| error("it has no answer".into()))
    });
    distinct(items.collect::<Result<_, _>>()?)
}

pub(super) fn prompt(item: &Item) -> Prompt {
    Prompt {
        context: format!("Question: {}\nAnswer:", item.question),
        continuations: item.options.iter().map(|option| format!(" {option}")).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rows_are_asked_openly() {
        let text = r#"[{"Open-ended Verifiable Question": "Which drug?", "Ground-True Answer": "Heparin"},
            {"Open-ended Verifiable Question": "哪种药？", "Ground-True Answer": "肝素"}]"#;
        let items = BENCHMARK.read(text).unwrap();
        assert_eq!((items[1].id.as_str(), items[1].open, items[1].reference().as_str()), ("00001", true, "肝素"));
        assert_eq!(BENCHMARK.ask(&items[0]), "Which drug?");
        assert_eq!(BENCHMARK.prompt(&items[0]).continuations, [" Heparin"]);
        let error = BENCHMARK.read(r#"[{"Open-ended Verifiable Question": "?"}]"#).unwrap_err();
        assert_eq!(error.to_string(), "entry `0`: field `Ground-True Answer` is missing or null");
    }
}
