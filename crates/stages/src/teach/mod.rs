//! `teach`: a teacher's answers to the rows of a data set, as examples to learn from.
//!
//! The teacher is a language model: one behind an endpoint that speaks OpenAI's interface, or the model of an earlier
//! stage. (`synth` is the third teacher, which has its answers from the embedded knowledge base.) Each row is put to it by
//! templates, each reply is read and checked before it becomes an example, and what does not pass is written down with the
//! reason.
//!
//! A reply is kept in the memo under all that it follows from: the teacher, the question, how it samples. So of 100,000
//! rows of which ten were edited, ten are asked again.

mod example;
mod question;
mod run;

use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits,
};
use serde::{Deserialize, Serialize};

use crate::defaults::{check_positive, check_share};
use crate::endpoint::Reach;
use crate::respondent::Asking;
use crate::{defaults, forecast, respondent};
use question::{Asked, Templates};

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// The teacher's id at the endpoint; without it the model at the port `model` is the teacher.
    #[serde(default)]
    pub model: Option<String>,
    /// How the endpoint is asked; nothing of it is in the key.
    #[serde(default)]
    pub endpoint: Reach,
    /// Rows to ask about, the first ones, to see what comes of them; 0 for all. Their answers are kept for a run with more.
    #[serde(default)]
    pub limit: usize,
    /// How a row is put to the teacher: some of `diagnostic_reasoning`, `treatment_planning`, `decision_making` and
    /// `prognostic_assessment`, or one's own as `{ name, system, user }`, with the row's columns in `{{ … }}`.
    #[serde(default = "question::shipped")]
    pub templates: Vec<Asked>,
    /// Templates that each row is asked with, which follow from the row alone; 0 for all of them.
    #[serde(default = "defaults::single")]
    pub templates_per_row: usize,
    /// What the student is asked, of the row's columns.
    #[serde(default = "prompt")]
    pub prompt: String,
    /// Answers to each question.
    #[serde(default = "defaults::single")]
    pub num_generations: usize,
    #[serde(default = "temperature")]
    pub temperature: f64,
    #[serde(default = "defaults::one")]
    pub top_p: f64,
    #[serde(default = "max_new_tokens")]
    pub max_new_tokens: usize,
    /// Rows that a model of an earlier stage answers side by side.
    #[serde(default = "defaults::batch")]
    pub batch_size: usize,
    /// Whether an answer must come after reasoning between `<think>` and `</think>`.
    #[serde(default = "defaults::yes")]
    pub require_reasoning: bool,
    /// Lines that begin with `Step k:` that the reasoning must have.
    #[serde(default)]
    pub min_steps: usize,
    /// Whether the answer must be the right option of the row's `item`.
    #[serde(default)]
    pub verify: bool,
    /// The share of answers that may be rejected; the stage fails when it is more.
    #[serde(default = "defaults::one")]
    pub max_rejected_ratio: f64,
}

fn prompt() -> String {
    "{{ prompt }}".into()
}

fn temperature() -> f64 {
    0.7
}

fn max_new_tokens() -> usize {
    2048
}

impl Params {
    fn asking(&self) -> Asking<'_> {
        Asking {
            memo: Teach::NAME,
            model: self.model.as_deref(),
            endpoint: &self.endpoint,
            temperature: self.temperature,
            top_p: self.top_p,
            max_new_tokens: self.max_new_tokens,
            batch_size: self.batch_size,
        }
    }
}

pub struct Teach;

impl Kind for Teach {
    type Params = Params;
    const NAME: &'static str = "teach";
    const REVISION: u32 = 1;
    const DOC: &'static str = "A teacher's answers to rows, read and checked: examples to learn from.";
    const TRAITS: Traits = respondent::TRAITS;

    fn inputs(&self, params: &Params, _: &Declared) -> Vec<InPort> {
        let mut ports = vec![InPort::many("rows", PortType::Dataset, "what to ask about; `train` is asked")];
        ports.extend(params.asking().ports("the teacher"));
        ports
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("dataset", PortType::Dataset, "`prompt`, `completion`, where they come from, and the row"),
            OutPort::value("rejected", PortType::Dataset, "answers that were rejected, with the `reason`"),
            OutPort::record("report", PortType::Files, "`teach.json`: counts by reason, tokens, cost"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = check_positive(&[("num_generations", params.num_generations as f64)]);
        problems.extend(params.asking().problems());
        problems.extend(Templates::new(&params.templates, &params.prompt).err().into_iter().flatten());
        problems.extend(check_share("max_rejected_ratio", params.max_rejected_ratio));
        if params.num_generations > 1 && params.temperature == 0.0 {
            let problem = Problem::new("num_generations", "several answers at `temperature = 0` are all the same");
            problems.push(problem.with_help("raise `temperature`, or take one"));
        }
        problems
    }

    fn forecast(&self, params: &Params, inputs: &Foresight) -> Forecast {
        let Some((rows, row)) = forecast::rows(inputs, "rows", params.limit) else { return Forecast::default() };
        let templates = match params.templates_per_row {
            0 => params.templates.len(),
            some => some.min(params.templates.len()),
        };
        let requests = rows.saturating_mul((templates * params.num_generations) as u64);
        let asked = question::length(&params.templates) / forecast::BYTES_A_TOKEN;
        params.asking().forecast(requests, row + asked, requests)
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        run::run(&params, context)
    }
}
