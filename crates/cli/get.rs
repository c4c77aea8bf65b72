//! `get`: an output out of the store, as a copy of one's own.

use std::path::Path;

use gazal_engine::PlanState;
use gazal_store::{Digest, Receipt, Store};

use crate::App;
use crate::args::{Args, GetArgs, Which};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::workspace::{Workspace, open_run, open_store};

pub(crate) fn get(app: &App, args: &Args, verb: &GetArgs, out: &mut Out) -> Result<Exit, Failure> {
    let mut words = verb.which.words.clone();
    let (Some(folder), Some(output)) = (words.pop(), words.pop()) else { return Err(usage()) };
    let Found { store, key, name } = match &verb.which.run {
        Some(id) if words.is_empty() => from_run(args, id, &output)?,
        None if words.len() == 1 => from_file(app, args, &which(verb, &words[0]), &output)?,
        _ => return Err(usage()),
    };
    let receipt = store.receipt(&key)?.ok_or_else(|| missing(&output))?;
    let name = choose(&receipt, &output, name.as_deref())?;
    let restored = store.restore(&receipt.outputs[&name].artifact, Path::new(&folder));
    restored.map_err(|error| match error {
        damaged if damaged.is_damage() => Failure::new(Exit::Store, format!("{damaged}; run the pipeline again")),
        occupied @ gazal_store::StoreError::Occupied { .. } => Failure::wrong(occupied.to_string(), ""),
        error => error.into(),
    })?;
    if verb.with_card {
        with_card(app, args, verb, Path::new(&folder))?;
    }
    if out.json {
        out.json_line(&serde_json::json!({"output": name, "key": key, "folder": folder}));
    } else {
        out.line(format!("{output} -> {folder}"));
    }
    Ok(Exit::Done)
}

/// The name of the output that is a model's card.
const CARD: &str = "card";

/// Puts the model card of the pipeline's report beside what was fetched.
fn with_card(app: &App, args: &Args, verb: &GetArgs, folder: &Path) -> Result<(), Failure> {
    let (Some(file), None) = (verb.which.words.first(), &verb.which.run) else { return Err(usage()) };
    let workspace = Workspace::from_words(app, &which(verb, file))?;
    let mut stages = workspace.pipeline.stages.iter();
    let stage = stages.find(|stage| stage.outputs.iter().any(|output| output.name == CARD));
    let stage = stage.map(|stage| stage.name.clone());
    let help = "`report` makes one: add a stage of that kind";
    let stage = stage.ok_or_else(|| Failure::wrong("no stage of this pipeline makes a card", help))?;
    let asked = format!("{stage}.{CARD}");
    let Found { store, key, .. } = from_file(app, args, &which(verb, file), &asked)?;
    let receipt = store.receipt(&key)?.ok_or_else(|| missing(&asked))?;
    let card = store.read_file(&receipt.outputs[CARD].artifact, "README.md")?.ok_or_else(|| missing(&asked))?;
    let path = folder.join("README.md");
    std::fs::write(&path, card).map_err(|error| Failure::wrong(format!("{}: {error}", path.display()), ""))
}

fn usage() -> Failure {
    Failure::wrong("get needs an output and a folder", "gazal-pipe get FILE STAGE[.OUTPUT] DIR")
}

fn missing(output: &str) -> Failure {
    Failure::wrong(
        format!("`{output}` is not there yet, or not up to date"),
        "run the pipeline first: gazal-pipe run FILE STAGE",
    )
}

/// A result, and which of its outputs is meant.
pub(crate) struct Found {
    pub store: Store,
    pub key: Digest,
    name: Option<String>,
}

/// From the pipeline as it is now.
pub(crate) fn from_file(app: &App, args: &Args, which: &Which, output: &str) -> Result<Found, Failure> {
    let mut workspace = Workspace::from_words(app, which)?;
    let names: Vec<String> = workspace.pipeline.stages.iter().map(|stage| stage.name.clone()).collect();
    let (stage, name) = split(output, &names);
    let found = workspace.find(&[stage.to_string()])?;
    let [index] = found[..] else {
        let help = found.iter().map(|&index| names[index].as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure::wrong(format!("`{stage}` has several points"), &help));
    };
    workspace.requested.targets = vec![names[index].clone()];
    let store = workspace.open_store(args)?;
    let plan =
        workspace.with_options(store.clone(), &[], |options| gazal_engine::plan(&workspace.pipeline, options))?;
    let planned = plan.stages.into_iter().find(|planned| planned.name == names[index]);
    let key = planned.filter(|planned| planned.state == PlanState::Hit).and_then(|planned| planned.key);
    Ok(Found { store, key: key.ok_or_else(|| missing(output))?, name: name.map(str::to_string) })
}

/// A pipeline file with all that the verb says of it.
fn which(verb: &GetArgs, file: &str) -> Which {
    Which { words: vec![file.to_string()], ..verb.which.clone() }
}

fn from_run(args: &Args, id: &str, output: &str) -> Result<Found, Failure> {
    let store = open_store(args)?;
    let (_, record) = open_run(&store, id)?;
    let names: Vec<String> = record.stages.iter().map(|stage| stage.name.clone()).collect();
    let (stage, name) = split(output, &names);
    let key = record.stages.iter().find(|one| one.name == stage).and_then(|one| one.key);
    let key = key.ok_or_else(|| Failure::wrong(format!("run {id} has no result of `{stage}`"), &names.join(", ")))?;
    Ok(Found { store, key, name: name.map(str::to_string) })
}

/// `shout.out` is a stage and its output; a matrix point's name may itself hold a dot.
fn split<'a>(output: &'a str, stages: &[String]) -> (&'a str, Option<&'a str>) {
    if stages.iter().any(|stage| stage == output) {
        return (output, None);
    }
    output.rsplit_once('.').map_or((output, None), |(stage, name)| (stage, Some(name)))
}

fn choose(receipt: &Receipt, asked: &str, name: Option<&str>) -> Result<String, Failure> {
    let names: Vec<&String> = receipt.outputs.keys().collect();
    let listed = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, &names[..]) {
        (Some(name), _) if receipt.outputs.contains_key(name) => Ok(name.to_string()),
        (Some(name), _) => {
            Err(Failure::wrong(format!("`{asked}`: there is no output `{name}`"), &format!("it has {listed}")))
        }
        (None, [only]) => Ok((*only).clone()),
        (None, _) => Err(Failure::wrong(format!("`{asked}` has several outputs"), &format!("name one of {listed}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_may_belong_to_the_stage() {
        let stages = ["cell@rate=0.1".to_string()];
        assert_eq!(split("cell@rate=0.1", &stages), ("cell@rate=0.1", None));
        assert_eq!(split("cell@rate=0.1.out", &stages), ("cell@rate=0.1", Some("out")));
    }
}
