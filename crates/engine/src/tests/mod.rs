//! The engine with toy kinds: workers are threads, everything else is real.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod planning;
mod random;
mod running;
mod shape;
mod slurm;
mod thin;
mod toys;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use gazal_spec::{Overrides, Pipeline, Source, Wanted};
use gazal_stage_api::{Backend, Kinds};
use gazal_store::Store;

use crate::{
    CancelToken, Cause, EngineError, Job, Launcher, Options, Outcome, Plan, PlanState, Report, Request, Requested,
    RunEvent, Sink, Summary, perform,
};

/// A folder with a pipeline and a store.
struct Space {
    dir: tempfile::TempDir,
    kinds: Kinds,
    /// Stages on the command line.
    words: Vec<&'static str>,
    force: Vec<&'static str>,
    single: bool,
    expected: Option<Plan>,
    fail_fast: bool,
    threads: u32,
    /// What every pin stands at.
    pin: Option<&'static str>,
    cancel: CancelToken,
    /// The run is asked to stop when this stage reports progress.
    stop_at: Option<&'static str>,
}

/// What a run told.
struct Told {
    summary: Summary,
    outcomes: BTreeMap<String, Outcome>,
    errors: BTreeMap<String, String>,
    /// How often each stage was tried again.
    retries: BTreeMap<String, u32>,
    causes: BTreeMap<String, Vec<Cause>>,
    /// Stages that ran at once, at most.
    most: usize,
}

impl Space {
    fn new() -> Space {
        let dir = tempfile::tempdir().unwrap();
        Space {
            dir,
            kinds: toys::kinds(),
            words: Vec::new(),
            force: Vec::new(),
            single: false,
            expected: None,
            fail_fast: false,
            threads: 4,
            pin: None,
            cancel: CancelToken::default(),
            stop_at: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn store(&self) -> Store {
        Store::open(&self.path("store")).unwrap()
    }

    fn load(&self, text: &str) -> Pipeline {
        let source = Source { name: "p.toml", text };
        gazal_spec::load(&source, &Overrides::default(), &self.kinds).unwrap()
    }

    fn with<T>(&self, pipeline: &Pipeline, with: impl FnOnce(&Options) -> T) -> T {
        let force = self.force.iter().flat_map(|name| pipeline.find(name).unwrap()).collect();
        let words: Vec<String> = self.words.iter().map(ToString::to_string).collect();
        let selected = pipeline.select(&Wanted::words(&words)).unwrap();
        let device_check = |backend: Backend| match backend {
            Backend::Cpu | Backend::Wgpu(_) => Ok(()),
            Backend::Cuda(_) => Err("no CUDA here".to_string()),
        };
        with(&Options {
            store: self.store(),
            file: self.path("p.toml"),
            targets: selected.targets,
            selected: selected.all,
            single: self.single,
            force,
            expected: self.expected.clone(),
            jobs: 8,
            threads: self.threads,
            memory: 1 << 30,
            gpus: 0,
            fail_fast: self.fail_fast,
            auto: &|| Backend::Cpu,
            pin: &|_| Ok(self.pin.map(str::to_string)),
            device_check: &device_check,
            slurm_check: &|| Err("no Slurm here".to_string()),
            launcher: &Threads { kinds: self.kinds.clone() },
            cancel: self.cancel.clone(),
            requested: Requested::default(),
        })
    }

    fn plan(&self, text: &str) -> Plan {
        let pipeline = self.load(text);
        self.with(&pipeline, |options| crate::plan(&pipeline, options)).unwrap()
    }

    fn run(&self, text: &str) -> Told {
        self.try_run(text).unwrap()
    }

    fn try_run(&self, text: &str) -> Result<Told, EngineError> {
        let pipeline = self.load(text);
        let (mut outcomes, mut errors, mut causes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut now, mut most, mut retries) = (0_usize, 0, BTreeMap::new());
        let mut observer = |event: &RunEvent| match event.clone() {
            RunEvent::Stage { name, state, error, .. } => {
                let ended = matches!(state, Outcome::Ran | Outcome::Failed | Outcome::Interrupted);
                now = now.saturating_sub(usize::from(ended));
                outcomes.insert(name.clone(), state);
                errors.extend(error.map(|error| (name, error)));
            }
            RunEvent::Progress { name, .. } if self.stop_at == Some(name.as_str()) => self.cancel.raise(),
            RunEvent::Retry { name, .. } => {
                now -= 1;
                *retries.entry(name).or_default() += 1;
            }
            RunEvent::Start { name, causes: why, .. } => {
                now += 1;
                most = most.max(now);
                causes.insert(name, why);
            }
            _ => {}
        };
        let summary = self.with(&pipeline, |options| crate::run(&pipeline, options, &mut observer))?;
        Ok(Told { summary, outcomes, errors, retries, causes, most })
    }

    /// The text of a stage's only file.
    fn output(&self, text: &str, stage: &str) -> String {
        let plan = self.plan(text);
        let key = plan.stages.iter().find(|planned| planned.name == stage).unwrap().key.unwrap();
        let receipt = self.store().receipt(&key).unwrap().unwrap();
        let view = self.store().view(&receipt.outputs["out"].artifact).unwrap();
        let file = fs::read_dir(view).unwrap().next().unwrap().unwrap().path();
        fs::read_to_string(file).unwrap()
    }
}

fn states(plan: &Plan) -> Vec<(&str, PlanState)> {
    plan.stages.iter().map(|stage| (stage.name.as_str(), stage.state)).collect()
}

/// Workers as threads.
struct Threads {
    kinds: Kinds,
}

struct ThreadJob {
    cancelled: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Launcher for Threads {
    fn launch(&self, request: &Request, sink: Sink) -> Result<Box<dyn Job>, EngineError> {
        fs::write(&request.log, "").unwrap();
        let cancelled = Arc::new(AtomicBool::new(false));
        let (request, kinds, flag) = (request.clone(), self.kinds.clone(), Arc::clone(&cancelled));
        let thread = thread::spawn(move || {
            let store = Store::open(&request.store).unwrap();
            let mut tell = |said| sink(Report::Said(said));
            let last = perform(&store, &kinds, &request, &mut tell, &|| flag.load(Ordering::SeqCst));
            sink(Report::Said(last));
            sink(Report::Ended);
        });
        Ok(Box::new(ThreadJob { cancelled, thread: Some(thread) }))
    }
}

impl Job for ThreadJob {
    fn cancel(&mut self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    fn kill(&mut self) {
        self.cancel();
    }

    fn reap(&mut self) -> String {
        self.thread.take().map_or_else(String::new, |thread| format!("{:?}", thread.join().is_ok()))
    }
}
