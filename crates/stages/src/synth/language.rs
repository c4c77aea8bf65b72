//! The languages that the knowledge base is told in, and how things are said in each.

use gazal_stage_api::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chinese::CHINESE;
use super::knowledge::Fact;
use super::problems::capital;
use super::wording::{self, Split};

/// What the knowledge base can be told in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
}

impl Language {
    pub fn is_english(&self) -> bool {
        *self == Language::En
    }

    pub fn wording(self) -> &'static Wording {
        match self {
            Language::En => &ENGLISH,
            Language::Zh => &CHINESE,
        }
    }
}

type Templates = &'static [&'static str];

/// The templates of a language. `{c}` is the condition, `{f}` its findings, `{x}` what is said of it.
pub struct Wording {
    pub vignettes: fn(Split) -> Templates,
    pub diagnosis_questions: fn(Split) -> Templates,
    pub fact_questions: fn(Fact, Split) -> Templates,
    /// The first is how reasoning says it.
    pub statements: fn(Fact) -> Templates,
    pub finding_statements: Templates,
    /// The one of them that reasoning says.
    pub pointing: &'static str,
    pub specialty: &'static str,
    /// `{v}` the vignette, `{q}` the question behind it.
    pub vignette_and_question: &'static str,
    pub answer: &'static str,
    /// Number `{n}` holds `{x}`, and the question for it.
    pub drawer: &'static str,
    pub drawer_question: &'static str,
    pub between_sentences: &'static str,
    /// What stands between the parts of a list, and before the last.
    pub listed: [&'static str; 2],
}

const ENGLISH: Wording = Wording {
    vignettes: wording::vignettes,
    diagnosis_questions: |split| wording::case_questions(None, split),
    fact_questions: wording::fact_questions,
    statements: wording::statements,
    finding_statements: wording::FINDING_STATEMENTS,
    pointing: wording::FINDING_STATEMENTS[2],
    specialty: "The field of {c} is {x}.",
    vignette_and_question: "{v} {q}",
    answer: "{x}.",
    drawer: "Drawer {n} holds {x}.",
    drawer_question: "What does drawer {n} hold?",
    between_sentences: " ",
    listed: [", ", " and "],
};

impl Wording {
    /// A template with its places filled, as a sentence begins.
    pub fn fill(template: &str, places: &[(&str, &str)]) -> String {
        capital(&places.iter().fold(template.to_string(), |text, (place, words)| text.replace(place, words)))
    }

    pub fn list(&self, parts: &[&str]) -> String {
        let [between, last] = self.listed;
        match parts {
            [head @ .., tail] if !head.is_empty() => format!("{}{last}{tail}", head.join(between)),
            _ => parts.concat(),
        }
    }
}
