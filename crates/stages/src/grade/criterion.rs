//! What is asked about a row, and how a grade is read from the reply.

use gazal_data::Row;
use gazal_stage_api::schemars::JsonSchema;
use gazal_stage_api::{Problem, StageError};
use gazal_tasks::Pattern;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reading::Reading;
use crate::respondent::wording::Wording;

/// A criterion by its shipped name, or one's own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Criterion {
    Shipped(Shipped),
    Own(Own),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Shipped {
    Quality,
    Regenerated,
}

/// A question over the row's columns, and over `reasoning` (what is between `<think>` and `</think>`, without its
/// conclusion) and `conclusion` (what comes after).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Own {
    pub name: String,
    #[serde(default)]
    pub system: String,
    pub user: String,
    /// A regular expression whose group holds the number; its last match counts.
    pub pattern: String,
}

pub fn default() -> Vec<Criterion> {
    vec![Criterion::Shipped(Shipped::Quality)]
}

const QUALITY: &str = "quality";
const REGENERATED: &str = "regenerated";

const EXAMINER: &str = "You are a physician who examines written reasoning. You are strict, and you judge what is written, \
not who may have written it.";
const RATE: &str = "Question:\n{{ prompt }}\n\nReasoning:\n{{ reasoning }}\n\nAnswer:\n{{ conclusion }}\n\nSay in a few \
sentences what is wrong, unsupported or missing. Then rate the whole: 5 is correct, complete and each step follows; 4 has \
slips that change nothing; 3 has gaps; 2 has an error that matters; 1 is wrong or dangerous. End with a line of its own: \
\"Rating: \" and the number.";
const FOLLOW: &str = "You read reasoning and say where it leads. You add nothing of your own.";
const ANSWER: &str = "Question:\n{{ prompt }}\n\nReasoning:\n{{ reasoning }}\n\nThe conclusion is cut off. Give the answer that \
this reasoning leads to, and nothing else. Where the question has lettered options, write: \"The answer is X.\"";
const SAME: &str = "Question:\n{{ prompt }}\n\nOne answer:\n{{ one }}\n\nAnother answer:\n{{ other }}\n\nDo both say the same in \
substance? Write \"Same: yes\" or \"Same: no\".";

impl Criterion {
    /// Questions about a row, at most.
    pub fn questions(&self) -> u64 {
        match self {
            Criterion::Shipped(Shipped::Regenerated) => 2,
            _ => 1,
        }
    }

    /// Bytes of the question, without what the row fills in.
    pub fn length(&self) -> u64 {
        let (own, _) = self.own();
        (own.system.len() + own.user.len()) as u64
    }

    fn own(&self) -> (Own, Option<Reading>) {
        let own = |name: &str, system: &str, user: &str, pattern: &str| Own {
            name: name.into(),
            system: system.into(),
            user: user.into(),
            pattern: pattern.into(),
        };
        match self {
            Criterion::Own(given) => (given.clone(), None),
            Criterion::Shipped(Shipped::Quality) => (own(QUALITY, EXAMINER, RATE, r"Rating:\W*([1-5])"), None),
            Criterion::Shipped(Shipped::Regenerated) => {
                (own(REGENERATED, FOLLOW, ANSWER, ""), Some(Reading::Regenerated))
            }
        }
    }
}

/// Compiled criteria, each with its name.
pub struct Criteria {
    pub each: Vec<(String, Reading)>,
    wording: Wording,
    /// Of [`SAME`] alone, so that a criterion may have any name.
    comparing: Wording,
}

impl Criteria {
    /// # Errors
    /// All criteria that cannot be asked or read, or that have no name of their own.
    pub fn new(criteria: &[Criterion]) -> Result<Criteria, Vec<Problem>> {
        let (mut wording, mut problems, mut each) = (Wording::new(), Vec::new(), Vec::<(String, Reading)>::new());
        for (at, criterion) in criteria.iter().enumerate() {
            let field = format!("criteria[{at}]");
            let (Own { name, system, user, pattern }, reading) = criterion.own();
            problems.extend(wording.add_question(&field, &name, [system, user]));
            let reading = reading.map_or_else(|| number(&pattern), Ok);
            match reading {
                Ok(reading) => each.push((name, reading)),
                Err(why) => problems.push(Problem::new(&format!("{field}.pattern"), why)),
            }
        }
        if criteria.is_empty() {
            problems.push(Problem::new("criteria", "has no criterion"));
        }
        let mut comparing = Wording::new();
        problems.extend(comparing.add_question(COMPARISON, COMPARISON, [FOLLOW, SAME].map(String::from)));
        if problems.is_empty() { Ok(Criteria { each, wording, comparing }) } else { Err(problems) }
    }

    /// The question of a criterion about a row with its parts.
    ///
    /// # Errors
    /// A column that the row has not.
    pub fn question(&self, name: &str, row: &Row, id: &str) -> Result<Vec<Value>, StageError> {
        self.wording.messages(name, row, id)
    }

    /// Whether two answers to the row's question say the same.
    ///
    /// # Errors
    /// The row has no prompt.
    pub fn comparison(&self, row: &Row, id: &str, [one, other]: [&str; 2]) -> Result<Vec<Value>, StageError> {
        let mut row = row.clone();
        row.insert("one".into(), one.into());
        row.insert("other".into(), other.into());
        self.comparing.messages(COMPARISON, &row, id)
    }
}

const COMPARISON: &str = "same";

fn number(pattern: &str) -> Result<Reading, String> {
    let compiled = Pattern::new(pattern)?;
    if !pattern.contains('(') {
        return Err(format!("`{pattern}` has no group that holds the number, as in `Rating: (\\d)`"));
    }
    Ok(Reading::Number(compiled))
}
