//! `preview`: what a stage makes of its first rows, before it is run on all of them.

use gazal_data::{Row, rows};
use gazal_stage_api::PortType;
use serde_json::{Value, json};

use crate::args::{Args, PlanArgs, PreviewArgs, RunArgs, Which};
use crate::failure::{Exit, Failure};
use crate::get::{Found, from_file};
use crate::out::Out;
use crate::workspace::Workspace;
use crate::{App, run};

/// The parameter of kinds that can be run on some rows.
const LIMIT: &str = "limit";

/// Texts that are longer stand on lines of their own.
const SHORT: usize = 72;

pub(crate) fn preview(app: &App, args: &Args, verb: &PreviewArgs, out: &mut Out) -> Result<Exit, Failure> {
    let [file, stage] = &verb.which.words[..] else {
        return Err(Failure::wrong("preview needs a file and a stage", "gazal-pipe preview FILE STAGE"));
    };
    let (which, outputs) = asked(app, verb, [file, stage])?;
    let plan = PlanArgs { which: which.clone(), force: Vec::new(), from: Vec::new(), until: Vec::new(), single: false };
    let verb = RunArgs { plan, jobs: None, plan_file: None, fail_fast: false, keep_going: false, trace: None };
    let exit = run::run(app, args, &verb, out)?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let which = Which { words: vec![file.clone()], ..which };
    for output in outputs {
        let Found { store, key, .. } = from_file(app, args, &which, &format!("{stage}.{output}"))?;
        let receipt = store.receipt(&key)?;
        let Some(made) = receipt.and_then(|receipt| receipt.outputs.get(&output).cloned()) else { continue };
        let folder = store.view(&made.artifact)?;
        for path in rows::files_in(&folder).map_err(|error| Failure::wrong(error.to_string(), ""))? {
            let rows = rows::read_all::<Row>(&path).map_err(|error| Failure::wrong(error.to_string(), ""))?;
            show(&output, &rows, out);
        }
    }
    Ok(Exit::Done)
}

/// The stage with its limit, and its outputs that consist of rows.
fn asked(app: &App, verb: &PreviewArgs, [file, stage]: [&String; 2]) -> Result<(Which, Vec<String>), Failure> {
    let workspace = Workspace::from_words(app, &Which { words: vec![file.clone()], ..verb.which.clone() })?;
    let [index] = workspace.find(std::slice::from_ref(stage))?[..] else {
        return Err(Failure::wrong(format!("`{stage}` has several points"), "name one of them"));
    };
    let found = &workspace.pipeline.stages[index];
    let (kind, is_of_rows) = (found.kind.name(), |kind| matches!(kind, PortType::Dataset | PortType::Samples));
    if found.kind.schema().pointer(&format!("/properties/{LIMIT}")).is_none() {
        let message = format!("`{stage}` cannot be run on some rows: `{kind}` has no parameter `{LIMIT}`");
        return Err(Failure::wrong(message, "`teach`, `grade` and `eval` have one"));
    }
    let outputs = found.outputs.iter().filter(|output| is_of_rows(output.kind)).map(|output| output.name.clone());
    let mut which = Which { words: vec![file.clone(), found.name.clone()], ..verb.which.clone() };
    which.set.push(format!("stages.{}.params.{LIMIT}={}", found.base, verb.rows));
    Ok((which, outputs.collect()))
}

fn show(output: &str, rows: &[Row], out: &mut Out) {
    for (at, row) in rows.iter().enumerate() {
        if out.json {
            out.json_line(&json!({ "output": output, "row": row }));
            continue;
        }
        out.line(format!("\n{output}, row {} of {}", at + 1, rows.len()));
        for (column, value) in row {
            match value {
                Value::String(text) if text.contains('\n') || text.chars().count() > SHORT => {
                    out.line(format!("  {column}:"));
                    text.lines().for_each(|line| out.line(format!("    {line}")));
                }
                Value::String(text) => out.line(format!("  {column}: {text}")),
                value => out.line(format!("  {column}: {value}")),
            }
        }
    }
}
