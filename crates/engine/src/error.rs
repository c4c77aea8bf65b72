//! Why the engine did not do what was asked, as opposed to a stage that failed, which is an outcome.

use std::path::PathBuf;

use gazal_spec::Place;
use gazal_store::StoreError;

/// Something about a stage that a person must change before it can run.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    pub stage: String,
    /// `params.path`, `backend`; empty when it is about the whole stage.
    pub field: String,
    pub message: String,
    pub help: Option<String>,
    pub place: Option<Place>,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A worker could not use the store.
    #[error("{0}")]
    Unusable(String),
    /// All that is wrong with the pipeline as it meets this machine and these files.
    #[error("{}", listed(.0))]
    Wrong(Vec<Mistake>),
    /// A plan that a run was to follow does not hold any more.
    #[error("the plan is stale, nothing was run: {}", .0.join("; "))]
    Stale(Vec<String>),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("cannot start a worker: {0}")]
    Launch(std::io::Error),
}

impl EngineError {
    /// Whether the store is at fault, and no run can succeed until that is mended.
    pub fn is_unusable_store(&self) -> bool {
        match self {
            EngineError::Store(error) => error.is_unusable(),
            EngineError::Unusable(_) => true,
            _ => false,
        }
    }

    /// An error at a path of a run's folder, which is a part of the store.
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> EngineError + '_ {
        move |source| StoreError::within(path, source).into()
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("{}: {}", mistake.stage, mistake.message)).collect();
    lines.join("\n")
}
