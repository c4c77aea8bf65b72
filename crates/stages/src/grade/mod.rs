//! `grade`: a model's marks for rows, as columns that `curate` filters by (`row.scores.quality is not none and
//! row.scores.quality >= 4`).
//!
//! A *criterion* is a question about a row and a way to read a number from the reply: a judge's rating, or whether the
//! reasoning alone leads to the answer again (MedReason's filter: the conclusion is cut off, the answer regenerated and
//! compared). Replies are kept in the memo, as those of `teach` are, so a row that stays is not graded again.

mod criterion;
mod reading;
mod run;

use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits,
};
use serde::{Deserialize, Serialize};

use crate::defaults::check_share;
use crate::endpoint::Reach;
use crate::respondent::Asking;
use crate::{defaults, forecast, respondent};
use criterion::{Criteria, Criterion};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// The judge's id at the endpoint; without it the model at the port `model` is the judge.
    #[serde(default)]
    pub model: Option<String>,
    /// How the endpoint is asked; nothing of it is in the key.
    #[serde(default)]
    pub endpoint: Reach,
    /// Rows to grade, the first ones, to see what comes of them; 0 for all. Their grades are kept for a run with more.
    #[serde(default)]
    pub limit: usize,
    /// What is asked: `quality` (1 to 5), `regenerated` (1 where the reasoning without its conclusion leads to the answer,
    /// else 0), or one's own as `{ name, system, user, pattern }`. Grades stand in the column `scores`, by name.
    #[serde(default = "criterion::default")]
    pub criteria: Vec<Criterion>,
    #[serde(default)]
    pub temperature: f64,
    #[serde(default = "max_new_tokens")]
    pub max_new_tokens: usize,
    /// Rows that a model of an earlier stage answers side by side.
    #[serde(default = "defaults::batch")]
    pub batch_size: usize,
    /// The share of replies from which no grade can be read (it is null then); the stage fails when it is more.
    #[serde(default = "max_unread_ratio")]
    pub max_unread_ratio: f64,
}

fn max_new_tokens() -> usize {
    512
}

fn max_unread_ratio() -> f64 {
    0.1
}

impl Params {
    fn asking(&self) -> Asking<'_> {
        Asking {
            memo: Grade::NAME,
            model: self.model.as_deref(),
            endpoint: &self.endpoint,
            temperature: self.temperature,
            top_p: 1.0,
            max_new_tokens: self.max_new_tokens,
            batch_size: self.batch_size,
        }
    }
}

pub struct Grade;

impl Kind for Grade {
    type Params = Params;
    const NAME: &'static str = "grade";
    const REVISION: u32 = 1;
    const DOC: &'static str = "A model's marks for rows: ratings, and whether reasoning leads to its answer again.";
    const TRAITS: Traits = respondent::TRAITS;

    fn inputs(&self, params: &Params, _: &Declared) -> Vec<InPort> {
        let mut ports = vec![InPort::many("rows", PortType::Dataset, "`prompt` and `completion`; `train` is graded")];
        ports.extend(params.asking().ports("the judge"));
        ports
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("dataset", PortType::Dataset, "the rows, with their grades in `scores`"),
            OutPort::record(
                "report",
                PortType::Files,
                "`grade.json`: means and counts; `replies.jsonl`: what was said",
            ),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = params.asking().problems();
        problems.extend(Criteria::new(&params.criteria).err().into_iter().flatten());
        problems.extend(check_share("max_unread_ratio", params.max_unread_ratio));
        problems
    }

    fn forecast(&self, params: &Params, inputs: &Foresight) -> Forecast {
        let Some((rows, row)) = forecast::rows(inputs, "rows", params.limit) else { return Forecast::default() };
        let requests = rows.saturating_mul(params.criteria.iter().map(Criterion::questions).sum());
        let asked = params.criteria.iter().map(Criterion::length).max().unwrap_or_default() / forecast::BYTES_A_TOKEN;
        params.asking().forecast(requests, row + asked, rows)
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        run::run(&params, context)
    }
}
