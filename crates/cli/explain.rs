//! `explain`: why stages will run, or why they last ran.

use gazal_engine::{Cause, Explanation, PlanState, Planned, StageRecord};

use crate::args::{Args, Which};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::workspace::{Workspace, open_run, open_store};
use crate::{App, words};

pub(crate) fn explain(app: &App, args: &Args, which: &Which, out: &mut Out) -> Result<Exit, Failure> {
    if let Some(id) = &which.run {
        return explain_run(args, id, &which.words, out);
    }
    let workspace = Workspace::open(app, args, which)?;
    let wanted = workspace.select()?.targets;
    let store = workspace.open_store(args)?;
    let told =
        workspace.with_options(store, &[], |options| gazal_engine::explain(&workspace.pipeline, options, &wanted))?;
    if out.json {
        out.json_line(&serde_json::json!({"stages": told}));
    } else {
        told.iter().for_each(|explanation| show(explanation, out));
    }
    Ok(Exit::Done)
}

fn show(explanation: &Explanation, out: &mut Out) {
    let planned = &explanation.planned;
    match (planned.state, &explanation.made) {
        (PlanState::Hit, Some(made)) => {
            out.line(format!("{} is up to date; run {} made it, because", planned.name, made.run));
            list(&made.causes, out);
        }
        (PlanState::Hit, None) => out.line(format!("{} is up to date; its result came with the store", planned.name)),
        (PlanState::Run, _) => {
            out.line(format!("{} will run, because{}", planned.name, compared(planned)));
            list(&planned.causes, out);
        }
        (PlanState::Skip, _) => {
            out.line(format!(
                "{} is left out: its `when` does not hold, or that of a stage that it needs",
                planned.name
            ));
        }
        (PlanState::Maybe, _) => {
            let compared = compared(planned);
            out.line(format!("{} will run unless what it reads comes out as before{compared}:", planned.name));
            list(&planned.causes, out);
        }
    }
}

/// What the causes are differences from.
fn compared(planned: &Planned) -> String {
    let past = planned.estimate.as_ref().and_then(|estimate| estimate.past.as_ref());
    past.map(|past| format!(" (compared with {} of {})", past.key.short(), past.finished)).unwrap_or_default()
}

fn list(causes: &[Cause], out: &mut Out) {
    causes.iter().for_each(|cause| out.line(format!("  {}", words::cause(cause))));
}

/// What a past run said.
fn explain_run(args: &Args, id: &str, names: &[String], out: &mut Out) -> Result<Exit, Failure> {
    let (_, record) = open_run(&open_store(args)?, id)?;
    let stages: Vec<&StageRecord> =
        record.stages.iter().filter(|stage| names.is_empty() || names.contains(&stage.name)).collect();
    if stages.is_empty() {
        return Err(Failure::wrong(
            format!("run {} has no such stage", record.header.run),
            "gazal-pipe status --run ID lists them",
        ));
    }
    if out.json {
        out.json_line(&serde_json::json!({"run": record.header.run, "stages": stages}));
        return Ok(Exit::Done);
    }
    for stage in stages {
        let state = stage.state.map_or("did not end", gazal_engine::Outcome::name);
        out.line(format!("{}: {state}", stage.name));
        list(&stage.causes, out);
    }
    Ok(Exit::Done)
}
