//! `status`: how the stages stand, and how a run went.

use gazal_engine::{Outcome, Record, read_record};
use gazal_store::Store;
use serde_json::json;

use crate::args::{Args, Which};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::workspace::{Workspace, open_run, open_store};
use crate::{App, words};

pub(crate) fn status(app: &App, args: &Args, which: &Which, out: &mut Out) -> Result<Exit, Failure> {
    if let Some(id) = &which.run {
        let (_, record) = open_run(&open_store(args)?, id)?;
        show_run(&record, out);
        return Ok(Exit::Done);
    }
    let workspace = Workspace::open(app, args, which)?;
    let store = workspace.open_store(args)?;
    let plan =
        workspace.with_options(store.clone(), &[], |options| gazal_engine::plan(&workspace.pipeline, options))?;
    let last = last_run(&store, &workspace);
    if out.json {
        out.json_line(&json!({"stages": plan.stages, "run": last}));
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = plan
        .stages
        .iter()
        .map(|stage| vec![stage.name.clone(), stage.state.name().into(), in_run(last.as_ref(), &stage.name)])
        .collect();
    out.line(words::table(&rows));
    match &last {
        Some(record) => out.line(format!("last run: {}", ending(record))),
        None => out.line("no run yet"),
    }
    Ok(Exit::Done)
}

/// The latest run of this pipeline file.
pub(crate) fn last_run(store: &Store, workspace: &Workspace) -> Option<Record> {
    let runs = store.runs().unwrap_or_default();
    runs.iter().rev().filter_map(|dir| read_record(dir).ok()).find(|record| record.header.file == workspace.file)
}

fn in_run(last: Option<&Record>, name: &str) -> String {
    let Some(record) = last else { return String::new() };
    let Some(stage) = record.stages.iter().find(|stage| stage.name == name) else { return String::new() };
    let state = state(record, stage.state);
    match stage.seconds.filter(|seconds| *seconds > 0.0) {
        Some(seconds) => format!("{state} ({})", words::duration(seconds)),
        None => state.into(),
    }
}

/// A stage without an end is running, or was when its runner was killed.
fn state(record: &Record, state: Option<Outcome>) -> &'static str {
    match state {
        Some(state) => state.name(),
        None if record.alive => "running",
        None => "killed",
    }
}

fn ending(record: &Record) -> String {
    let header = &record.header;
    match (&header.summary, record.alive) {
        (Some(summary), _) => format!(
            "{} ran {}, hit {}, failed {}, blocked {} in {}",
            header.run,
            summary.ran,
            summary.hit,
            summary.failed,
            summary.blocked,
            words::duration(summary.seconds)
        ),
        (None, true) => format!("{} is running since {}", header.run, header.started),
        (None, false) => format!("{} was killed; the next run goes on from there", header.run),
    }
}

fn show_run(record: &Record, out: &mut Out) {
    if out.json {
        out.json_line(record);
        return;
    }
    let rows: Vec<Vec<String>> = record
        .stages
        .iter()
        .map(|stage| {
            let seconds = stage.seconds.map(words::duration).unwrap_or_default();
            vec![
                stage.name.clone(),
                state(record, stage.state).into(),
                seconds,
                stage.error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    out.line(format!("{} of {}", record.header.pipeline, record.header.file.display()));
    out.line(words::table(&rows));
    out.line(ending(record));
}
