//! What can be said of a pipeline on this machine without running it, beyond what its text shows.

use gazal_spec::Pipeline;
use serde_json::Value;

use crate::kinds::{EXEC, ExecParams, undeclared_files};
use crate::prepare::{mistake, prepare};
use crate::{EngineError, Mistake, Options};

#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<Mistake>,
}

/// Looks for files that are not there (mistakes), for programs whose files no key sees, and for what this program
/// cannot do yet (warnings).
///
/// # Errors
/// When the store cannot be used.
pub fn check(pipeline: &Pipeline, options: &Options) -> Result<Findings, EngineError> {
    let mistakes = match prepare(pipeline, options) {
        Ok(_) => Vec::new(),
        Err(EngineError::Wrong(mistakes)) => mistakes,
        Err(error) => return Err(error),
    };
    let mut warnings = Vec::new();
    for &index in &options.selected {
        let stage = &pipeline.stages[index];
        if stage.kind.name() == EXEC {
            warnings.extend(undeclared(stage, options));
        }
        if let Some(reason) = stage.kind.unavailable(&stage.params) {
            warnings.push(mistake(stage, "", format!("cannot run yet: {reason}")));
        }
    }
    Ok(Findings { mistakes, warnings })
}

fn undeclared(stage: &gazal_spec::Stage, options: &Options) -> Vec<Mistake> {
    let params: Result<ExecParams, _> = serde_json::from_value(Value::Object(stage.params.as_ref().clone()));
    let files = params.map(|params| undeclared_files(&params, options.base())).unwrap_or_default();
    files
        .into_iter()
        .map(|file| Mistake {
            help: Some(format!("add it: sources = [\"{file}\"]")),
            ..mistake(stage, "params.command", format!("the command names `{file}`, whose changes would go unnoticed"))
        })
        .collect()
}
