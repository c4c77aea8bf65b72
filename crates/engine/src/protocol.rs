//! What runner and worker say to each other: a request as a line of JSON, answered by a line for each event and a last
//! word, then perhaps the next request.
//!
//! The runner's side of the pipe has two more meanings: a line `cancel` asks for a checkpoint, and its end means
//! that the runner is gone or needs no more.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gazal_stage_api::{DeviceRequest, Event, OutPort, PortType, Role};
use gazal_store::{Artifact, Digest, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Manifest, RemoteUse, SlurmNeeds};

/// The line that asks for a checkpoint.
pub(crate) const CANCEL: &str = "cancel";

/// One action, with all that a worker needs to perform it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    pub store: PathBuf,
    /// Its digest is the action key.
    pub manifest: Manifest,
    /// As written, unkeyed parameters included.
    pub params: Map<String, Value>,
    pub inputs: BTreeMap<String, Vec<Artifact>>,
    pub outputs: Vec<Wanted>,
    pub seed: u64,
    pub device: DeviceRequest,
    /// The GPUs that its stage holds.
    #[serde(default)]
    pub gpus: Vec<usize>,
    /// Path-typed parameters as written, relative to `base`.
    pub paths: BTreeMap<String, Value>,
    pub base: PathBuf,
    pub threads: u32,
    /// Where the stage's own words go.
    pub log: PathBuf,
    /// Where results come from and go to, beside the store.
    #[serde(default)]
    pub remote: Option<RemoteUse>,
    /// The action of the stage that serves this one while it runs.
    pub service: Option<Box<Request>>,
    /// Run although the result is there.
    pub force: bool,
    /// Whether its kind runs programs.
    #[serde(default)]
    pub programs: bool,
    /// What its job asks for, where it is to run on Slurm.
    #[serde(default)]
    pub slurm: Option<SlurmNeeds>,
}

impl Request {
    /// Whether its worker starts programs, which must not outlive it.
    pub(crate) fn starts_programs(&self) -> bool {
        self.programs || self.service.is_some()
    }
}

/// An output to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    pub name: String,
    pub kind: PortType,
    pub role: Role,
}

impl Wanted {
    pub(crate) fn new(port: &OutPort) -> Wanted {
        Wanted { name: port.name.clone(), kind: port.kind, role: port.role }
    }
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "said", content = "what")]
pub enum Said {
    /// Another run holds the action's lock.
    Waiting,
    Event(Event),
    // Last words:
    /// The receipt is published.
    Ran,
    /// Another run was quicker.
    Found,
    Failed(String),
    /// Stopped after a checkpoint.
    Cancelled,
    /// An input's bytes are gone or altered.
    Damaged(Digest),
    /// The store cannot be used.
    Unusable(String),
}

/// What an error of the store means to the runner.
impl From<StoreError> for Said {
    fn from(error: StoreError) -> Said {
        if error.is_unusable() { Said::Unusable(error.to_string()) } else { Said::Failed(error.to_string()) }
    }
}

impl Said {
    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        !matches!(self, Said::Waiting | Said::Event(_))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_word_survives_a_line() {
        let progress = Event::Progress {
            done: 1,
            total: 2,
            unit: "steps".into(),
            metrics: BTreeMap::from([("loss".into(), 0.5)]),
        };
        for said in [
            Said::Waiting,
            Said::Event(progress),
            Said::Ran,
            Said::Failed("a\nb".into()),
            Said::Damaged(Digest::of("x")),
        ] {
            let line = serde_json::to_string(&said).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Said>(&line).unwrap(), said);
        }
    }
}
