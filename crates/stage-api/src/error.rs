use std::path::{Path, PathBuf};

/// Why a stage did not finish.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The run was asked to stop; a checkpoint is in `wip/`.
    #[error("cancelled")]
    Cancelled,
    #[error("parameter `{0}`: {1}")]
    Params(String, String),
    /// A mistake of the kind itself.
    #[error("this kind does not declare the effect `{0}` in its traits")]
    Undeclared(&'static str),
    #[error("there is no port `{0}`")]
    NoPort(String),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// Anything else: what happened, where, and what to do.
    #[error("{0}")]
    Failed(String),
}

impl StageError {
    pub fn failed(message: impl std::fmt::Display) -> StageError {
        StageError::Failed(message.to_string())
    }

    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StageError + '_ {
        move |source| StageError::Io { path: path.to_path_buf(), source }
    }
}
