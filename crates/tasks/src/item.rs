//! One question with a checkable answer, whatever benchmark it comes from.

use serde::{Deserialize, Serialize};

use crate::extract::{Extraction, extract, in_words};

/// A question with options of which exactly one is right. Read from JSON it is checked: at least two and at
/// most 26 options, or at least one if it is open, and an answer among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawItem")]
pub struct Item {
    /// Unique within its benchmark.
    pub id: String,
    /// The name of a [`crate::Benchmark`], such as `mini_medqa`.
    pub benchmark: String,
    pub question: String,
    /// What the question is about, such as an abstract.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    pub options: Vec<String>,
    /// The index of the right option.
    pub answer: usize,
    /// What questions have in common that are no independent evidence, such as a condition; the `id` where
    /// nothing is known.
    pub cluster: String,
    /// Asked without its options and answered in words: the right option is what an answer is compared with, the others
    /// are answers that are known to be wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawItem {
    id: String,
    benchmark: String,
    question: String,
    context: Option<String>,
    options: Vec<String>,
    answer: usize,
    cluster: Option<String>,
    #[serde(default)]
    open: bool,
}

impl TryFrom<RawItem> for Item {
    type Error = String;

    fn try_from(raw: RawItem) -> Result<Item, String> {
        let RawItem { id, benchmark, question, context, options, answer, cluster, open } = raw;
        let cluster = cluster.unwrap_or_else(|| id.clone());
        Item { id, benchmark, question, context, options, answer, cluster, open }.checked()
    }
}

impl Item {
    /// The item itself if it can be asked and scored, else what is wrong with it.
    ///
    /// # Errors
    /// No id or question, fewer than 2 or more than 26 options where these are shown, or an answer that is none of them.
    pub fn checked(self) -> Result<Item, String> {
        let count = self.options.len();
        match () {
            () if self.id.trim().is_empty() => Err("the id is empty".into()),
            () if self.question.trim().is_empty() => Err("the question is empty".into()),
            () if !self.open && !(2..=26).contains(&count) => Err(format!("there are {count} options, not 2 to 26")),
            () if self.answer >= count => Err(format!("the answer is option {} of {count}", self.answer + 1)),
            () => Ok(self),
        }
    }

    /// The letters of the options: `A`, `B`, …; none where the options are not shown.
    pub fn labels(&self) -> impl Iterator<Item = char> + use<> {
        ('A'..='Z').take(if self.open { 0 } else { self.options.len() })
    }

    /// The letter of the right option.
    pub fn answer_label(&self) -> char {
        label(self.answer)
    }

    /// What an answer is compared with: the words of the right option, behind its letter where it has one.
    pub fn reference(&self) -> String {
        let words = self.options.get(self.answer).map_or("", String::as_str);
        if self.open { words.into() } else { format!("{}. {words}", self.answer_label()) }
    }

    /// Reads the answer in a generated text: a letter, or in words if the question is open.
    pub fn read(&self, text: &str) -> Extraction {
        if self.open { in_words(text, &self.options) } else { extract(text, &self.options) }
    }

    /// The options as `A. first`, one a line, without a line break at the end.
    pub fn lettered(&self) -> String {
        let lines: Vec<String> =
            self.labels().zip(&self.options).map(|(label, option)| format!("{label}. {option}")).collect();
        lines.join("\n")
    }

    /// The options as `- first A`, one a line, without a line break at the end. What a small model learns first is to
    /// find where a word stood before and to copy what followed it: here that is the letter.
    pub fn listed(&self) -> String {
        let lines: Vec<String> =
            self.labels().zip(&self.options).map(|(label, option)| format!("- {option} {label}")).collect();
        lines.join("\n")
    }

    /// The question as a small model that reasons is asked it: context, question and [`Item::listed`] options.
    pub fn user_turn(&self) -> String {
        let context = self.context.as_ref().map(|context| format!("Abstract: {context}\n")).unwrap_or_default();
        let options = if self.open { String::new() } else { format!("\n{}", self.listed()) };
        format!("{context}Question: {}{options}", self.question)
    }
}

/// The letter of the option at an index.
pub(crate) fn label(index: usize) -> char {
    char::from_u32('A' as u32 + index as u32).unwrap_or('?')
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// An item with these options, the first of which is right.
    pub(crate) fn item(options: &[&str]) -> Item {
        Item {
            id: "1".into(),
            benchmark: "mini_medqa".into(),
            question: "Which one?".into(),
            context: None,
            options: options.iter().map(ToString::to_string).collect(),
            answer: 0,
            cluster: "1".into(),
            open: false,
        }
    }

    #[test]
    fn labels_and_texts() {
        let mut asked = item(&["first", "second"]);
        assert_eq!(asked.labels().collect::<String>(), "AB");
        assert_eq!((asked.answer_label(), asked.lettered().as_str()), ('A', "A. first\nB. second"));
        assert_eq!(asked.user_turn(), "Question: Which one?\n- first A\n- second B");
        asked.context = Some("Of two.".into());
        assert_eq!(asked.user_turn(), "Abstract: Of two.\nQuestion: Which one?\n- first A\n- second B");
    }

    #[test]
    fn an_open_question_shows_no_options() {
        let asked = Item { open: true, ..item(&["first"]) }.checked().unwrap();
        assert_eq!((asked.labels().count(), asked.user_turn().as_str()), (0, "Question: Which one?"));
        assert_eq!((asked.reference().as_str(), item(&["first", "b"]).reference().as_str()), ("first", "A. first"));
        assert_eq!(asked.read("<think>Hm.</think>It is the first."), Extraction::Answer(0));
        assert_eq!(serde_json::from_str::<Item>(&serde_json::to_string(&asked).unwrap()).unwrap(), asked);
        assert!(Item { options: Vec::new(), ..asked }.checked().unwrap_err().contains("option 1 of 0"));
    }

    #[test]
    fn json_round_trip_and_defaults() {
        let text = r#"{"id":"7","benchmark":"mini_medqa","question":"q","options":["a","b"],"answer":1}"#;
        let read: Item = serde_json::from_str(text).unwrap();
        assert_eq!((read.cluster.as_str(), read.context.as_deref()), ("7", None));
        assert_eq!(serde_json::from_str::<Item>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    }

    #[test]
    fn what_cannot_be_scored_is_refused() {
        let wrong = |change: fn(&mut Item)| {
            let mut changed = item(&["a", "b"]);
            change(&mut changed);
            serde_json::from_str::<Item>(&serde_json::to_string(&changed).unwrap()).unwrap_err().to_string()
        };
        assert!(wrong(|item| item.answer = 2).contains("the answer is option 3 of 2"));
        assert!(wrong(|item| item.options.truncate(1)).contains("there are 1 options"));
        assert!(wrong(|item| item.question = " ".into()).contains("question is empty"));
        assert!(wrong(|item| item.id.clear()).contains("id is empty"));
    }
}
