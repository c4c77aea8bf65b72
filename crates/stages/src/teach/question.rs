//! What a teacher is asked about a row: templates over its columns.

use gazal_data::{Row, row_digest};
use gazal_stage_api::schemars::JsonSchema;
use gazal_stage_api::{Problem, StageError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::respondent::wording::Wording;
use crate::rows;

/// A template by its shipped name, or one's own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Asked {
    Shipped(Shipped),
    Own(Template),
}

impl Asked {
    fn template(&self) -> Template {
        match self {
            Asked::Shipped(shipped) => shipped.template(),
            Asked::Own(template) => template.clone(),
        }
    }
}

/// The four types of reasoning that Gazal-R1's examples are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Shipped {
    DiagnosticReasoning,
    TreatmentPlanning,
    DecisionMaking,
    PrognosticAssessment,
}

/// How a row is put to a teacher.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Template {
    pub name: String,
    #[serde(default)]
    pub system: String,
    pub user: String,
}

/// All four.
pub fn shipped() -> Vec<Asked> {
    use Shipped::{DecisionMaking, DiagnosticReasoning, PrognosticAssessment, TreatmentPlanning};
    [DiagnosticReasoning, TreatmentPlanning, DecisionMaking, PrognosticAssessment].map(Asked::Shipped).to_vec()
}

/// How all four are to be answered.
const SYSTEM: &str = "You are a physician who teaches. Think the problem through before you answer. Write your reasoning \
between <think> and </think>, as numbered lines that begin with \"Step 1:\", \"Step 2:\" and so on, each with one thought \
that follows from the case or from the steps before it. After </think>, answer under a heading in Markdown, briefly, and \
end with the conclusion. Claim nothing that the case does not support.";

impl Shipped {
    fn template(self) -> Template {
        let (name, task) = match self {
            Shipped::DiagnosticReasoning => (
                "diagnostic_reasoning",
                "Reason from the findings to the diagnosis: name what is striking, list the conditions that explain it, \
                 say which findings speak for and against each, and which test decides.",
            ),
            Shipped::TreatmentPlanning => (
                "treatment_planning",
                "Reason to a plan of treatment: name the aim, what is first-line and why, what in this case speaks \
                 against it, how it is dosed or carried out, and what is watched.",
            ),
            Shipped::DecisionMaking => (
                "decision_making",
                "Reason to a decision under uncertainty: say what is known and what is not, what each choice would gain \
                 and risk, how likely it is, and what would change the decision.",
            ),
            Shipped::PrognosticAssessment => (
                "prognostic_assessment",
                "Reason to a prognosis: say how the condition usually goes, which factors of this case make it better or \
                 worse, what may still be changed, and what is to be expected.",
            ),
        };
        Template { name: name.into(), system: SYSTEM.into(), user: format!("{task}\n\n{{{{ prompt }}}}") }
    }
}

/// Bytes of the longest question, without what the row fills in.
pub fn length(asked: &[Asked]) -> u64 {
    let templates = asked.iter().map(Asked::template);
    templates.map(|template| (template.system.len() + template.user.len()) as u64).max().unwrap_or_default()
}

/// A question, and what its answer will be an example of.
#[derive(Clone, Debug)]
pub struct Question {
    /// Of the row that it is about.
    pub parent: String,
    pub template: String,
    /// As OpenAI's interface has them.
    pub messages: Vec<Value>,
    /// What the student will be asked.
    pub prompt: String,
}

/// Compiled templates.
pub struct Templates {
    names: Vec<String>,
    wording: Wording,
}

impl Templates {
    /// # Errors
    /// All templates that are none, that have no name of their own, or that say nothing.
    pub fn new(asked: &[Asked], prompt: &str) -> Result<Templates, Vec<Problem>> {
        let mut wording = Wording::new();
        let mut problems: Vec<Problem> = wording.add(PROMPT, PROMPT.into(), prompt.into()).err().into_iter().collect();
        let mut names = Vec::new();
        for (at, asked) in asked.iter().enumerate() {
            let Template { name, system, user } = asked.template();
            problems.extend(wording.add_question(&format!("templates[{at}]"), &name, [system, user]));
            names.push(name);
        }
        if names.is_empty() {
            problems.push(Problem::new("templates", "has no template"));
        }
        if problems.is_empty() { Ok(Templates { names, wording }) } else { Err(problems) }
    }

    /// What is asked about a row, with so many templates of all, or all for 0. Which ones follows from the row alone, so
    /// that other rows may come and go.
    ///
    /// # Errors
    /// A column that the row has not.
    pub fn questions(&self, row: &Row, per_row: usize) -> Result<Vec<Question>, StageError> {
        let digest = row_digest(&Value::Object(row.clone()));
        let parent = rows::id(row);
        let prompt = self.wording.render(PROMPT, row, &parent)?;
        let count = if per_row == 0 { self.names.len() } else { per_row.min(self.names.len()) };
        let first = usize::from(digest.as_bytes()[0]);
        (0..count)
            .map(|at| {
                let name = &self.names[(first + at) % self.names.len()];
                let messages = self.wording.messages(name, row, &parent)?;
                Ok(Question { parent: parent.clone(), template: name.clone(), messages, prompt: prompt.clone() })
            })
            .collect()
    }
}

/// The student's prompt among the templates.
const PROMPT: &str = "prompt";
