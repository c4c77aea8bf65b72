//! `run`: bring stages up to date, show how it goes, say how it went.

use gazal_engine::{CancelToken, EngineError, Options, Outcome, RunEvent, Summary};
use gazal_store::{Digest, Store};

use crate::args::{Args, RunArgs};
use crate::failure::{Exit, Failure, Note};
use crate::out::Out;
use crate::progress::{self, Progress};
use crate::workspace::{Workspace, open_store};
use crate::{App, report, words};

/// How a stage ended, for the table.
pub(crate) struct Ended {
    pub name: String,
    pub state: Outcome,
    pub seconds: f64,
    pub key: Option<Digest>,
}

pub(crate) fn run(app: &App, args: &Args, verb: &RunArgs, out: &mut Out) -> Result<Exit, Failure> {
    let workspace = Workspace::open(app, args, &verb.plan.which)?;
    warn(&workspace, out);
    let store = open_store(args)?;
    let cancel = listen();
    let mut ended = Vec::new();
    let mut progress = progress::choose(out);
    let summary = workspace.with_options(store.clone(), &verb.plan.force, |options| {
        options.cancel = cancel.clone();
        options.jobs = verb.jobs.map_or(options.jobs, usize::from);
        engine_run(&workspace, options, progress.as_mut(), &mut ended)
    });
    drop(progress);
    let summary = summary?;
    if !out.json {
        tell(&workspace, &store, &ended, &summary, out);
    }
    Ok(exit(&summary))
}

fn engine_run(
    workspace: &Workspace,
    options: &Options,
    progress: &mut dyn Progress,
    ended: &mut Vec<Ended>,
) -> Result<Summary, EngineError> {
    gazal_engine::run(&workspace.pipeline, options, &mut |event| {
        if let RunEvent::Stage { name, state, seconds, key, .. } = event {
            ended.retain(|one: &Ended| one.name != *name);
            ended.push(Ended { name: name.clone(), state: *state, seconds: *seconds, key: *key });
        }
        progress.hear(event);
    })
}

/// The file's warnings.
pub(crate) fn warn(workspace: &Workspace, out: &mut Out) {
    for warning in &workspace.pipeline.warnings {
        out.complain(&Note::from(warning.clone()), Some(&workspace.text));
    }
}

/// Ctrl-C once: checkpoint; twice: end. Without a handler the system's own behaviour remains: the run ends at once
/// and loses nothing that was published.
fn listen() -> CancelToken {
    let cancel = CancelToken::default();
    let raised = cancel.clone();
    let _ = ctrlc::set_handler(move || raised.raise());
    cancel
}

fn exit(summary: &Summary) -> Exit {
    match summary {
        Summary { interrupted, skipped, .. } if interrupted + skipped > 0 => Exit::Interrupted,
        Summary { failed, .. } if *failed > 0 => Exit::Failed,
        _ => Exit::Done,
    }
}

/// The table of what was not simply there, the counts, and the reports.
fn tell(workspace: &Workspace, store: &Store, ended: &[Ended], summary: &Summary, out: &mut Out) {
    let shown = ended.iter().filter(|one| one.state != Outcome::Hit);
    let rows: Vec<Vec<String>> =
        shown.map(|one| vec![one.name.clone(), one.state.name().into(), words::duration(one.seconds)]).collect();
    if !rows.is_empty() {
        out.line(words::table(&rows));
    }
    let counts = [
        (summary.ran, "ran"),
        (summary.hit, "up to date"),
        (summary.failed, "failed"),
        (summary.blocked, "blocked"),
        (summary.interrupted, "interrupted"),
        (summary.skipped, "skipped"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    out.line(format!("{} in {} (run {})", counts.join(", "), words::duration(summary.seconds), summary.run));
    report::tell(workspace, store, ended, out);
}
