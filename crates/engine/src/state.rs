//! The states of a stage in a run, and how a run counts them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::resources::Claim;
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
    /// The run was stopped before it began, or its `when` does not hold.
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

    /// Whether its outputs are known.
    pub fn is_success(self) -> bool {
        matches!(self, Outcome::Hit | Outcome::Ran)
    }
}

/// Where a stage stands. Moved by `Runner::set` only.
pub(crate) enum State {
    /// Not asked for, or needed by nobody.
    Out,
    /// Something that it needs is still to be made.
    Waiting,
    /// Its manifest is complete and has no receipt; it waits for its turn.
    Ready(Box<Ready>),
    /// A worker is at it.
    Running(Box<Running>),
    Done(Outcome),
}

/// A stage that could run.
pub(crate) struct Ready {
    pub manifest: Manifest,
    /// How often it was tried.
    pub tried: u32,
    /// Not before then: it was tried and failed.
    pub after: Option<Instant>,
}

/// A stage that a worker is at.
pub(crate) struct Running {
    pub manifest: Manifest,
    pub job: Box<dyn Job>,
    pub started: Instant,
    pub claim: Claim,
    /// How often it was tried before.
    pub tried: u32,
    /// The worker's last words, once they are said.
    pub last: Option<Said>,
    pub end: End,
}

/// What a worker was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// Nothing.
    #[default]
    Open,
    /// To write a checkpoint.
    Asked,
    /// To go.
    Killed,
}
