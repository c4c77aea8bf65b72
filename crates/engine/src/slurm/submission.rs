//! What a job is submitted with, on the file system that the runner and the cluster's nodes share.
//!
//! A submission is a folder of the run: `requests.jsonl` with a line for each task, `job.sh`, which runs the worker of
//! one line, and for each task its events and its log. A job bears the first digits of what it does as its name and
//! all of them as its comment, and the path of its script leads to the folder: so a runner finds the jobs of one that
//! died, although it noted nothing.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use gazal_store::Digest;

use super::needs::SlurmNeeds;
use super::queue::{self, PREFIX, Phase, Refusal, Row};
use super::tail::last_word;
use crate::{EngineError, Request};

const REQUESTS: &str = "requests.jsonl";
const SCRIPT: &str = "job.sh";
/// Told apart from an action's key: an array stands for many.
const CONTEXT: &str = "gazal-pipe 2026 slurm array v1";

/// A folder from which jobs are submitted.
pub(crate) struct Submission {
    folder: PathBuf,
}

/// A job, and what it leaves for the runner to read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// As Slurm counts them: `12`, `12_3`.
    pub id: String,
    pub events: PathBuf,
    pub log: PathBuf,
}

impl Submission {
    /// Writes what the nodes will read; durable before anything is submitted.
    pub fn write(run: &Path, program: &Path, requests: &[&Request]) -> Result<Submission, EngineError> {
        let name = identity(&keys(requests)).0;
        let folder = fresh_folder(&run.join("slurm"), &name).map_err(EngineError::io(run))?;
        let submission = Submission { folder };
        let mut lines = String::new();
        for request in requests {
            lines.push_str(&serde_json::to_string(request).map_err(|error| EngineError::Launch(error.into()))?);
            lines.push('\n');
        }
        submission.file(REQUESTS, &lines)?;
        submission.file(SCRIPT, &submission.script(program))?;
        let folders = [&submission.folder, &run.join("slurm")];
        folders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all()).map_err(EngineError::io(run))?;
        Ok(submission)
    }

    fn file(&self, name: &str, text: &str) -> Result<(), EngineError> {
        let path = self.folder.join(name);
        let written = File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()).and(file.sync_all()));
        written.map_err(EngineError::io(&path))
    }

    /// The worker takes the shell's place, so that signals to the job's batch step reach it.
    fn script(&self, program: &Path) -> String {
        let (program, folder) = (quoted(program), quoted(&self.folder));
        format!(
            "#!/bin/sh\n\
             task=\"${{SLURM_ARRAY_TASK_ID:-0}}\"\n\
             export RAYON_NUM_THREADS=\"${{SLURM_CPUS_PER_TASK:-${{SLURM_CPUS_ON_NODE:-1}}}}\"\n\
             exec {program} worker --request {folder}/{REQUESTS} --line \"$task\" --events {folder}/\"$task\".events.jsonl\n"
        )
    }

    /// Gives the log of a task a second name, that of its stage's log in the run.
    pub fn share_log(&self, task: usize, log: &Path) -> Result<(), EngineError> {
        OpenOptions::new().create(true).append(true).open(log).map_err(EngineError::io(log))?;
        let own = at(&self.folder, task, "log");
        link(log, &own).map_err(EngineError::io(&own))
    }

    /// Submits the folder's requests, as an array if they are several; `held` stays open in `sbatch`.
    pub fn submit(&self, requests: &[&Request], needs: &SlurmNeeds, held: Stdio) -> Result<Vec<Found>, Refusal> {
        let (name, comment) = identity(&keys(requests));
        let count = requests.len();
        let output = if count == 1 { "0.log" } else { "%a.log" };
        let mut arguments: Vec<OsString> = ["--parsable", "--requeue", "--open-mode=append"].map(Into::into).into();
        arguments.extend(needs.arguments().into_iter().map(OsString::from));
        arguments.push(format!("--job-name={name}").into());
        arguments.push(format!("--comment={comment}").into());
        arguments.push(format!("--output={}/{output}", queue::literal(&self.folder)).into());
        arguments.extend(["--chdir".into(), requests[0].base.clone().into_os_string()]);
        if count > 1 {
            let at_once = needs.options.at_once.map_or(String::new(), |most| format!("%{most}"));
            arguments.push(format!("--array=0-{}{at_once}", count - 1).into());
        }
        arguments.push(self.folder.join(SCRIPT).into());
        let number = queue::submit(&arguments, held)?;
        let id = |task| if count == 1 { number.clone() } else { format!("{number}_{task}") };
        Ok((0..count).map(|task| self.found(id(task), task)).collect())
    }

    fn found(&self, id: String, task: usize) -> Found {
        found(&self.folder, id, task)
    }
}

/// The jobs that do some actions already, whoever submitted them.
pub(crate) struct Finder {
    by_key: HashMap<Digest, (Phase, Found)>,
}

impl Finder {
    /// Of jobs of other stores nothing is known here: the same action for another store is other work.
    pub fn new(store: &Path, rows: &[Row]) -> Finder {
        let runs = resolved(&store.join("runs"));
        let mut folders: HashMap<&Path, (String, Vec<Digest>)> = HashMap::new();
        let mut by_key = HashMap::new();
        for row in rows.iter().filter(|row| row.phase() != Phase::Over) {
            let Some(folder) = row.script.parent() else { continue };
            let (comment, keys) = folders.entry(folder).or_insert_with(|| {
                let is_ours = row.script.ends_with(SCRIPT) && resolved(folder).starts_with(&runs);
                let keys = is_ours.then(|| read_keys(folder)).flatten().unwrap_or_default();
                (identity(&keys).1, keys)
            });
            let task: Option<usize> = row.id.split_once('_').map_or(Some(0), |(_, task)| task.parse().ok());
            let Some((task, key)) = task.and_then(|task| Some((task, *keys.get(task)?))) else { continue };
            if *comment == row.comment {
                by_key.insert(key, (row.phase(), found(folder, row.id.clone(), task)));
            }
        }
        Finder { by_key }
    }

    /// The job that does the action `key`, unless it is about to end.
    pub fn find(&self, key: &Digest) -> Option<Found> {
        let (phase, found) = self.by_key.get(key)?;
        let is_leaving = *phase == Phase::Runs && last_word(&found.events).is_some();
        (!is_leaving).then(|| found.clone())
    }
}

fn found(folder: &Path, id: String, task: usize) -> Found {
    Found { id, events: at(folder, task, "events.jsonl"), log: at(folder, task, "log") }
}

fn at(folder: &Path, task: usize, what: &str) -> PathBuf {
    folder.join(format!("{task}.{what}"))
}

/// Makes the log of a job that another runner submitted the stage's log of this run too.
pub(crate) fn adopt_log(found: &Found, log: &Path) -> io::Result<()> {
    match fs::remove_file(log) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => link(&found.log, log),
    }
}

/// A second name, or where the file system has none across folders, a link to the first.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| std::os::unix::fs::symlink(from, to))
}

fn keys(requests: &[&Request]) -> Vec<Digest> {
    requests.iter().map(|request| request.manifest.key()).collect()
}

/// Name and comment of a job: of its action, or of an array's actions together.
fn identity(keys: &[Digest]) -> (String, String) {
    let whole = match keys {
        [key] => key.hex(),
        _ => Digest::derive(CONTEXT, keys.iter().map(Digest::hex).collect::<String>()).hex(),
    };
    (format!("{PREFIX}{}", &whole[..16]), whole)
}

fn read_keys(folder: &Path) -> Option<Vec<Digest>> {
    let text = fs::read_to_string(folder.join(REQUESTS)).ok()?;
    text.lines().map(|line| Some(serde_json::from_str::<Request>(line).ok()?.manifest.key())).collect()
}

/// `<name>`, or where a stage is tried again in the same run, `<name>-2` and so on.
fn fresh_folder(parent: &Path, name: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(parent)?;
    let mut folder = parent.join(name);
    for attempt in 2.. {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                folder = parent.join(format!("{name}-{attempt}"));
            }
            other => return other.map(|()| folder),
        }
    }
    Ok(folder)
}

/// Without links on the way, where that can be found out.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}
