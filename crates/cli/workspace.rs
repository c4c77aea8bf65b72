//! From the words on the command line to a checked pipeline, its stages and a store.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use gazal_engine::{
    CancelToken, EngineError, Executors, Options, ProcessLauncher, Record, RemoteUse, Requested, SlurmLauncher,
    read_record,
};
use gazal_spec::{Overrides, Pipeline, Selected, Source, Wanted};
use gazal_stage_api::Backend;
use gazal_store::{Mode, RunDir, Store};

use crate::args::{Args, PlanArgs, Which};
use crate::failure::{Exit, Failure, Text};
use crate::lock::Lock;
use crate::{App, devices, machine};

/// A pipeline, opened for a verb.
pub(crate) struct Workspace {
    pub text: Text,
    pub file: PathBuf,
    pub pipeline: Pipeline,
    pub requested: Requested,
    pub lock: Lock,
}

/// Opens the store that the command line or the environment names, with the remote that they name.
pub(crate) fn open_store(args: &Args) -> Result<Store, Failure> {
    open_with(args, || None)
}

/// The same, with the remote that `or_else` names where they name none.
fn open_with(args: &Args, or_else: impl FnOnce() -> Option<String>) -> Result<Store, Failure> {
    let named =
        args.store.clone().or_else(|| std::env::var_os("GAZAL_STORE").filter(|dir| !dir.is_empty()).map(PathBuf::from));
    let store = Store::open(&named.unwrap_or_else(|| "cache".into()))?;
    let Some(url) = args.remote.clone().or_else(|| variable("GAZAL_REMOTE")).or_else(or_else) else {
        return Ok(store);
    };
    Ok(RemoteUse { url, mode: remote_mode(args)? }.attach(store)?)
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What the remote is used for: a matter of the machine, and so never of the pipeline.
fn remote_mode(args: &Args) -> Result<Mode, Failure> {
    match (args.remote_mode, variable("GAZAL_REMOTE_MODE")) {
        (Some(mode), _) => Ok(mode),
        (None, Some(text)) => text.parse().map_err(|error| Failure::wrong(format!("$GAZAL_REMOTE_MODE: {error}"), "")),
        (None, None) => Ok(Mode::default()),
    }
}

/// The run that `--run` names.
pub(crate) fn open_run(store: &Store, id: &str) -> Result<(RunDir, Record), Failure> {
    let dir = store.run(id)?;
    let record = read_record(&dir).map_err(|error| Failure::engine(error, &Text::default()))?;
    Ok((dir, record))
}

impl Workspace {
    /// Reads and checks the pipeline of a file, or of a past run as it was asked for then.
    pub fn open(app: &App, args: &Args, which: &Which) -> Result<Workspace, Failure> {
        match &which.run {
            None => Workspace::from_words(app, which),
            Some(id) => {
                let (_, record) = open_run(&open_store(args)?, id)?;
                let targets =
                    if which.words.is_empty() { record.header.requested.targets.clone() } else { which.words.clone() };
                Workspace::read(app, &record.header.file, Requested { targets, ..record.header.requested })
            }
        }
    }

    /// The same with a selection.
    pub fn open_planned(app: &App, args: &Args, plan: &PlanArgs) -> Result<Workspace, Failure> {
        let mut workspace = Workspace::open(app, args, &plan.which)?;
        let PlanArgs { from, until, single, .. } = plan;
        if plan.which.run.is_none() || !from.is_empty() || !until.is_empty() || *single {
            (workspace.requested.from, workspace.requested.until) = (from.clone(), until.clone());
            workspace.requested.single = *single;
        }
        Ok(workspace)
    }

    pub fn from_words(app: &App, which: &Which) -> Result<Workspace, Failure> {
        let Some((file, targets)) = which.words.split_first() else {
            return Err(Failure::wrong("no pipeline file is named", "gazal-pipe VERB FILE [STAGE...], or --run last"));
        };
        let requested = requested(which, targets)?;
        Workspace::read(app, Path::new(file), requested)
    }

    pub fn read(app: &App, path: &Path, requested: Requested) -> Result<Workspace, Failure> {
        let name = path.display().to_string();
        let unreadable =
            |error: std::io::Error| Failure::wrong(format!("cannot read the pipeline `{name}`: {error}"), "");
        let file = std::fs::canonicalize(path).map_err(unreadable)?;
        let text = Text { text: std::fs::read_to_string(&file).map_err(unreadable)?, name };
        let overrides = Overrides {
            profiles: requested.profiles.clone(),
            set: requested.set.clone(),
            backend: requested.backend.clone(),
        };
        let source = Source { name: &text.name, text: &text.text };
        let pipeline = match gazal_spec::load(&source, &overrides, &app.kinds) {
            Ok(pipeline) => pipeline,
            Err(found) => return Err(Failure::diagnostics(found, text)),
        };
        Ok(Workspace { lock: Lock::beside(&file), text, file, pipeline, requested })
    }

    /// The store of the command line, with the remote of the command line, the environment, or else this pipeline.
    pub fn open_store(&self, args: &Args) -> Result<Store, Failure> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        open_with(args, || {
            let remote = self.pipeline.remote.clone()?;
            let is_url = remote.contains("://");
            Some(if is_url { remote } else { folder.join(remote).display().to_string() })
        })
    }

    /// The stages that the command line names.
    pub fn select(&self) -> Result<Selected, Failure> {
        let Requested { targets, from, until, single, .. } = self.requested.clone();
        self.select_as(&Wanted { words: targets, from, until, single })
    }

    /// Indices of `names` alone.
    pub fn find(&self, names: &[String]) -> Result<Vec<usize>, Failure> {
        self.select_as(&Wanted::words(names)).map(|selected| selected.targets)
    }

    fn select_as(&self, wanted: &Wanted) -> Result<Selected, Failure> {
        self.pipeline.select(wanted).map_err(|found| Failure::diagnostics(vec![found], self.text.clone()))
    }

    pub fn failure(&self, error: EngineError) -> Failure {
        Failure::engine(error, &self.text)
    }

    /// Calls `with` with options over the selected stages.
    pub fn with_options<T>(
        &self,
        store: Store,
        force: &[String],
        with: impl FnOnce(&mut Options) -> Result<T, EngineError>,
    ) -> Result<T, Failure> {
        let selected = self.select()?;
        let force = if force.is_empty() { Vec::new() } else { self.find(force)? };
        if let Some(&outside) = force.iter().find(|index| !selected.all.contains(index)) {
            let name = &self.pipeline.stages[outside].name;
            return Err(Failure::wrong(
                format!("`{name}` is forced, but is no part of this run"),
                "name it as a stage too",
            ));
        }
        let program = std::env::current_exe().map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let auto = || devices::ask_auto(&program);
        // Each is asked once: it takes a process.
        let asked: RefCell<HashMap<Backend, Result<(), String>>> = RefCell::default();
        let device_check = |backend: Backend| {
            asked.borrow_mut().entry(backend).or_insert_with(|| devices::ask(&program, backend)).clone()
        };
        let cluster = OnceCell::new();
        let slurm_check = || cluster.get_or_init(SlurmLauncher::check).clone();
        let slurm = SlurmLauncher::new(program.clone(), store.clone());
        let launcher = Executors { local: ProcessLauncher::new(program.clone()), slurm };
        let mut options = Options {
            store,
            file: self.file.clone(),
            targets: selected.targets,
            selected: selected.all,
            single: self.requested.single,
            force,
            expected: None,
            jobs: threads as usize,
            threads,
            memory: machine::memory(),
            gpus: machine::gpus(),
            fail_fast: false,
            auto: &auto,
            pin: &|pin| self.lock.at(pin),
            device_check: &device_check,
            slurm_check: &slurm_check,
            launcher: &launcher,
            cancel: CancelToken::default(),
            requested: self.requested.clone(),
        };
        with(&mut options).map_err(|error| self.failure(error))
    }
}

fn requested(which: &Which, targets: &[String]) -> Result<Requested, Failure> {
    let set = which.set.iter().map(|text| match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_string(), value.trim().to_string())),
        None => Err(Failure::wrong(format!("`--set {text}` has no `=`"), "--set stages.sft.params.learning_rate=2e-4")),
    });
    let backend = which.backend.iter().map(|text| match text.split_once('=') {
        Some((stage, backend)) => (Some(stage.to_string()), backend.to_string()),
        None => (None, text.clone()),
    });
    Ok(Requested {
        profiles: which.profile.clone(),
        set: set.collect::<Result<_, _>>()?,
        backend: backend.collect(),
        targets: targets.to_vec(),
        ..Requested::default()
    })
}
