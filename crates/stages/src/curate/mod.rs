//! `curate`: which rows of data sets stay, how they are mixed, and into which parts they go.
//!
//! Every step is one pass over a stream ([`gazal_data::curation`]), so a data set may be larger than memory. What each
//! step dropped, with examples, is an output of its own.

mod layout;
mod run;
mod steps;
#[cfg(test)]
mod tests;

use gazal_data::curation::{Amount, Parts};
use gazal_data::rows::Form;
use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits};
use serde::{Deserialize, Serialize};

use crate::defaults;

use steps::StepParams;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// How rows are read: `auto`, or one of `ultramedical`, `medreason`, `medical_o1_reasoning`, `medical_o1_verifiable`,
    /// `structured_medical` and `medical_grpo`, become `prompt`, `completion` and `item`. As they are without it.
    #[serde(default)]
    pub layout: Option<String>,
    /// What rows pass through, in order: `{ step = "filter", expression = "row.answer | length > 10" }`,
    /// `exact_duplicates` (`columns`, `normalization`), `near_duplicates` (`columns`, `threshold`, `num_perm`, `unit`,
    /// `ngram`, `false_negative_weight`), `length` (`columns`, `unit`, `min`, `max`), `language` (`columns`, `languages`,
    /// `min_confidence`), `decontaminate` (`ngram`, `columns`).
    #[serde(default)]
    pub steps: Vec<StepParams>,
    /// Weights of the data sets at `rows`, in their order: how they are mixed after the steps. Without them one follows the
    /// other.
    #[serde(default)]
    pub weights: Vec<f64>,
    /// How much is mixed: `{ rows = 10000 }`, or `{ epochs = 1.0 }`.
    #[serde(default = "once")]
    pub amount: Amount,
    /// Whether the rows are put into a random order.
    #[serde(default)]
    pub shuffle: bool,
    /// Parts that rows go to, such as `train` and `validation`; rows with equal `group` columns stay together. All go to
    /// `train` without it.
    #[serde(default)]
    pub split: Option<Parts>,
    /// What the rows are written as: `jsonl`, `parquet` or `csv`.
    #[serde(default)]
    pub format: Form,
    /// The share of rows that the steps may drop; the stage fails when it is more.
    #[serde(default = "crate::defaults::one")]
    pub max_dropped_ratio: f64,
}

fn once() -> Amount {
    Amount::Epochs(1.0)
}

pub struct Curate;

impl Kind for Curate {
    type Params = Params;
    const NAME: &'static str = "curate";
    // 2: near-duplicates have a band in common; before, other rows were compared too where tables met by chance.
    // 3: rows of medical-o1's layouts have an `item`; each Chinese and Japanese character is a word of leaks.
    const REVISION: u32 = 3;
    const DOC: &'static str = "Filters, deduplicates, decontaminates, mixes and splits data sets.";
    const TRAITS: Traits = Traits::SEEDED;

    fn inputs(&self, params: &Params, _: &Declared) -> Vec<InPort> {
        let mut ports = vec![InPort::many("rows", PortType::Dataset, "data sets, of which the split `train` is taken")];
        if params.steps.iter().any(|step| matches!(step, StepParams::Decontaminate(_))) {
            ports.push(InPort::one("benchmarks", PortType::Dataset, "what must not stand in a row"));
        }
        ports
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![
            OutPort::value("dataset", PortType::Dataset, "the rows that stay, a file for each part"),
            OutPort::value("report", PortType::Files, "`curation.json`: what each step dropped and why, with examples"),
        ]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = steps::problems(&params.steps);
        problems.extend(run::problems(params));
        problems.extend(params.layout.as_deref().and_then(layout::problem));
        problems.extend(defaults::check_share("max_dropped_ratio", params.max_dropped_ratio));
        problems
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        run::run(&params, context)
    }
}
