//! Who is compared with whom on a page: labels, each beside a baseline.

use gazal_stage_api::{JsonSchema, Problem};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Comparing {
    pub title: String,
    pub baseline: String,
    pub labels: Vec<String>,
}

impl Comparing {
    /// The baseline and a label, for each label.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|label| (self.baseline.as_str(), label.as_str()))
    }

    /// All that it names, the baseline first.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.baseline).chain(&self.labels)
    }
}

/// The mistakes in a parameter `comparisons` that show before anything was measured.
pub fn problems(comparisons: &[Comparing]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, Comparing { title, baseline, labels }) in comparisons.iter().enumerate() {
        let mut say = |field: &str, message: String| {
            problems.push(Problem::new(&format!("comparisons[{at}].{field}"), message));
        };
        if comparisons[..at].iter().any(|other| other.title == *title) {
            say("title", format!("`{title}` is the title of another comparison too"));
        }
        if labels.is_empty() || labels.contains(baseline) {
            say("labels", "must name others than the baseline".into());
        }
        let twice = labels.iter().enumerate().find(|(index, label)| labels[..*index].contains(label));
        if let Some((_, label)) = twice {
            say("labels", format!("names `{label}` twice"));
        }
    }
    problems
}
