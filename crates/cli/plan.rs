//! `plan`: what a run would do, and why.

use gazal_engine::{Plan, PlanState};

use crate::args::{Args, PlanOut};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::plan_file::PlanFile;
use crate::run::warn;
use crate::workspace::Workspace;
use crate::{App, words};

pub(crate) fn plan(app: &App, args: &Args, verb: &PlanOut, out: &mut Out) -> Result<Exit, Failure> {
    let workspace = Workspace::open_planned(app, args, &verb.plan)?;
    warn(&workspace, out);
    let store = workspace.open_store(args)?;
    let force = &verb.plan.force;
    let plan = workspace.with_options(store, force, |options| gazal_engine::plan(&workspace.pipeline, options))?;
    if let Some(path) = &verb.out {
        let (file, requested) = (workspace.file.clone(), workspace.requested.clone());
        PlanFile::new(file, requested, force.clone(), plan.clone()).write(path)?;
    }
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
        rows.push(vec![stage.name.clone(), stage.state.name().into(), causes.next().unwrap_or_default()]);
        rows.extend(causes.map(|cause| vec![String::new(), String::new(), cause]));
    }
    out.line(words::table(&rows));
    let count = |state| plan.stages.iter().filter(|stage| stage.state == state).count();
    let [hit, run, maybe] = [PlanState::Hit, PlanState::Run, PlanState::Maybe].map(count);
    let skip = Some(count(PlanState::Skip)).filter(|skip| *skip > 0).map(|skip| format!(", {skip} left out"));
    out.line(format!("{run} to run, {maybe} depending on them, {hit} up to date{}", skip.unwrap_or_default()));
    let estimates: Vec<_> = plan.stages.iter().filter_map(|stage| stage.estimate.as_ref()).collect();
    if !estimates.is_empty() {
        let seconds = words::duration(estimates.iter().map(|one| one.seconds).sum());
        let disk = words::bytes(estimates.iter().map(|one| one.bytes).sum());
        let memory = estimates.iter().filter_map(|one| one.peak_bytes).max();
        let memory = memory.map(|bytes| format!(", {} of memory", words::bytes(bytes))).unwrap_or_default();
        let known = format!("{} of {}", estimates.len(), run + maybe);
        out.line(format!("about {seconds} of work, {disk} of disk{memory}, by what {known} took before"));
    }
}
