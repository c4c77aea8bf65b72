//! What a person asked for, resolved by the program that was asked.

use std::path::{Path, PathBuf};

use gazal_spec::{BackendChoice, Stage};
use gazal_stage_api::{Backend, DeviceRequest, Pin};
use gazal_store::Store;
use serde::{Deserialize, Serialize};

use crate::{CancelToken, Launcher, Plan};

/// How to plan and run a pipeline.
pub struct Options<'a> {
    pub store: Store,
    /// The pipeline file, absolute; paths in it start at its folder.
    pub file: PathBuf,
    /// Stages that were asked for, in the pipeline's order: their results must be there afterwards.
    pub targets: Vec<usize>,
    /// The targets with all that they need, in the pipeline's order.
    pub selected: Vec<usize>,
    /// Run no stage but the targets.
    pub single: bool,
    /// What a plan said: where the world has moved since, nothing runs.
    pub expected: Option<Plan>,
    /// Stages among them to run though their results are there.
    pub force: Vec<usize>,
    /// Stages that run at once, at most.
    pub jobs: usize,
    /// CPU slots; also what a computing stage takes when it does not say.
    pub threads: u32,
    /// What stages that say how much memory they need may take together, in bytes.
    pub memory: u64,
    /// How many CUDA devices there are.
    pub gpus: usize,
    /// Start nothing more after a failure.
    pub fail_fast: bool,
    /// The backend behind `auto`; asked at most when a stage says `auto`.
    pub auto: &'a dyn Fn() -> Backend,
    /// What a pin stands at; `None` where only a run may ask.
    pub pin: &'a dyn Fn(&Pin) -> Result<Option<String>, String>,
    /// Whether this program on this machine can compute there; asked only when something must run.
    pub device_check: &'a dyn Fn(Backend) -> Result<(), String>,
    /// Whether jobs can be submitted here; asked only when one must be.
    pub slurm_check: &'a dyn Fn() -> Result<(), String>,
    pub launcher: &'a dyn Launcher,
    pub cancel: CancelToken,
    /// Kept in the run's record.
    pub requested: Requested,
}

/// The command line behind a run, so that it can be asked for again by the run's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Requested {
    pub profiles: Vec<String>,
    pub set: Vec<(String, String)>,
    pub backend: Vec<(Option<String>, String)>,
    pub targets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single: bool,
}

impl Options<'_> {
    /// The folder at which the pipeline's paths start.
    pub fn base(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    pub(crate) fn device(&self, stage: &Stage) -> DeviceRequest {
        let backend = match stage.backend {
            BackendChoice::Given(backend) => backend,
            BackendChoice::Auto => (self.auto)(),
        };
        DeviceRequest { backend, precision: stage.precision }
    }

    /// CPU slots of a stage: as the file says, else all for a computing kind and one for another.
    pub(crate) fn cpus(&self, stage: &Stage) -> u32 {
        let wanted = match stage.needs.cpus {
            0 if stage.kind.traits().computes => self.threads,
            0 => 1,
            given => given,
        };
        wanted.clamp(1, self.threads.max(1))
    }
}
