//! A merged file to a checked pipeline.

use std::collections::BTreeSet;

use gazal_stage_api::Kinds;
use serde_json::Value;

use crate::diagnostic::{Origin, Report};
use crate::executor::Choice;
use crate::keys::expect_table;
use crate::raw::{Data, Entry, Table};
use crate::reference::Directory;
use crate::settings::Settings;
use crate::source::Lines;
use crate::stage::{Draft, Read, Reader};
use crate::substitute::{Axes, Scope, references};
use crate::wire::{Wire, connect};
use crate::{Input, OutputRef, Pipeline, Source, Stage, order};

/// Checks everything; `None` only where a stage is too broken to be built, which is in the report.
pub(crate) fn check(source: &Source, file: &Table, kinds: &Kinds, report: &mut Report) -> Option<Pipeline> {
    let params = section(file, "params", report);
    let scope = Scope { params: &params, matrix: Axes::Absent };
    scope.apply_table(&params, report);
    let pipeline = scope.apply_table(&section(file, "pipeline", report), report);
    let defaults = Settings::read(&pipeline, Settings::default(), report);
    let executor = Choice::read(&pipeline, &Choice::default(), report);
    let name = read_name(file.entry("pipeline"), &pipeline, report);
    let stages = section(file, "stages", report);
    let lines = Lines::of(source);
    let reader =
        Reader { lines: &lines, kinds, params: &params, pipeline: &pipeline, stages: &stages, defaults, executor };
    if stages.len() == 0 {
        report.error(&Origin::Nowhere, "this pipeline has no stages").help("add `[stages.NAME]`".to_string());
    }
    let Stages { drafts, ghosts, directory } = read_stages(&reader, report);
    let wires: Vec<Vec<Wire>> = drafts.iter().map(|draft| connect(draft, &drafts, &directory, report)).collect();
    for ghost in &ghosts {
        connect(ghost, &drafts, &directory, report);
    }
    let sorted = order::sort(&wires);
    order::report_cycles(&drafts, &wires, &sorted, report);
    let disabled = directory.into_disabled();
    let stages = build(drafts, wires, &sorted)?;
    Some(Pipeline { name: name?, seed: defaults.seed, stages, disabled, warnings: Vec::new() })
}

/// Warns of entries of `[params]` that nothing in the file refers to, in whichever profile.
pub(crate) fn warn_unused(file: &Table, merged: &Table, report: &mut Report) {
    let mut used = BTreeSet::new();
    for entry in file.iter() {
        entry.node.for_each_text(&mut |text| {
            let names = references(text).filter_map(|path| path.strip_prefix("params."));
            used.extend(names.map(|path| path.split('.').next().unwrap_or_default().to_string()));
        });
    }
    for entry in merged.table("params").into_iter().flat_map(Table::iter) {
        if !used.contains(&entry.name) {
            let help = format!("refer to it as `${{params.{}}}`, or take it out", entry.name);
            report.warning(&entry.origin, format!("the parameter `{}` is never used", entry.name)).help(help);
        }
    }
}

fn section(file: &Table, name: &str, report: &mut Report) -> Table {
    file.entry(name).and_then(|entry| expect_table(entry, report)).cloned().unwrap_or_default()
}

fn read_name(section: Option<&Entry>, pipeline: &Table, report: &mut Report) -> Option<String> {
    if section.is_some_and(|section| section.node.as_table().is_none()) {
        return None;
    }
    let Some(node) = pipeline.get("name") else {
        let origin = section.map_or(Origin::Nowhere, |entry| entry.origin.clone());
        report.error(&origin, "this pipeline has no name").help("add `name = \"…\"` under `[pipeline]`".to_string());
        return None;
    };
    match &node.data {
        Data::Scalar(Value::String(name)) if !name.is_empty() => return Some(name.clone()),
        Data::Broken => {}
        _ => drop(report.error(&node.origin, "`name` must be a text that is not empty")),
    }
    None
}

#[derive(Default)]
struct Stages {
    drafts: Vec<Draft>,
    /// Stages whose matrix is wrong: looked through for more mistakes, and then dropped.
    ghosts: Vec<Draft>,
    directory: Directory,
}

fn read_stages(reader: &Reader, report: &mut Report) -> Stages {
    let mut all = Stages::default();
    for stage in reader.stages.iter() {
        match reader.read(stage, report) {
            Read::Drafts(points) => all.drafts.extend(points),
            Read::Disabled => all.directory.disabled(&stage.name),
            Read::Opaque(ghost) => {
                all.ghosts.extend(ghost.map(|ghost| *ghost));
                all.directory.opaque(&stage.name);
            }
        }
    }
    all.drafts.iter().for_each(|draft| all.directory.add(&draft.base, &draft.matrix));
    all
}

/// The drafts in their order, with their wires as indices into that order.
fn build(drafts: Vec<Draft>, wires: Vec<Vec<Wire>>, sorted: &[usize]) -> Option<Vec<Stage>> {
    let mut rank = vec![None; drafts.len()];
    sorted.iter().enumerate().for_each(|(new, &old)| rank[old] = Some(new));
    let mut stages: Vec<(usize, Stage)> = Vec::new();
    for ((draft, wires), rank_of) in drafts.into_iter().zip(wires).zip(&rank) {
        stages.push(((*rank_of)?, stage(draft, wires, &rank)?));
    }
    stages.sort_by_key(|(rank, _)| *rank);
    Some(stages.into_iter().map(|(_, stage)| stage).collect())
}

fn stage(draft: Draft, wires: Vec<Wire>, rank: &[Option<usize>]) -> Option<Stage> {
    Some(Stage {
        inputs: wires.into_iter().map(|wire| input(wire, rank)).collect::<Option<_>>()?,
        kind: draft.kind?,
        outputs: draft.ports?.outputs?,
        name: draft.name,
        base: draft.base,
        params: draft.params,
        seed: draft.settings.seed,
        backend: draft.settings.backend,
        precision: draft.settings.precision,
        needs: draft.needs,
        executor: draft.executor.into_executor(),
        places: draft.places,
        matrix: draft.matrix,
    })
}

fn input(wire: Wire, rank: &[Option<usize>]) -> Option<Input> {
    let output = |link: crate::wire::Link| Some(OutputRef { stage: rank[link.stage]?, output: link.output });
    Some(Input { port: wire.port, from: wire.from.into_iter().map(output).collect::<Option<_>>()? })
}
