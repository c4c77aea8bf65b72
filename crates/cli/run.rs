//! `run`: bring stages up to date, show how it goes, say how it went.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use gazal_engine::{CancelToken, Outcome, RunEvent, Stop, Summary};
use gazal_store::{Digest, Store};

use crate::args::{Args, RunArgs};
use crate::cache::tell_refusals;
use crate::failure::{Exit, Failure, Note};
use crate::out::Out;
use crate::plan_file::PlanFile;
use crate::progress::{self, Progress};
use crate::trace::Trace;
use crate::workspace::Workspace;
use crate::{App, report, words};

/// How a stage ended, for the table.
pub(crate) struct Ended {
    pub name: String,
    pub state: Outcome,
    pub seconds: f64,
    pub key: Option<Digest>,
}

/// How stages ended that were not simply there, and those that made a report.
#[derive(Default)]
pub(crate) struct Endings {
    all: Vec<Ended>,
    places: HashMap<String, usize>,
}

impl Endings {
    /// The last counts.
    fn add(&mut self, ended: Ended) {
        match self.places.get(&ended.name) {
            Some(&place) => self.all[place] = ended,
            None => {
                self.places.insert(ended.name.clone(), self.all.len());
                self.all.push(ended);
            }
        }
    }

    pub fn of(&self, stage: &str) -> Option<&Ended> {
        self.places.get(stage).map(|&place| &self.all[place])
    }

    fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.all.iter()
    }
}

pub(crate) fn run(app: &App, args: &Args, verb: &RunArgs, out: &mut Out) -> Result<Exit, Failure> {
    run_until(app, args, verb, &listen(), out)
}

/// A run that somebody else may stop.
pub(crate) fn run_until(
    app: &App,
    args: &Args,
    verb: &RunArgs,
    cancel: &CancelToken,
    out: &mut Out,
) -> Result<Exit, Failure> {
    let written = verb.plan_file.as_deref().map(PlanFile::read).transpose()?;
    let workspace = match &written {
        Some(written) => Workspace::read(app, &written.file, written.requested.clone())?,
        None => Workspace::open_planned(app, args, &verb.plan)?,
    };
    warn(&workspace, out);
    workspace.lock.ask();
    let store = workspace.open_store(args)?;
    let force = written.as_ref().map_or(&verb.plan.force, |written| &written.force);
    let mut heard = Heard {
        progress: progress::choose(out),
        reports: report::stages(&workspace.pipeline).map(|stage| stage.name.as_str()).collect(),
        ended: Endings::default(),
        trace: verb.trace.as_ref().map(|_| Trace::new()),
    };
    let summary = workspace.with_options(store.clone(), force, |options| {
        options.cancel = cancel.clone();
        options.jobs = verb.jobs.map_or(options.jobs, usize::from);
        options.fail_fast = verb.fail_fast;
        options.expected = written.as_ref().map(|written| written.plan.clone());
        gazal_engine::run(&workspace.pipeline, options, &mut |event| heard.hear(event))
    });
    let Heard { progress, ended, trace, .. } = heard;
    drop(progress);
    let traced = verb.trace.as_ref().zip(trace).map_or(Ok(()), |(path, trace)| trace.write(path));
    let summary = summary?;
    let page = report::after(&store, &summary, out);
    if let Some(remote) = store.remote() {
        tell_refusals(remote, out);
    }
    if out.json {
        tell_program(&summary, page.as_deref(), out);
    } else {
        tell(&workspace, &store, &Ending { ended, summary: &summary, page }, out);
    }
    traced?;
    Ok(exit(&summary, cancel.level() != Stop::No))
}

/// All that hears a run.
struct Heard<'a> {
    progress: Box<dyn Progress>,
    /// The names of stages that make a report.
    reports: HashSet<&'a str>,
    ended: Endings,
    trace: Option<Trace>,
}

impl Heard<'_> {
    fn hear(&mut self, event: &RunEvent) {
        if let RunEvent::Stage { name, state, seconds, key, .. } = event
            && (*state != Outcome::Hit || self.reports.contains(name.as_str()))
        {
            self.ended.add(Ended { name: name.clone(), state: *state, seconds: *seconds, key: *key });
        }
        if let Some(trace) = &mut self.trace {
            trace.hear(event);
        }
        self.progress.hear(event);
    }
}

/// The file's warnings.
pub(crate) fn warn(workspace: &Workspace, out: &mut Out) {
    for warning in &workspace.pipeline.warnings {
        out.complain(&Note::from(warning.clone()), Some(&workspace.text));
    }
}

/// Ctrl-C once: checkpoint; twice: end. Without a handler the system's own behaviour remains: the run ends at once
/// and loses nothing that was published.
pub(crate) fn listen() -> CancelToken {
    let cancel = CancelToken::default();
    let raised = cancel.clone();
    let _ = ctrlc::set_handler(move || raised.raise());
    cancel
}

fn exit(summary: &Summary, cancelled: bool) -> Exit {
    match summary {
        Summary { interrupted, skipped, .. } if *interrupted > 0 || (cancelled && *skipped > 0) => Exit::Interrupted,
        Summary { failed, .. } if *failed > 0 => Exit::Failed,
        _ => Exit::Done,
    }
}

/// The last event, with the page of the run.
fn tell_program(summary: &Summary, page: Option<&Path>, out: &mut Out) {
    let mut event = serde_json::to_value(RunEvent::Run(summary.clone())).unwrap_or_default();
    event["report"] = serde_json::json!(page);
    out.json_line(&event);
}

/// How a run ended, for people.
struct Ending<'a> {
    ended: Endings,
    summary: &'a Summary,
    page: Option<PathBuf>,
}

/// The table of what was not simply there, the counts, and the reports.
fn tell(workspace: &Workspace, store: &Store, Ending { ended, summary, page }: &Ending, out: &mut Out) {
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
        (summary.allowed, "failed and may"),
        (summary.blocked, "blocked"),
        (summary.interrupted, "interrupted"),
        (summary.skipped, "skipped"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    out.line(format!("{} in {} (run {})", counts.join(", "), words::duration(summary.seconds), summary.run));
    if let Some(page) = page {
        out.line(format!("the run as a page: {}", page.display()));
    }
    report::tell(workspace, store, ended, out);
}
