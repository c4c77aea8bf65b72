//! MMLU (Hendrycks et al. 2020, arXiv:2009.03300), its six subjects that count as medical: each is a benchmark of
//! its own, as in lm-eval.
//!
//! The publishers' files are CSV without a header: question, four options, the right letter. The Hugging Face hub has
//! rows with `question`, `choices` and the index `answer` (and `subject`, which must be this one where it is there).

use serde::Deserialize;

use super::{Benchmark, Prompt, lettered, strict_turn};
use crate::item::label;
use crate::read::{convert, distinct, json_lines};
use crate::{Item, ReadError};

pub(super) const ANATOMY: Benchmark = Benchmark {
    name: "mmlu_anatomy",
    title: "MMLU anatomy",
    files: &["anatomy_test.csv", "anatomy.jsonl"],
    read: |text| read("anatomy", text),
    prompt: |item| prompt("anatomy", item),
    ..MMLU
};

pub(super) const CLINICAL_KNOWLEDGE: Benchmark = Benchmark {
    name: "mmlu_clinical_knowledge",
    title: "MMLU clinical knowledge",
    files: &["clinical_knowledge_test.csv", "clinical_knowledge.jsonl"],
    read: |text| read("clinical_knowledge", text),
    prompt: |item| prompt("clinical knowledge", item),
    ..MMLU
};

pub(super) const COLLEGE_BIOLOGY: Benchmark = Benchmark {
    name: "mmlu_college_biology",
    title: "MMLU college biology",
    files: &["college_biology_test.csv", "college_biology.jsonl"],
    read: |text| read("college_biology", text),
    prompt: |item| prompt("college biology", item),
    ..MMLU
};

pub(super) const COLLEGE_MEDICINE: Benchmark = Benchmark {
    name: "mmlu_college_medicine",
    title: "MMLU college medicine",
    files: &["college_medicine_test.csv", "college_medicine.jsonl"],
    read: |text| read("college_medicine", text),
    prompt: |item| prompt("college medicine", item),
    ..MMLU
};

pub(super) const MEDICAL_GENETICS: Benchmark = Benchmark {
    name: "mmlu_medical_genetics",
    title: "MMLU medical genetics",
    files: &["medical_genetics_test.csv", "medical_genetics.jsonl"],
    read: |text| read("medical_genetics", text),
    prompt: |item| prompt("medical genetics", item),
    ..MMLU
};

pub(super) const PROFESSIONAL_MEDICINE: Benchmark = Benchmark {
    name: "mmlu_professional_medicine",
    title: "MMLU professional medicine",
    files: &["professional_medicine_test.csv", "professional_medicine.jsonl"],
    read: |text| read("professional_medicine", text),
    prompt: |item| prompt("professional medicine", item),
    ..MMLU
};

/// What the subjects have in common; a subject replaces the rest.
const MMLU: Benchmark = Benchmark {
    name: "",
    title: "",
    options: 4,
    synthetic: false,
    files: &[],
    read: |text| read("", text),
    prompt: |item| prompt("", item),
    ask: strict_turn,
};

/// A row of the hub's.
#[derive(Deserialize)]
struct Row {
    question: String,
    subject: Option<String>,
    choices: Vec<String>,
    answer: usize,
}

/// The questions of one subject. No layout has ids, so a question's place in its file is one, from 0.
fn read(subject: &str, text: &str) -> Result<Vec<Item>, ReadError> {
    let text = text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with('{') {
        return read_csv(subject, text);
    }
    let mut places = 0..;
    convert(json_lines(text)?, |_, Row { question, subject: named, choices, answer }| match named {
        Some(named) if named != subject => Err(format!("`subject` is `{named}`, not `{subject}`")),
        _ => item(subject, places.next().unwrap_or_default(), (question, choices, answer)),
    })
}

fn read_csv(subject: &str, text: &str) -> Result<Vec<Item>, ReadError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let items = reader.records().enumerate().map(|(place, record)| {
        let record = record.map_err(|error| ReadError::File(error.to_string()))?;
        let begin = record.position().map_or(0, |position| position.byte() as usize);
        let line = |message| ReadError::Line { line: line_at(text, begin), message };
        fields(&record).and_then(|fields| item(subject, place, fields)).map_err(line)
    });
    distinct(items.collect::<Result<_, _>>()?)
}

/// The line on which a record begins. The reader counts the line break before it to it.
fn line_at(text: &str, begin: usize) -> usize {
    let rest = text.get(begin..).unwrap_or_default().trim_start_matches(['\r', '\n']);
    1 + text.len().checked_sub(rest.len()).map_or(0, |end| text[..end].matches('\n').count())
}

/// Question, options and the index of the answer.
type Fields = (String, Vec<String>, usize);

fn fields(record: &csv::StringRecord) -> Result<Fields, String> {
    let fields: Vec<&str> = record.iter().collect();
    let [question, options @ .., answer] = &fields[..] else { return Err("there is no answer".into()) };
    if options.len() != 4 {
        return Err(format!("there are {} fields, not question, four options and answer", fields.len()));
    }
    let index = (0..4).find(|&index| label(index).to_string() == answer.trim());
    let index = index.ok_or_else(|| format!("the answer is `{answer}`, not A, B, C or D"))?;
    Ok((question.to_string(), options.iter().map(ToString::to_string).collect(), index))
}

fn item(subject: &str, place: usize, (question, options, answer): Fields) -> Result<Item, String> {
    let id = format!("{subject}-{place:03}");
    let benchmark = format!("mmlu_{subject}");
    Item { cluster: id.clone(), id, benchmark, question, context: None, options, answer, open: false }.checked()
}

/// lm-eval's `mmlu_*` (`default`) without examples; the subject is in words.
fn prompt(subject: &str, item: &Item) -> Prompt {
    lettered(
        item,
        format!(
            "The following are multiple choice questions (with answers) about {subject}.\n\n{}\n{}\nAnswer:",
            item.question.trim(),
            item.lettered()
        ),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const FILE: &str =
        "\"A \"\"dished\"\" face,\nseen where? \",\"jaw, lower\",skull,axis,atlas,B\r\nWhich bone?,a,b,c,d,D\n";

    #[test]
    fn the_published_layout_and_lm_eval_s_prompt() {
        let items = ANATOMY.read(FILE).unwrap();
        assert_eq!(items[0].question, "A \"dished\" face,\nseen where? ");
        assert_eq!((items[0].options[0].as_str(), items[0].answer), ("jaw, lower", 1));
        assert_eq!(
            (items[1].id.as_str(), items[1].benchmark.as_str(), items[1].answer),
            ("anatomy-001", "mmlu_anatomy", 3)
        );
        let prompt = COLLEGE_BIOLOGY.prompt(&items[1]);
        assert_eq!(
            prompt.context,
            "The following are multiple choice questions (with answers) about college biology.\n\nWhich bone?\nA. a\n\
             B. b\nC. c\nD. d\nAnswer:"
        );
        assert_eq!(prompt.continuations, [" A", " B", " C", " D"]);
        assert!(ANATOMY.prompt(&items[0]).context.contains("\nseen where?\nA. jaw"));
    }

    #[test]
    fn the_hub_s_rows() {
        let row = r#"{"question": "Which bone?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 3}"#;
        let items = ANATOMY.read(&format!("{row}\n{row}")).unwrap();
        assert_eq!((items[1].id.as_str(), items[1].answer), ("anatomy-001", 3));
        let error = MEDICAL_GENETICS.read(row).unwrap_err().to_string();
        assert_eq!(error, "line 1: `subject` is `anatomy`, not `medical_genetics`");
    }

    #[test]
    fn mistakes_have_their_line() {
        let error = |text: &str| ANATOMY.read(text).unwrap_err().to_string();
        assert_eq!(error(&FILE.replace(",D\n", ",E\n")), "line 3: the answer is `E`, not A, B, C or D");
        assert_eq!(
            error(&FILE.replace(",a,", ",")),
            "line 3: there are 5 fields, not question, four options and answer"
        );
        assert_eq!(error(""), "there is no question in it");
    }
}
