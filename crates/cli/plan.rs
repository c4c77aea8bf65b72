//! `plan`: what a run would do, and why.

use gazal_engine::{Plan, PlanState};

use crate::args::{Args, PlanArgs};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::run::warn;
use crate::workspace::{Workspace, open_store};
use crate::{App, words};

pub(crate) fn plan(app: &App, args: &Args, verb: &PlanArgs, out: &mut Out) -> Result<Exit, Failure> {
    let workspace = Workspace::open(app, args, &verb.which)?;
    warn(&workspace, out);
    let store = open_store(args)?;
    let plan =
        workspace.with_options(store, &verb.force, |options| gazal_engine::plan(&workspace.pipeline, options))?;
    if out.json {
        out.json_line(&plan);
    } else {
        show(&plan, out);
    }
    Ok(Exit::Done)
}

fn show(plan: &Plan, out: &mut Out) {
    let mut rows = Vec::new();
    for stage in &plan.stages {
        let mut causes = stage.causes.iter().map(words::cause);
        rows.push(vec![stage.name.clone(), state_name(stage.state).into(), causes.next().unwrap_or_default()]);
        rows.extend(causes.map(|cause| vec![String::new(), String::new(), cause]));
    }
    out.line(words::table(&rows));
    let count = |state| plan.stages.iter().filter(|stage| stage.state == state).count();
    let [hit, run, maybe] = [PlanState::Hit, PlanState::Run, PlanState::Maybe].map(count);
    out.line(format!("{run} to run, {maybe} depending on them, {hit} up to date"));
}

pub(crate) fn state_name(state: PlanState) -> &'static str {
    match state {
        PlanState::Hit => "hit",
        PlanState::Run => "run",
        PlanState::Maybe => "maybe",
    }
}
