use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Effects, Memo, Program, StageError};

/// Where a stage computes; resolved, so never `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "class", content = "index")]
pub enum Backend {
    Cpu,
    Wgpu(Option<usize>),
    Cuda(Option<usize>),
}

impl Backend {
    /// `cpu`, `wgpu` or `cuda`: what enters a key.
    pub fn class(self) -> &'static str {
        match self {
            Backend::Cpu => "cpu",
            Backend::Wgpu(_) => "wgpu",
            Backend::Cuda(_) => "cuda",
        }
    }

    /// Which of the devices of its class, where one is named.
    pub fn index(self) -> Option<usize> {
        match self {
            Backend::Cpu => None,
            Backend::Wgpu(index) | Backend::Cuda(index) => index,
        }
    }

    /// Reads `cpu`, `wgpu`, `wgpu:1`, `cuda`, `cuda:0`.
    pub fn from_name(name: &str) -> Option<Backend> {
        let (class, index) = match name.split_once(':') {
            Some((class, index)) => (class, Some(index.parse().ok()?)),
            None => (name, None),
        };
        match class {
            "cpu" if index.is_none() => Some(Backend::Cpu),
            "wgpu" => Some(Backend::Wgpu(index)),
            "cuda" => Some(Backend::Cuda(index)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Backend::Wgpu(Some(index)) | Backend::Cuda(Some(index)) => write!(f, "{}:{index}", self.class()),
            _ => f.write_str(self.class()),
        }
    }
}

/// The float type that a stage computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    #[default]
    F32,
    Bf16,
}

impl Precision {
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }

    pub fn from_name(name: &str) -> Option<Precision> {
        [Precision::F32, Precision::Bf16].into_iter().find(|precision| precision.name() == name)
    }
}

/// The device that the pipeline gives a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    pub backend: Backend,
    pub precision: Precision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Info,
    Warning,
}

/// What a running stage tells: shown to a person, kept as a record, never part of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "event")]
pub enum Event {
    /// `done` of `total` units (steps, items); `metrics` as they stand (`loss`, `reward`, `tokens_per_second`).
    Progress {
        done: u64,
        total: u64,
        unit: String,
        metrics: BTreeMap<String, f64>,
    },
    Message {
        level: Level,
        text: String,
    },
}

/// Where a stage reads and writes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Folders {
    /// Port to read-only folders, in the order of the pipeline.
    pub inputs: BTreeMap<String, Vec<PathBuf>>,
    /// Output to a fresh, empty folder.
    pub outputs: BTreeMap<String, PathBuf>,
    /// What path-typed parameters point at: parameter to resolved absolute paths.
    pub paths: BTreeMap<String, Vec<PathBuf>>,
    /// For checkpoints; survives a kill, gone after success.
    pub wip: PathBuf,
    /// What path-typed parameters are relative to: the pipeline file's folder.
    pub base: PathBuf,
}

/// Something that serves a stage. Dropping it ends it.
pub trait Server {
    /// `http://127.0.0.1:PORT`
    fn url(&self) -> &str;
}

/// All that a stage may touch.
pub struct Context<'a> {
    pub folders: Folders,
    /// The stage's seed; 0 for kinds that declare none.
    pub seed: u64,
    pub device: DeviceRequest,
    /// The GPUs that it was given, by their places among those of this machine; empty where it asked for none, or
    /// somebody else shares them out.
    pub gpus: Vec<usize>,
    /// Where the stage that serves this one listens: `http://127.0.0.1:PORT`.
    pub service: Option<String>,
    /// What the kind's pins stand at: [`crate::Pin::what`] to, say, a commit.
    pub pins: BTreeMap<String, String>,
    /// The pipeline's name for this stage is deliberately absent: results must not depend on it.
    report: &'a mut dyn FnMut(Event),
    cancelled: &'a dyn Fn() -> bool,
    /// What the kind declares to do beside reading and writing its folders.
    effects: Option<&'a dyn Effects>,
}

impl<'a> Context<'a> {
    pub fn new(
        folders: Folders,
        seed: u64,
        device: DeviceRequest,
        report: &'a mut dyn FnMut(Event),
        cancelled: &'a dyn Fn() -> bool,
    ) -> Context<'a> {
        let (service, pins) = (None, BTreeMap::new());
        Context { folders, seed, device, gpus: Vec::new(), service, pins, report, cancelled, effects: None }
    }

    /// Lets the stage have effects.
    pub fn with_effects(self, effects: &'a dyn Effects) -> Context<'a> {
        Context { effects: Some(effects), ..self }
    }

    /// The folder at a port that takes one artifact.
    ///
    /// # Errors
    /// [`StageError::NoPort`] when nothing is connected.
    pub fn input(&self, port: &str) -> Result<&Path, StageError> {
        self.optional(port).ok_or_else(|| StageError::NoPort(port.into()))
    }

    /// The folder at an optional port.
    pub fn optional(&self, port: &str) -> Option<&Path> {
        self.inputs(port).first().map(PathBuf::as_path)
    }

    /// The folders at a port that takes several artifacts, in the order of the pipeline.
    pub fn inputs(&self, port: &str) -> &[PathBuf] {
        self.folders.inputs.get(port).map_or(&[], Vec::as_slice)
    }

    /// What a pin stands at.
    ///
    /// # Errors
    /// [`StageError::Failed`] for a pin that the kind did not declare.
    pub fn pinned(&self, what: &str) -> Result<&str, StageError> {
        let pinned = self.pins.get(what).map(String::as_str);
        pinned.ok_or_else(|| StageError::failed(format!("`{what}` is pinned to nothing")))
    }

    /// The empty folder for an output.
    ///
    /// # Errors
    /// [`StageError::NoPort`] when the kind did not declare it.
    pub fn output(&self, name: &str) -> Result<&Path, StageError> {
        self.folders.outputs.get(name).map(PathBuf::as_path).ok_or_else(|| StageError::NoPort(name.into()))
    }

    /// What a path-typed parameter points at.
    pub fn paths(&self, parameter: &str) -> &[PathBuf] {
        self.folders.paths.get(parameter).map_or(&[], Vec::as_slice)
    }

    /// Answers worth keeping, by what was asked: kept in the store outside of every key, so that a second run, or one
    /// after a kill, need not ask again. What is answered from it and what is asked anew must mean the same.
    ///
    /// # Errors
    /// [`StageError::Undeclared`] for a kind that does not declare it.
    pub fn memo(&self, namespace: &str) -> Result<Memo<'a>, StageError> {
        Ok(Memo::new(self.effects("memo")?, namespace))
    }

    /// Runs a program to its end and gives what it wrote to its standard output; it ends with the stage.
    ///
    /// # Errors
    /// [`StageError::Undeclared`] for a kind that does not declare it, [`StageError::Cancelled`] if the run stops, and
    /// a program that fails, takes too long or cannot be started.
    pub fn run_program(&self, program: &Program) -> Result<Vec<u8>, StageError> {
        self.effects("programs")?.run_program(program, self.cancelled)
    }

    /// A secret, by the name of the environment variable that holds it. It must get into no message, file or key.
    ///
    /// # Errors
    /// [`StageError::Undeclared`] for a kind that does not declare it, and a variable that is not set.
    pub fn secret(&self, variable: &str) -> Result<String, StageError> {
        self.effects("secrets")?.secret(variable)
    }

    fn effects(&self, what: &'static str) -> Result<&'a dyn Effects, StageError> {
        self.effects.ok_or(StageError::Undeclared(what))
    }

    /// The folder for checkpoints of this action.
    pub fn wip(&self) -> &Path {
        &self.folders.wip
    }

    /// Whether the run wants this stage to write a checkpoint and return [`StageError::Cancelled`].
    pub fn cancelled(&self) -> bool {
        (self.cancelled)()
    }

    /// The same question, for what is given it along.
    pub fn cancellation(&self) -> &'a dyn Fn() -> bool {
        self.cancelled
    }

    pub fn report(&mut self, event: Event) {
        (self.report)(event);
    }

    /// Reports progress; `metrics` as name and value.
    pub fn progress(&mut self, done: u64, total: u64, unit: &str, metrics: &[(&str, f64)]) {
        let metrics = metrics.iter().map(|&(name, value)| (name.to_string(), value)).collect();
        self.report(Event::Progress { done, total, unit: unit.into(), metrics });
    }

    pub fn say(&mut self, level: Level, text: impl Into<String>) {
        self.report(Event::Message { level, text: text.into() });
    }
}
