//! The embedded knowledge base: hand-written, general textbook facts. Not for clinical use.

use serde::{Deserialize, Serialize};

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

/// All conditions, in the file's order.
///
/// # Errors
/// When the embedded file is malformed, which a test excludes.
pub fn conditions() -> Result<Vec<Condition>, toml::de::Error> {
    Ok(toml::from_str::<File>(include_str!("knowledge.toml"))?.condition)
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
        let all = conditions().unwrap();
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
