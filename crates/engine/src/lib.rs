//! Decides what must run, runs it within its resources, records what happened, explains why.
//!
//! A stage's [`Manifest`] holds everything that its result depends on; its digest is the key under which the store
//! remembers the result. [`plan()`] compares manifests with what the store has, [`run()`] makes what is missing in
//! worker processes of the same binary, and [`explain()`] shows the difference between two manifests. The engine
//! knows nothing of tensors and prints nothing: a run tells its observer what happens.
//!
//! One owner holds all state of a run (`run.rs`) and hears of its workers over one channel; a worker
//! (`worker.rs`) takes an action's lock, looks a second time, runs the kind and publishes the receipt
//! (`action.rs`), so that two runs that want the same work do it once.

mod action;
mod cancel;
mod cause;
mod check;
mod content;
mod diff;
mod effects;
mod error;
mod estimate;
mod explain;
mod graph;
mod guard;
mod history;
pub mod kinds;
mod launch;
mod manifest;
mod metrics;
mod options;
mod paths;
mod plan;
mod prepare;
mod process;
mod program;
mod protocol;
mod record;
mod remote;
mod resources;
mod run;
mod slurm;
mod state;
mod worker;

pub use action::perform;
pub use cancel::{CancelToken, Stop};
pub use cause::Cause;
pub use check::{Findings, check};
pub use content::content_digest;
pub use diff::{FieldDiff, StageDiff, diff};
pub use error::{EngineError, Mistake};
pub use estimate::{Estimate, Past};
pub use explain::{Explanation, PastRun, explain};
pub use graph::{GraphInput, GraphStage, read_graph};
pub use guard::guard_main;
pub use launch::{Executors, Job, Launch, Launcher, ProcessLauncher, Report, Sink};
pub use manifest::{Compute, FORMAT, Manifest, canonical_json};
pub use metrics::read as read_metrics;
pub use options::{Options, Requested};
pub use paths::paths_of;
pub use plan::plan;
pub use plan::{Plan, PlanState, Planned};
pub use prepare::bare_manifest;
pub use protocol::{Request, Said};
pub use record::{
    Header, Machine, Record, RunEvent, StageRecord, Summary, Told, log_path, read_header, read_hits, read_record,
    read_story,
};
pub use remote::RemoteUse;
pub use run::run;
pub use slurm::{Pace, SlurmLauncher, SlurmNeeds, job_worker_main};
pub use state::Outcome;
pub use worker::worker_main;

#[cfg(test)]
mod tests;
