//! MedMCQA (Pal et al. 2022, arXiv:2203.14371): short factual questions of Indian entrance examinations. Its
//! validation split serves as the test, since the labels of the test split are not published.
//!
//! The right option `cop` counts from 1 in the publishers' files and from 0 on the Hugging Face hub. A file says
//! which by its range: a 4 is only possible from 1, a 0 only from 0. Where neither occurs, nothing is guessed.

use serde::Deserialize;

use super::{Benchmark, Prompt, lettered, strict_turn};
use crate::read::{convert, json_lines};
use crate::{Item, ReadError};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "medmcqa",
    title: "MedMCQA (validation)",
    options: 4,
    synthetic: false,
    files: &["medmcqa_dev.jsonl", "medmcqa_validation.jsonl", "dev.json"],
    read,
    prompt,
    ask: strict_turn,
};

#[derive(Deserialize)]
struct Row {
    id: String,
    question: String,
    opa: String,
    opb: String,
    opc: String,
    opd: String,
    cop: i64,
}

fn read(text: &str) -> Result<Vec<Item>, ReadError> {
    let rows = json_lines::<Row>(text)?;
    let first = first_cop(&rows)?;
    convert(rows, |_, row| item(row, first))
}

/// The `cop` of option A in this file.
fn first_cop(rows: &[(usize, Row)]) -> Result<i64, ReadError> {
    let cops = rows.iter().map(|(line, row)| (row.cop, *line));
    let (Some((least, line)), Some((most, _))) = (cops.clone().min(), cops.max()) else {
        return Err(ReadError::File("there is no question in it".into()));
    };
    match (least, most) {
        (..0, _) => Err(ReadError::Line { line, message: format!("`cop` is {least}: the answer is not published") }),
        (0, ..4) => Ok(0),
        (1.., 4) => Ok(1),
        (1.., ..4) => Err(ReadError::File(format!(
            "`cop` is between {least} and {most}, so it is not certain whether it counts from 0 (then a 0 would occur) \
             or from 1 (then a 4 would); pass a file with more questions"
        ))),
        _ => Err(ReadError::File(format!("`cop` is between {least} and {most}, and four options cannot be meant"))),
    }
}

fn item(row: Row, first: i64) -> Result<Item, String> {
    Ok(Item {
        cluster: row.id.clone(),
        id: row.id,
        benchmark: "medmcqa".into(),
        question: row.question,
        context: None,
        open: false,
        options: vec![row.opa, row.opb, row.opc, row.opd],
        answer: usize::try_from(row.cop - first).map_err(|error| error.to_string())?,
    })
}

/// lm-eval's `medmcqa`.
pub(super) fn prompt(item: &Item) -> Prompt {
    lettered(item, format!("Question: {}\nChoices:\n{}\nAnswer:", item.question, item.lettered()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(cops: &[i64]) -> String {
        let row = |(index, cop): (usize, &i64)| {
            format!(
                r#"{{"question":"q","exp":null,"cop":{cop},"opa":"a","opb":"b","opc":"c","opd":"d","id":"{index}","choice_type":"multi"}}"#
            )
        };
        cops.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
    }

    fn answers(cops: &[i64]) -> Result<Vec<usize>, String> {
        let items = read(&file(cops)).map_err(|error| error.to_string())?;
        Ok(items.iter().map(|item| item.answer).collect())
    }

    #[test]
    fn the_range_says_where_cop_begins() {
        assert_eq!(answers(&[1, 4, 2]).unwrap(), [0, 3, 1]);
        assert_eq!(answers(&[0, 3, 2]).unwrap(), [0, 3, 2]);
        assert_eq!(answers(&[0]).unwrap(), [0]);
        assert_eq!(answers(&[4]).unwrap(), [3]);
    }

    #[test]
    fn an_ambiguous_or_impossible_range_is_an_error() {
        assert!(answers(&[1, 3]).unwrap_err().contains("not certain whether it counts from 0"));
        assert!(answers(&[0, 4]).unwrap_err().contains("between 0 and 4"));
        assert!(answers(&[1, 5]).unwrap_err().contains("between 1 and 5"));
        assert!(answers(&[0, -1]).unwrap_err().starts_with("line 2: `cop` is -1: the answer is not published"));
        assert!(answers(&[]).unwrap_err().contains("no question"));
    }
}
