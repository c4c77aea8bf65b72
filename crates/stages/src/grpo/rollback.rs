//! What is done about a sentinel's verdict: it is said, the stage is stopped, or the policy goes back.
//!
//! **Going back** is to the newest good point that is not younger than the window of the verdict, since the steps in the
//! window are what is wrong, and never further than the last time, since what came before that was found good. From there the same prompts are drawn with the same random numbers, and the learning rate
//! is that of the schedule times `learning_rate_factor`, once more for each time: what went wrong was a step too far, and
//! no prompt is lost. After `max_rollbacks` times the next one stops the stage.
//!
//! Good points are taken every `steps` steps and at the start, apart from the checkpoints against kills: how often those
//! are taken is in no key, so a result must not depend on them. All decisions follow from the history; a run that was
//! killed anywhere in between makes them again.

use std::fs;
use std::path::PathBuf;

use gazal_stage_api::{Context, JsonSchema, Level, Problem, StageError};
use gazal_train::{Checkpoint, Snapshot, latest_checkpoint, save_checkpoint};
use serde::{Deserialize, Serialize};

use super::Params;
use super::sentinels::{Action, Entry, Verdict, verdicts};

/// How a sentinel with the action `rollback` goes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Rollback {
    /// Generations between good points.
    pub steps: u64,
    /// The learning rate is multiplied by it each time.
    pub learning_rate_factor: f64,
    /// Times after which the stage is stopped instead.
    pub max_rollbacks: usize,
}

impl Default for Rollback {
    fn default() -> Rollback {
        Rollback { steps: 10, learning_rate_factor: 0.5, max_rollbacks: 3 }
    }
}

impl Rollback {
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.steps == 0 {
            problems.push(Problem::new("rollback.steps", "must be at least 1"));
        }
        if !(self.learning_rate_factor > 0.0 && self.learning_rate_factor < 1.0) {
            let message = format!("is {}, must be between 0 and 1", self.learning_rate_factor);
            let problem = Problem::new("rollback.learning_rate_factor", message);
            problems.push(problem.with_help("with the same rate the same steps would follow"));
        }
        problems
    }
}

/// A verdict that something followed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The step that was gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<u64>,
}

/// What the training does next.
#[derive(Debug, PartialEq)]
pub enum Next {
    Go,
    /// To the state after this step.
    Back(u64),
}

/// Hears the history and decides.
pub struct Watcher<'a> {
    params: &'a Params,
    wip: PathBuf,
    /// In the order in which they came; part of every checkpoint.
    pub alarms: Vec<Alarm>,
}

impl<'a> Watcher<'a> {
    pub fn new(params: &'a Params, context: &Context, alarms: Vec<Alarm>) -> Watcher<'a> {
        Watcher { params, wip: context.wip().to_path_buf(), alarms }
    }

    /// What the schedule's learning rate is multiplied by.
    pub fn rate_factor(&self) -> f64 {
        self.params.rollback.learning_rate_factor.powi(i32::try_from(self.rollbacks()).unwrap_or(i32::MAX))
    }

    fn rollbacks(&self) -> usize {
        self.alarms.iter().filter(|alarm| alarm.back_to.is_some()).count()
    }

    /// Steps between good points, in optimizer steps.
    fn between(&self) -> u64 {
        self.params.rollback.steps * self.params.updates_per_generation()
    }

    /// Whether a good point is due after `done` steps.
    pub fn wants_good(&self, done: u64) -> bool {
        self.params.sentinels.roll_back() && done.is_multiple_of(self.between())
    }

    /// Takes a good point after `done` steps, and lets go of those that no verdict can reach any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_good(&self, done: u64, snapshot: &Snapshot) -> Result<(), StageError> {
        let folder = self.good_folder(done);
        save_checkpoint(&folder, snapshot, 1).map_err(StageError::failed)?;
        let needed = self.good_point(done, self.params.sentinels.longest_window());
        let old = (0..needed).step_by(usize::try_from(self.between()).unwrap_or(usize::MAX));
        for folder in old.map(|step| self.good_folder(step)).filter(|folder| folder.exists()) {
            fs::remove_dir_all(&folder).map_err(StageError::io(&folder))?;
        }
        Ok(())
    }

    /// The newest good point whose weights were measured before the last `window` of `done` steps: a step's metrics are
    /// those of the weights before it.
    fn good_point(&self, done: u64, window: usize) -> u64 {
        let before = done.saturating_sub(window as u64 + 1);
        before - before % self.between()
    }

    fn good_folder(&self, step: u64) -> PathBuf {
        self.wip.join("good").join(step.to_string())
    }

    /// Looks at the history after the updates on a rollout, says what is new, and decides.
    ///
    /// # Errors
    /// The verdict that stops the stage.
    pub fn look(&mut self, history: &[Entry], context: &mut Context) -> Result<Next, StageError> {
        let found = verdicts(&self.params.sentinels, history);
        let before =
            history.len().saturating_sub(usize::try_from(self.params.updates_per_generation()).unwrap_or(usize::MAX));
        let before = verdicts(&self.params.sentinels, &history[..before]);
        for verdict in found.iter().filter(|verdict| before.iter().all(|one| one.sentinel != verdict.sentinel)) {
            context.say(Level::Warning, verdict.to_string());
            if verdict.action == Action::Warn {
                self.alarms.push(Alarm { verdict: verdict.clone(), back_to: None });
            }
        }
        if let Some(verdict) = found.iter().find(|verdict| verdict.action == Action::Stop) {
            return Err(stopped(verdict, "the stage was stopped"));
        }
        let Some(verdict) = found.iter().find(|verdict| verdict.action == Action::Rollback) else {
            return Ok(Next::Go);
        };
        if self.rollbacks() >= self.params.rollback.max_rollbacks {
            let what = format!("the stage was stopped after {} rollbacks", self.rollbacks());
            return Err(stopped(verdict, &what));
        }
        let earlier = self.alarms.iter().rev().find_map(|alarm| alarm.back_to).unwrap_or(0);
        let to = self.good_point(verdict.step, verdict.window).max(earlier);
        self.alarms.push(Alarm { verdict: verdict.clone(), back_to: Some(to) });
        let factor = self.rate_factor();
        context.say(Level::Warning, format!("back to step {to}, with the learning rate times {factor}"));
        Ok(Next::Back(to))
    }

    /// The good point of a step, and no checkpoint of what followed it any more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn go_back(&self, to: u64) -> Result<Checkpoint, StageError> {
        while let Some(later) = latest_checkpoint(&self.wip).map_err(StageError::failed)?.filter(|one| one.step > to) {
            let folder = self.wip.join(format!("checkpoint-{}", later.step));
            fs::remove_dir_all(&folder).map_err(StageError::io(&folder))?;
        }
        let folder = self.good_folder(to);
        let lost = || StageError::failed(format!("the good point of step {to} is gone from {}", folder.display()));
        latest_checkpoint(&folder).map_err(StageError::failed)?.ok_or_else(lost)
    }
}

fn stopped(verdict: &Verdict, what: &str) -> StageError {
    let name = verdict.sentinel.name();
    let remedy = format!("look at its metrics, change rewards or rate, or set `sentinels.{name}.action = \"warn\"`");
    StageError::failed(format!("{verdict}; {what}: {remedy}"))
}
