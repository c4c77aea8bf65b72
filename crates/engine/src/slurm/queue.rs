//! Slurm's commands, and what its queue says.
//!
//! `sbatch`, `squeue`, `scancel` and `scontrol` are all that is asked of a cluster: no accounting (`sacct`), no REST
//! daemon. One `squeue` tells of all jobs of this user.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// What all jobs of pipelines are called, before the first 16 digits of what they do.
pub(crate) const PREFIX: &str = "gz-";
/// Id, state, reason, time used, time limit, nodes, name, comment and script.
const FORMAT: &str = "%i|%T|%r|%M|%l|%N|%j|%k|%o";

/// Why Slurm did not do what was asked: which command, and what it said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("cannot run `{0}`: {1}; is Slurm installed on this machine, and in the PATH?")]
    NoCommand(&'static str, io::Error),
    #[error("`{0}` says: {1}")]
    Refused(&'static str, String),
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In the queue, again perhaps.
    Waits,
    /// On a node, or about to leave it.
    Runs,
    /// It will not run again.
    Over,
}

/// A job, or a task of an array, as `squeue` shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// `12`, or `12_3` for a task.
    pub id: String,
    /// `RUNNING`, …
    pub state: String,
    /// Why it waits.
    pub reason: String,
    /// How long it has run.
    pub used: Option<Duration>,
    /// How long it may.
    pub limit: Option<Duration>,
    pub node: String,
    pub name: String,
    pub comment: String,
    pub script: PathBuf,
}

impl Row {
    fn read(line: &str) -> Option<Row> {
        let fields: Vec<&str> = line.splitn(9, '|').collect();
        let [id, state, reason, used, limit, node, name, comment, script] = fields.try_into().ok()?;
        Some(Row {
            id: id.into(),
            state: state.into(),
            reason: reason.into(),
            used: duration(used),
            limit: duration(limit),
            node: node.into(),
            name: name.into(),
            comment: comment.into(),
            script: script.into(),
        })
    }

    /// A failed node or preemption puts a job back into the queue, so that what looks like an end may be none: the
    /// poller gives it time.
    pub fn phase(&self) -> Phase {
        match self.state.as_str() {
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD" | "SPECIAL_EXIT"
            | "RESV_DEL_HOLD" => Phase::Waits,
            "BOOT_FAIL" | "CANCELLED" | "COMPLETED" | "DEADLINE" | "FAILED" | "NODE_FAIL" | "OUT_OF_MEMORY"
            | "PREEMPTED" | "REVOKED" | "TIMEOUT" => Phase::Over,
            _ => Phase::Runs,
        }
    }
}

/// `1-02:03:04`, `02:03:04` or `03:04`.
fn duration(text: &str) -> Option<Duration> {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let seconds = clock.split(':').try_fold(0, |sum: u64, part| Some(sum * 60 + part.parse::<u64>().ok()?))?;
    Some(Duration::from_secs(days.parse::<u64>().ok()? * 86_400 + seconds))
}

/// All jobs of pipelines of this user, tasks of arrays one by one, those that ended a short while ago included.
pub(crate) fn jobs() -> Result<Vec<Row>, Refusal> {
    let text = ask("squeue", ["--me", "--states=all", "--array", "--noheader", "--format", FORMAT], Stdio::null())?;
    Ok(text.lines().filter_map(Row::read).filter(|row| row.name.starts_with(PREFIX)).collect())
}

/// Submits; `held` stays open in `sbatch` until it has ended. The job's number.
pub(crate) fn submit(arguments: &[OsString], held: Stdio) -> Result<String, Refusal> {
    let answer = ask("sbatch", arguments, held)?;
    // Behind a `;` stands the cluster's name.
    let number = answer.trim().split(';').next().unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { Ok(number.into()) } else { Err(Refusal::Refused("sbatch", answer)) }
}

/// Asks the workers of running jobs for a checkpoint, and takes waiting ones out of the queue. `scancel` looks at
/// the state and acts in one step, so a job that starts meanwhile is not ended by mistake.
pub(crate) fn ask_for_checkpoint(ids: &[String]) {
    withdraw(ids);
    let _ = cancel(&["--quiet", "--state=RUNNING", "--signal=USR1", "--batch"], ids);
}

/// Takes waiting jobs out of the queue.
pub(crate) fn withdraw(ids: &[String]) {
    let _ = cancel(&["--quiet", "--state=PENDING"], ids);
}

/// Ends jobs.
pub(crate) fn end(ids: &[String]) {
    let _ = cancel(&["--quiet"], ids);
}

/// A job that is gone already is no failure.
fn cancel(options: &[&str], ids: &[String]) -> Result<(), Refusal> {
    if ids.is_empty() {
        return Ok(());
    }
    let arguments = options.iter().copied().chain(ids.iter().map(String::as_str));
    ask("scancel", arguments, Stdio::null()).map(drop)
}

/// A field of `scontrol show job`, while Slurm remembers the job.
pub(crate) fn detail(id: &str, field: &str) -> Option<String> {
    let text = ask("scontrol", ["show", "job", "--oneliner", id], Stdio::null()).ok()?;
    let mut words = text.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    words.find(|(name, _)| *name == field).map(|(_, value)| value.to_string())
}

/// The largest index of an array, plus one: a setting of the cluster.
pub(crate) fn max_array_size() -> Result<usize, Refusal> {
    let text = ask("scontrol", ["show", "config"], Stdio::null())?;
    let mut fields = text.lines().filter_map(|line| line.split_once('='));
    let size = fields.find(|(name, _)| name.trim() == "MaxArraySize").and_then(|(_, size)| size.trim().parse().ok());
    Ok(size.unwrap_or(1))
}

fn ask<I, S>(program: &'static str, arguments: I, input: Stdio) -> Result<String, Refusal>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments).stdin(input);
    forget_surroundings(&mut command);
    let output = command.output().map_err(|error| Refusal::NoCommand(program, error))?;
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(Refusal::Refused(program, complaint(&output))) }
}

/// Where Slurm is, and who asks.
const KEPT: [&str; 2] = ["SLURM_CONF", "SLURM_JWT"];

/// A runner may itself be a job: what Slurm told that one (its number, its place in an array, its memory) is not for
/// the jobs that it submits. Settings of the commands would change what is read here.
fn forget_surroundings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_setting = ["SLURM_", "SQUEUE_", "SCANCEL_"].iter().any(|prefix| text.starts_with(prefix));
        if is_setting && !KEPT.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
}

fn complaint(output: &Output) -> String {
    let said = text(&output.stderr);
    let said = said.trim();
    if said.is_empty() { output.status.to_string() } else { said.replace('\n', "; ") }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `%` begins a pattern in the name of a job's output.
pub(crate) fn literal(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_line_of_the_queue_is_read_with_a_script_of_any_name() {
        let row = Row::read("2_3|PENDING|JobArrayTaskLimit|1-00:00:05|1:00|vm|gz-aaa|cafe|/tmp/a|b/job.sh").unwrap();
        assert_eq!((row.id.as_str(), row.phase(), row.comment.as_str()), ("2_3", Phase::Waits, "cafe"));
        assert_eq!((row.used, row.script), (Some(Duration::from_secs(86_405)), PathBuf::from("/tmp/a|b/job.sh")));
        assert_eq!(Row::read("too|short"), None);
    }

    #[test]
    fn times_are_read_in_all_their_lengths() {
        let read = |text| duration(text).map(|time| time.as_secs());
        assert_eq!(["0:07", "1:02:03", "2-00:00:01"].map(read), [Some(7), Some(3723), Some(172_801)]);
        assert_eq!(["INVALID", ""].map(read), [None, None]);
    }
}
