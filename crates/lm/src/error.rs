use std::path::{Path, PathBuf};

/// What can be wrong with a model, an adapter, a tokenizer or a device.
#[derive(Debug, thiserror::Error)]
pub enum LmError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    File { path: PathBuf, message: String },
    #[error("{path}: tensor `{tensor}` {message}")]
    Tensor { path: PathBuf, tensor: String, message: String },
    /// A configuration that comes from no file.
    #[error("model configuration: {0}")]
    Config(String),
    #[error("{0}")]
    Device(String),
    #[error("{0}")]
    Tokenizer(String),
    #[error("adapter: {0}")]
    Adapter(String),
    #[error("`{0}` is no size: say for example `5GB`")]
    Size(String),
    #[error("chat template {template}: {message}")]
    Chat { template: String, message: String },
}

impl LmError {
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> LmError + '_ {
        move |source| LmError::Io { path: path.to_path_buf(), source }
    }

    pub fn file(path: &Path, message: impl std::fmt::Display) -> LmError {
        LmError::File { path: path.to_path_buf(), message: message.to_string() }
    }

    pub fn tensor(path: &Path, tensor: &str, message: impl std::fmt::Display) -> LmError {
        LmError::Tensor { path: path.to_path_buf(), tensor: tensor.into(), message: message.to_string() }
    }
}
