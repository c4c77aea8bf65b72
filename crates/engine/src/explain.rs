//! Why a stage will run, or why it last did.

use gazal_spec::Pipeline;
use gazal_store::Digest;
use serde::Serialize;

use crate::record::read_record;
use crate::{Cause, EngineError, Options, Outcome, PlanState, Planned, plan};

/// A stage's plan, and for a hit the run that made it.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    #[serde(rename = "plan")]
    pub planned: Planned,
    pub made: Option<PastRun>,
}

/// The run in which a stage last ran.
#[derive(Clone, Debug, Serialize)]
pub struct PastRun {
    pub run: String,
    pub started: String,
    pub seconds: Option<f64>,
    pub causes: Vec<Cause>,
}

/// Explains the stages at `wanted`; `options.selected` must hold them and what they need.
///
/// # Errors
/// As [`plan()`].
pub fn explain(pipeline: &Pipeline, options: &Options, wanted: &[usize]) -> Result<Vec<Explanation>, EngineError> {
    let names: Vec<&str> = wanted.iter().map(|&index| pipeline.stages[index].name.as_str()).collect();
    let stages = plan(pipeline, options)?.stages.into_iter().filter(|planned| names.contains(&planned.name.as_str()));
    stages
        .map(|planned| {
            let made = match (planned.state, &planned.key) {
                (PlanState::Hit, Some(key)) => made_in(options, key)?,
                _ => None,
            };
            Ok(Explanation { planned, made })
        })
        .collect()
}

/// The latest run that made what is under `key`.
fn made_in(options: &Options, key: &Digest) -> Result<Option<PastRun>, EngineError> {
    for dir in options.store.runs()?.iter().rev() {
        let Ok(record) = read_record(dir) else { continue };
        let made = record.stages.into_iter().find(|stage| stage.state == Some(Outcome::Ran) && stage.key == Some(*key));
        if let Some(stage) = made {
            let (run, started) = (record.header.run, record.header.started);
            return Ok(Some(PastRun { run, started, seconds: stage.seconds, causes: stage.causes }));
        }
    }
    Ok(None)
}
