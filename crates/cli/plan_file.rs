//! A plan as a file: what was asked for, and what was promised. `run --plan FILE` keeps the promise or refuses.

use std::path::{Path, PathBuf};

use gazal_engine::{Plan, Requested};
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// Raised when an older program could misread what is in it.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PlanFile {
    format: u32,
    /// The pipeline file.
    pub file: PathBuf,
    pub requested: Requested,
    pub force: Vec<String>,
    pub plan: Plan,
}

impl PlanFile {
    pub fn new(file: PathBuf, requested: Requested, force: Vec<String>, plan: Plan) -> PlanFile {
        PlanFile { format: FORMAT, file, requested, force, plan }
    }

    pub fn read(path: &Path) -> Result<PlanFile, Failure> {
        let wrong = |why: String| {
            let help = "write one with gazal-pipe plan FILE --out PLAN";
            Failure::wrong(format!("cannot read the plan {}: {why}", path.display()), help)
        };
        let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let plan: PlanFile = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        match plan.format {
            FORMAT => Ok(plan),
            other => Err(wrong(format!("it has format {other}, and this program reads format {FORMAT}"))),
        }
    }

    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let failed =
            |why: String| Failure::new(Exit::Failed, format!("cannot write the plan {}: {why}", path.display()));
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.to_string()))?;
        std::fs::write(path, text).map_err(|error| failed(error.to_string()))
    }
}
