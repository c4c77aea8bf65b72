//! `knowledge`: the embedded knowledge base as a data set, so that it is an artifact like any other.

use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, StageError, Traits};
use serde::{Deserialize, Serialize};

use super::knowledge;
use super::language::Language;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// `en` or `zh`.
    #[serde(default, skip_serializing_if = "Language::is_english")]
    #[schemars(extend("default" = "en"))]
    pub language: Language,
}

pub struct Knowledge;

impl Kind for Knowledge {
    type Params = Params;
    const NAME: &'static str = "knowledge";
    const REVISION: u32 = 1;
    const DOC: &'static str =
        "The embedded medical knowledge base as rows: general textbook facts, not for clinical use.";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("conditions", PortType::Dataset, "one row a condition")]
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let conditions = knowledge::conditions(params.language).map_err(StageError::failed)?;
        let path = context.output("conditions")?.join("conditions.jsonl");
        gazal_data::jsonl::write_all(&path, &conditions).map_err(StageError::failed)?;
        Ok(())
    }
}
