//! How a run gets its workers: processes of the same binary, jobs of a cluster (`slurm`), or, in tests, threads.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::protocol::CANCEL;
use crate::{EngineError, Request, Said, SlurmLauncher, process};

/// What a run hears of a worker.
pub enum Report {
    Said(Said),
    /// Nothing more will be said.
    Ended,
}

/// Where a worker's reports go.
pub type Sink = Box<dyn Fn(Report) + Send>;

/// Starts workers.
pub trait Launcher {
    /// # Errors
    /// When no worker could be started.
    fn launch(&self, request: &Request, log: &Path, sink: Sink) -> Result<Box<dyn Job>, EngineError>;

    /// Starts several at once, in their order: for executors to which that means something.
    ///
    /// # Errors
    /// When one of them could not be started.
    fn launch_many(&self, launches: Vec<Launch>) -> Result<Vec<Box<dyn Job>>, EngineError> {
        launches.into_iter().map(|launch| self.launch(&launch.request, &launch.log, launch.sink)).collect()
    }
}

/// What a worker is started with.
pub struct Launch {
    pub request: Request,
    pub log: PathBuf,
    pub sink: Sink,
}

/// Starts each worker where its stage says: here, or on Slurm.
pub struct Executors<L> {
    pub local: L,
    pub slurm: SlurmLauncher,
}

impl<L: Launcher> Executors<L> {
    fn of(&self, request: &Request) -> &dyn Launcher {
        if request.slurm.is_some() { &self.slurm } else { &self.local }
    }
}

impl<L: Launcher> Launcher for Executors<L> {
    fn launch(&self, request: &Request, log: &Path, sink: Sink) -> Result<Box<dyn Job>, EngineError> {
        self.of(request).launch(request, log, sink)
    }

    /// Launches that belong together run in the same place.
    fn launch_many(&self, launches: Vec<Launch>) -> Result<Vec<Box<dyn Job>>, EngineError> {
        match launches.first() {
            Some(first) => self.of(&first.request).launch_many(launches),
            None => Ok(Vec::new()),
        }
    }
}

/// A worker at work. Dropping it ends it.
pub trait Job {
    /// Asks for a checkpoint.
    fn cancel(&mut self);
    /// Ends it and all that it started.
    fn kill(&mut self);
    /// After [`Report::Ended`]: how it ended, for people.
    fn reap(&mut self) -> String;
}

/// Runs each action in a process of `program`, with the argument `worker`.
pub struct ProcessLauncher {
    pub program: PathBuf,
}

impl Launcher for ProcessLauncher {
    fn launch(&self, request: &Request, log: &Path, sink: Sink) -> Result<Box<dyn Job>, EngineError> {
        let log = OpenOptions::new().create(true).append(true).open(log).map_err(EngineError::io(log))?;
        let child = self.spawn(request, log).map_err(EngineError::Launch)?;
        let mut job = ProcessJob { child, reaped: false };
        let line = serde_json::to_string(request).map_err(|error| EngineError::Launch(error.into()))?;
        job.say(&line);
        if let Some(output) = job.child.stdout.take() {
            thread::spawn(move || relay(output, &sink));
        }
        Ok(Box::new(job))
    }
}

impl ProcessLauncher {
    fn spawn(&self, request: &Request, log: File) -> std::io::Result<Child> {
        Command::new(&self.program)
            .arg("worker")
            .current_dir(&request.base)
            .env("RAYON_NUM_THREADS", request.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
    }
}

fn relay(output: ChildStdout, sink: &Sink) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Ok(said) = serde_json::from_str(&line) {
            sink(Report::Said(said));
        }
    }
    sink(Report::Ended);
}

/// How long a worker may take to go, in ticks.
const GRACE: u32 = 1000;
const TICK: Duration = Duration::from_millis(1);

struct ProcessJob {
    child: Child,
    /// Its process number means nothing any more.
    reaped: bool,
}

impl ProcessJob {
    /// A worker that does not listen any more is about to be heard of in another way.
    fn say(&mut self, line: &str) {
        if let Some(input) = &mut self.child.stdin {
            let _ = writeln!(input, "{line}").and_then(|()| input.flush());
        }
    }
}

impl Job for ProcessJob {
    fn cancel(&mut self) {
        self.say(CANCEL);
    }

    /// The end of its input tells a worker to go with all that it started, even what left its process group.
    fn kill(&mut self) {
        self.child.stdin = None;
    }

    /// What a dead worker left of its group goes too, while its number still means that group.
    fn reap(&mut self) -> String {
        process::kill_group(self.child.id());
        self.reaped = true;
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for ProcessJob {
    /// Lets the worker take along all that it started, and insists after a while.
    fn drop(&mut self) {
        self.kill();
        for _ in 0..GRACE {
            if self.reaped || !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(TICK);
        }
        self.reap();
    }
}
