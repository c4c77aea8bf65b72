//! How a run gets its workers: processes of the same binary, jobs of a cluster (`slurm`), or, in
//! tests, threads.
//!
//! A process performs one action after another: when it has said its last word on one it waits for the next of its
//! trade (kind, device, threads), so that thousands of small stages do not pay thousands of starts. It goes when the
//! run has no more work of its kind, and with it all that it holds of a device.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::mem;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use gazal_stage_api::DeviceRequest;

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
    fn launch(&self, request: &Request, sink: Sink) -> Result<Box<dyn Job>, EngineError>;

    /// Starts several at once, in their order: for executors to which that means something.
    ///
    /// # Errors
    /// When one of them could not be started.
    fn launch_many(&self, launches: Vec<Launch>) -> Result<Vec<Box<dyn Job>>, EngineError> {
        launches.into_iter().map(|launch| self.launch(&launch.request, launch.sink)).collect()
    }

    /// Lets workers go that wait for a kind of which `comes` says that there is no more.
    fn retire(&self, _comes: &dyn Fn(&str) -> bool) {}
}

/// What a worker is started with.
pub struct Launch {
    pub request: Request,
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
    fn launch(&self, request: &Request, sink: Sink) -> Result<Box<dyn Job>, EngineError> {
        self.of(request).launch(request, sink)
    }

    /// Launches that belong together run in the same place.
    fn launch_many(&self, launches: Vec<Launch>) -> Result<Vec<Box<dyn Job>>, EngineError> {
        match launches.first() {
            Some(first) => self.of(&first.request).launch_many(launches),
            None => Ok(Vec::new()),
        }
    }

    fn retire(&self, comes: &dyn Fn(&str) -> bool) {
        self.local.retire(comes);
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

/// Runs actions in processes of `program`, with the argument `worker`, or `guard` where they start programs.
pub struct ProcessLauncher {
    program: PathBuf,
    idle: Rc<RefCell<Vec<Worker>>>,
}

impl ProcessLauncher {
    pub fn new(program: PathBuf) -> ProcessLauncher {
        ProcessLauncher { program, idle: Rc::default() }
    }

    /// A worker of this trade that waits, if there is one that still lives.
    fn waiting(&self, trade: &Trade) -> Option<Worker> {
        let mut idle = self.idle.borrow_mut();
        while let Some(at) = idle.iter().position(|worker| worker.trade == *trade) {
            let worker = idle.swap_remove(at);
            if !matches!(*worker.line(), Line::Closed) {
                return Some(worker);
            }
        }
        None
    }

    fn spawn(&self, trade: Trade, request: &Request) -> Result<Worker, EngineError> {
        let log =
            OpenOptions::new().create(true).append(true).open(&request.log).map_err(EngineError::io(&request.log))?;
        let mut child = Command::new(&self.program)
            .arg(if trade.guarded { "guard" } else { "worker" })
            .current_dir(&request.base)
            .env("RAYON_NUM_THREADS", request.threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(EngineError::Launch)?;
        let line = Arc::new(Mutex::new(Line::Free));
        if let Some(output) = child.stdout.take() {
            let line = Arc::clone(&line);
            thread::spawn(move || relay(output, &line));
        }
        Ok(Worker { trade, child, line })
    }
}

impl Launcher for ProcessLauncher {
    fn launch(&self, request: &Request, sink: Sink) -> Result<Box<dyn Job>, EngineError> {
        let trade = Trade::of(request);
        let mut worker = match self.waiting(&trade) {
            Some(worker) => worker,
            None => self.spawn(trade, request)?,
        };
        worker.take(request, sink);
        Ok(Box::new(ProcessJob { worker: Some(worker), idle: Rc::clone(&self.idle) }))
    }

    fn retire(&self, comes: &dyn Fn(&str) -> bool) {
        self.idle.borrow_mut().retain(|worker| comes(&worker.trade.kind));
    }
}

/// What a process was started for; it takes no other work.
#[derive(Clone, PartialEq)]
struct Trade {
    kind: String,
    device: DeviceRequest,
    threads: u32,
    base: PathBuf,
    /// The worker is the child of a guard.
    guarded: bool,
}

impl Trade {
    fn of(request: &Request) -> Trade {
        Trade {
            kind: request.manifest.kind.clone(),
            device: request.device,
            threads: request.threads,
            base: request.base.clone(),
            guarded: request.starts_programs(),
        }
    }
}

/// Who hears what a process says.
enum Line {
    /// It waits for work.
    Free,
    Busy(Sink),
    /// It is gone.
    Closed,
}

struct Worker {
    trade: Trade,
    child: Child,
    line: Arc<Mutex<Line>>,
}

/// Passes on what a process says; after its last word on an action the line is free for the next.
fn relay(output: ChildStdout, line: &Mutex<Line>) {
    for text in BufReader::new(output).lines().map_while(Result::ok) {
        let Ok(said) = serde_json::from_str::<Said>(&text) else { continue };
        let mut line = lock(line);
        if said.is_last() {
            end(mem::replace(&mut line, Line::Free), Some(said));
        } else if let Line::Busy(sink) = &*line {
            sink(Report::Said(said));
        }
    }
    end(mem::replace(&mut lock(line), Line::Closed), None);
}

fn end(line: Line, last: Option<Said>) {
    if let Line::Busy(sink) = line {
        last.into_iter().for_each(|said| sink(Report::Said(said)));
        sink(Report::Ended);
    }
}

fn lock(line: &Mutex<Line>) -> std::sync::MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a worker may take to go, in ticks.
const GRACE: u32 = 1000;
const TICK: Duration = Duration::from_millis(1);

impl Worker {
    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        lock(&self.line)
    }

    /// Gives it an action; one that went this very moment is heard of by the end of its line.
    fn take(&mut self, request: &Request, sink: Sink) {
        let closed = {
            let mut line = self.line();
            let closed = matches!(*line, Line::Closed);
            let before = mem::replace(&mut *line, Line::Busy(sink));
            drop(before);
            closed
        };
        if closed {
            end(mem::replace(&mut *self.line(), Line::Closed), None);
        }
        let text = serde_json::to_string(request).unwrap_or_default();
        self.say(&text);
    }

    /// A worker that does not listen any more is about to be heard of in another way.
    fn say(&mut self, text: &str) {
        if let Some(input) = &mut self.child.stdin {
            let _ = writeln!(input, "{text}").and_then(|()| input.flush());
        }
    }

    /// The end of its input tells a worker to go with all that it started, even what left its process group.
    fn dismiss(&mut self) {
        self.child.stdin = None;
    }

    /// What a dead worker left of its group goes too, while its number still means that group.
    fn bury(&mut self) -> String {
        process::kill_group(self.child.id());
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Worker {
    /// Lets the worker take along all that it started, and insists after a while.
    fn drop(&mut self) {
        self.dismiss();
        for _ in 0..GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(TICK);
        }
        self.bury();
    }
}

struct ProcessJob {
    /// `None` once it is back among the idle ones, or buried.
    worker: Option<Worker>,
    idle: Rc<RefCell<Vec<Worker>>>,
}

impl Job for ProcessJob {
    fn cancel(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.say(CANCEL);
        }
    }

    fn kill(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.dismiss();
        }
    }

    fn reap(&mut self) -> String {
        let Some(mut worker) = self.worker.take() else { return String::new() };
        let lives = matches!(*worker.line(), Line::Free) && worker.child.stdin.is_some();
        if lives {
            self.idle.borrow_mut().push(worker);
            return String::new();
        }
        worker.bury()
    }
}
