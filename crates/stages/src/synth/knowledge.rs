//! The embedded knowledge base: hand-written, general textbook facts. Not for clinical use.

use serde::{Deserialize, Serialize};

use super::language::Language;

/// One condition. Phrases are short, lower case, and worded alike where they mean the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    pub name: String,
    pub specialty: String,
    /// Six, the most specific first.
    pub findings: Vec<String>,
    /// The decisive test.
    pub test: String,
    /// First-line treatment.
    pub treatment: String,
    /// What a contraindication forbids.
    pub avoid: String,
    /// The factor that most worsens the outcome.
    pub prognosis: String,
    pub mechanism: String,
}

#[derive(Deserialize)]
struct File {
    condition: Vec<Condition>,
}

/// All conditions, in the file's order, which is the same in every language.
///
/// # Errors
/// When the embedded file is malformed, which a test excludes.
pub fn conditions(language: Language) -> Result<Vec<Condition>, toml::de::Error> {
    let file = match language {
        Language::En => include_str!("knowledge.toml"),
        Language::Zh => include_str!("knowledge.zh.toml"),
    };
    Ok(toml::from_str::<File>(file)?.condition)
}

/// A fact about a named condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    Test,
    Treatment,
    Avoid,
    Prognosis,
    Mechanism,
}

impl Fact {
    pub const ALL: [Fact; 5] = [Fact::Test, Fact::Treatment, Fact::Avoid, Fact::Prognosis, Fact::Mechanism];

    pub fn of(self, condition: &Condition) -> &str {
        match self {
            Fact::Test => &condition.test,
            Fact::Treatment => &condition.treatment,
            Fact::Avoid => &condition.avoid,
            Fact::Prognosis => &condition.prognosis,
            Fact::Mechanism => &condition.mechanism,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_knowledge_base_is_complete() {
        for language in [Language::En, Language::Zh] {
            let all = conditions(language).unwrap();
            let names: BTreeSet<&str> = all.iter().map(|condition| condition.name.as_str()).collect();
            let specialties: BTreeSet<&str> = all.iter().map(|condition| condition.specialty.as_str()).collect();
            assert!(all.len() >= 150);
            assert_eq!(names.len(), all.len(), "a name occurs twice");
            assert_eq!(specialties.len(), 8);
            for condition in &all {
                assert_eq!(condition.findings.len(), 6, "{}", condition.name);
                assert!(Fact::ALL.iter().all(|fact| !fact.of(condition).is_empty()), "{}", condition.name);
            }
        }
    }

    /// What is one phrase in English is one in Chinese, and the other way round, so that an answer is right or wrong in
    /// both.
    #[test]
    fn both_languages_say_the_same() {
        let [english, chinese] = [Language::En, Language::Zh].map(|language| conditions(language).unwrap());
        assert_eq!(english.len(), chinese.len());
        for fact in Fact::ALL {
            let pairs: BTreeSet<(&str, &str)> =
                english.iter().zip(&chinese).map(|(one, other)| (fact.of(one), fact.of(other))).collect();
            let sides: [BTreeSet<&str>; 2] =
                [pairs.iter().map(|pair| pair.0).collect(), pairs.iter().map(|pair| pair.1).collect()];
            assert_eq!([sides[0].len(), sides[1].len()], [pairs.len(); 2], "{fact:?}");
        }
    }
}
