//! `fetch-model` and `fetch-dataset`: weights and data by their hub ids. A pipeline that names them is checked and
//! planned; running them says what is missing until fetching is built.

use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct ModelParams {
    /// A hub id, such as `Qwen/Qwen3-32B`.
    pub model_name_or_path: String,
    #[serde(default = "main_branch")]
    pub model_revision: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct DatasetParams {
    /// Hub ids, such as `UCSC-VLAA/MedReason`, put together in this order.
    pub dataset_name: Vec<String>,
    /// The first rows; 0 for all.
    #[serde(default)]
    pub max_samples: u64,
}

fn main_branch() -> String {
    "main".into()
}

pub struct FetchModel;
pub struct FetchDataset;

impl Kind for FetchModel {
    type Params = ModelParams;
    const NAME: &'static str = "fetch-model";
    const REVISION: u32 = 1;
    const DOC: &'static str = "A model from the hub by its id (checked and planned; not runnable yet).";
    const TRAITS: Traits = Traits { network: true, ..Traits::PLAIN };

    fn inputs(&self, _: &ModelParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &ModelParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("model", PortType::Model, "weights, configuration and tokenizer")]
    }

    fn validate(&self, params: &ModelParams) -> Vec<Problem> {
        hub_ids("model_name_or_path", std::slice::from_ref(&params.model_name_or_path))
    }

    fn unavailable(&self, params: &ModelParams) -> Option<String> {
        Some(missing(&params.model_name_or_path))
    }

    fn run(&self, params: ModelParams, _: &mut Context) -> Result<(), StageError> {
        Err(StageError::failed(missing(&params.model_name_or_path)))
    }
}

impl Kind for FetchDataset {
    type Params = DatasetParams;
    const NAME: &'static str = "fetch-dataset";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Data sets from the hub by their ids (checked and planned; not runnable yet).";
    const TRAITS: Traits = Traits { network: true, ..Traits::PLAIN };

    fn inputs(&self, _: &DatasetParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &DatasetParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("dataset", PortType::Dataset, "rows")]
    }

    fn validate(&self, params: &DatasetParams) -> Vec<Problem> {
        hub_ids("dataset_name", &params.dataset_name)
    }

    fn unavailable(&self, params: &DatasetParams) -> Option<String> {
        Some(missing(&params.dataset_name.join(", ")))
    }

    fn run(&self, params: DatasetParams, _: &mut Context) -> Result<(), StageError> {
        Err(StageError::failed(missing(&params.dataset_name.join(", "))))
    }
}

fn missing(ids: &str) -> String {
    format!("fetching {ids} from the hub is not supported yet; put the files into a folder and use the kind `source`")
}

fn hub_ids(field: &str, ids: &[String]) -> Vec<Problem> {
    let is_id = |id: &str| id.split('/').count() == 2 && id.split('/').all(|part| !part.is_empty());
    let wrong = ids.iter().filter(|id| !is_id(id));
    let mut problems: Vec<Problem> = wrong
        .map(|id| Problem::new(field, format!("`{id}` is no hub id")).with_help("write it as `owner/name`"))
        .collect();
    if ids.is_empty() {
        problems.push(Problem::new(field, "must name at least one id"));
    }
    problems
}
