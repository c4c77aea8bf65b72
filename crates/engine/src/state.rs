//! The states of a stage in a run, and how a run counts them.

use serde::{Deserialize, Serialize};

use crate::{Job, Manifest, Said};

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The result was there.
    Hit,
    Ran,
    Failed,
    /// Something that it needs failed.
    Blocked,
    /// The run was stopped before it began.
    Skipped,
    /// The run was stopped while it ran.
    Interrupted,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Hit => "hit",
            Outcome::Ran => "ran",
            Outcome::Failed => "failed",
            Outcome::Blocked => "blocked",
            Outcome::Skipped => "skipped",
            Outcome::Interrupted => "interrupted",
        }
    }

    /// Whether its outputs are there.
    pub fn is_success(self) -> bool {
        matches!(self, Outcome::Hit | Outcome::Ran)
    }
}

/// Where a stage stands. Moved by `Runner::set` only.
pub(crate) enum State {
    /// Not asked for.
    Out,
    /// Something that it needs is still to be made.
    Waiting,
    /// Its manifest is complete and has no receipt; it waits for slots.
    Ready(Box<Manifest>),
    /// A worker is at it.
    Running(Box<Running>),
    Done(Outcome),
}

/// A stage that a worker is at.
pub(crate) struct Running {
    pub manifest: Manifest,
    pub job: Box<dyn Job>,
    pub started: std::time::Instant,
    pub cpus: u32,
    /// The worker's last words, once they are said.
    pub last: Option<Said>,
    /// It was told to write a checkpoint.
    pub asked: bool,
    /// It was ended.
    pub killed: bool,
}
