//! `watch`: a run, and another one whenever the pipeline or a file that it reads changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use gazal_engine::{CancelToken, Stop};
use gazal_stage_api::lookup;

use crate::App;
use crate::args::{Args, RunArgs};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::run::{self, listen};
use crate::workspace::Workspace;

/// Between two looks at the files.
const PAUSE: Duration = Duration::from_millis(500);

/// Size and time of every watched file.
type Seen = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

pub(crate) fn watch(app: &App, args: &Args, verb: &RunArgs, out: &mut Out) -> Result<Exit, Failure> {
    let cancel = listen();
    let file = PathBuf::from(verb.plan.which.words.first().cloned().unwrap_or_default());
    loop {
        let before = look(app, verb, &file);
        match run::run_until(app, args, verb, &cancel, out) {
            Ok(Exit::Interrupted) => return Ok(Exit::Interrupted),
            Ok(_) => {}
            Err(failure) if failure.exit == Exit::Store => return Err(failure),
            Err(failure) => out.failure(&failure),
        }
        if !out.json {
            out.line("watching; Ctrl-C ends");
        }
        if !wait(app, verb, &file, &before, &cancel) {
            return Ok(Exit::Interrupted);
        }
    }
}

/// True when something has changed, false when it is time to go.
fn wait(app: &App, verb: &RunArgs, file: &Path, before: &Seen, cancel: &CancelToken) -> bool {
    while cancel.level() == Stop::No {
        if look(app, verb, file) != *before {
            return true;
        }
        sleep(PAUSE);
    }
    false
}

/// The pipeline file, and all that path-typed parameters of a pipeline that can be read point at.
fn look(app: &App, verb: &RunArgs, file: &Path) -> Seen {
    let mut seen = Seen::new();
    note(file, &mut seen);
    let Ok(workspace) = Workspace::from_words(app, &verb.plan.which) else { return seen };
    let base = workspace.file.parent().unwrap_or(Path::new("."));
    for stage in &workspace.pipeline.stages {
        for value in stage.kind.traits().paths.iter().filter_map(|name| lookup(&stage.params, name)) {
            gazal_engine::paths_of(base, &value).iter().for_each(|path| note(path, &mut seen));
        }
    }
    seen
}

fn note(path: &Path, seen: &mut Seen) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    seen.insert(path.to_path_buf(), (metadata.len(), metadata.modified().ok()));
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.for_each(|entry| note(&entry.path(), seen));
}
