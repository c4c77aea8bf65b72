//! `plan`: what a run would do, and why.

use gazal_engine::{Plan, PlanState, Planned};

use crate::args::{Args, PlanOut};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::plan_file::PlanFile;
use crate::run::warn;
use crate::workspace::Workspace;
use crate::{App, machine, words};

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
    if let Some(takes) = takes(&plan.stages, run + maybe) {
        out.line(takes);
    }
    for stage in &plan.stages {
        if let Some(asks) = stage.estimate.as_ref().and_then(|estimate| estimate.asks.as_ref()) {
            out.line(format!("`{}` asks {}", stage.name, words::asks(asks)));
        }
    }
}

/// What the stages will take together, each part with how many of `count` stages it is known of.
fn takes(stages: &[Planned], count: usize) -> Option<String> {
    let estimates = || stages.iter().filter_map(|stage| Some((stage, stage.estimate.as_ref()?)));
    let seconds: Vec<f64> = estimates().filter_map(|(_, one)| one.seconds).collect();
    let disk: Vec<u64> = estimates().filter_map(|(_, one)| one.bytes).collect();
    let known = |told: String, of: usize| (of > 0).then(|| format!("{told} (known of {of} of {count})"));
    let memory = estimates().filter_map(|(stage, one)| Some((one.peak_bytes?, stage))).max_by_key(|(most, _)| *most);
    let memory = memory.map(|(bytes, stage)| {
        let here = machine::memory();
        let more = if bytes > here {
            format!(", more than the {} of this machine", words::bytes(here))
        } else {
            String::new()
        };
        format!("{} of memory for `{}`{more}", words::bytes(bytes), stage.name)
    });
    let parts = [
        known(format!("{} of work", words::duration(seconds.iter().sum())), seconds.len()),
        known(format!("{} of disk", words::bytes(disk.iter().sum())), disk.len()),
        memory,
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("about {}", parts.join(", ")))
}
