//! A merged file to a checked pipeline.

use std::collections::BTreeSet;

use gazal_stage_api::Kinds;

use crate::diagnostic::{Origin, Report};
use crate::executor::Choice;
use crate::keys::{expect_table, take_table};
use crate::params::Checkers;
use crate::places::Surveyor;
use crate::raw::{self, Data, Entry, Node, Scalar, Table};
use crate::reference::Directory;
use crate::settings::{Settings, scalar};
use crate::shared::Shared;
use crate::stage::{Draft, Drafts, Read, Reader};
use crate::substitute::{Axes, Scope, references};
use crate::wire::{Ties, Wire, connect, tie};
use crate::{Condition, Input, OutputRef, Pipeline, Source, Stage, order, policy};

/// Checks everything; `None` only where a stage is too broken to be built, which is in the report.
pub(crate) fn check(source: &Source, mut file: Table, kinds: &Kinds, report: &mut Report) -> Option<Pipeline> {
    let stages = take_table(&mut file, "stages", report);
    let params = section(&file, "params", report);
    let scope = Scope { params, matrix: Axes::Absent };
    scope.apply_table(params, report);
    let pipeline = scope.apply_table(section(&file, "pipeline", report), report);
    let defaults = Settings::read(&pipeline, Settings::default(), report);
    let executor = Choice::read(&pipeline, &Choice::default(), report);
    let remote = pipeline.get("remote").and_then(|node| read_remote(node, report));
    let name = read_name(file.entry("pipeline"), &pipeline, report);
    let pools = policy::read_pools(&file, report);
    let surveyor = Surveyor::of(source);
    let checkers = Checkers::default();
    let names: Vec<String> = stages.names().map(str::to_string).collect();
    let reader = Reader {
        surveyor: &surveyor,
        kinds,
        checkers: &checkers,
        params,
        pipeline: &pipeline,
        names: &names,
        defaults,
        executor,
        pools: &pools,
        shared: Shared::default(),
    };
    if stages.len() == 0 {
        report.error(&Origin::Nowhere, "this pipeline has no stages").help("add `[stages.NAME]`".to_string());
    }
    let Stages { drafts, ghosts, directory } = read_stages(stages, &reader, report);
    let ties: Vec<Ties> = (0..drafts.len()).map(|at| tie(at, &drafts, &directory, report)).collect();
    for ghost in &ghosts {
        connect(ghost, &drafts, &directory, report);
    }
    report_read_services(&drafts, &ties, report);
    let sorted = order::sort(&ties);
    order::report_cycles(&drafts, &ties, &sorted, report);
    let disabled = directory.into_disabled();
    let stages = build(drafts, ties, &sorted)?;
    Some(Pipeline { name: name?, seed: defaults.seed, remote, stages, disabled, pools, warnings: Vec::new() })
}

/// A stage that serves makes nothing that another could read.
fn report_read_services(drafts: &[Box<Draft>], ties: &[Ties], report: &mut Report) {
    let services: BTreeSet<usize> = ties.iter().filter_map(|ties| ties.service).collect();
    for (reader, link) in
        ties.iter().flat_map(|ties| ties.wires.iter().flat_map(|wire| &wire.from).map(move |link| (ties, link)))
    {
        if services.contains(&link.stage) && reader.service != Some(link.stage) {
            let name = &drafts[link.stage].base;
            let message = format!("the stage `{name}` serves others and has no output to read");
            report.error(&link.origin, message).help(format!("name it as `service = \"{name}\"`"));
        }
    }
}

/// The entries of `[params]` that something in the file refers to, in whichever profile.
pub(crate) fn used_params(file: &Table) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for entry in file.iter() {
        entry.node.for_each_text(&mut |text| {
            let names = references(text).filter_map(|path| path.strip_prefix("params."));
            used.extend(names.map(|path| path.split('.').next().unwrap_or_default().to_string()));
        });
    }
    used
}

/// Warns of entries of `[params]` that are not in `used`.
pub(crate) fn warn_unused(used: &BTreeSet<String>, merged: &Table, report: &mut Report) {
    for entry in merged.table("params").into_iter().flat_map(Table::iter) {
        if !used.contains(&entry.name) {
            let help = format!("refer to it as `${{params.{}}}`, or take it out", entry.name);
            report.warning(&entry.origin, format!("the parameter `{}` is never used", entry.name)).help(help);
        }
    }
}

fn section<'a>(file: &'a Table, name: &str, report: &mut Report) -> &'a Table {
    file.entry(name).and_then(|entry| expect_table(entry, report)).unwrap_or(&raw::EMPTY)
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
        Data::Scalar(Scalar::Text(name)) if !name.is_empty() => return Some(name.clone()),
        Data::Broken => {}
        _ => drop(report.error(&node.origin, "`name` must be a text that is not empty")),
    }
    None
}

fn read_remote(node: &Node, report: &mut Report) -> Option<String> {
    let must = "`remote` must be a folder or a URL, such as `\"s3://bucket/prefix\"`";
    scalar(node, must, report, |value| value.as_str().filter(|text| !text.is_empty()).map(str::to_string))
}

#[derive(Default)]
struct Stages {
    drafts: Drafts,
    /// Stages whose matrix is wrong: looked through for more mistakes, and then dropped.
    ghosts: Vec<Draft>,
    directory: Directory,
}

/// Reads the stages and lets go of what the file says of each: of a large pipeline there is no room for both.
fn read_stages(stages: Table, reader: &Reader, report: &mut Report) -> Stages {
    let mut all = Stages::default();
    all.drafts.reserve(stages.len());
    for stage in stages {
        let name = stage.name.clone();
        match reader.read(stage, report) {
            Read::Drafts(points) => all.drafts.extend(points),
            Read::Disabled => all.directory.disabled(&name),
            Read::Opaque(ghost) => {
                all.ghosts.extend(ghost.map(|ghost| *ghost));
                all.directory.opaque(&name);
            }
        }
    }
    all.drafts.iter().for_each(|draft| all.directory.add(&draft.base, &draft.matrix));
    all
}

/// The drafts in their order, with their ties as indices into that order.
#[allow(clippy::vec_box, reason = "see `Pipeline::stages`")]
fn build(drafts: Drafts, mut ties: Vec<Ties>, sorted: &[usize]) -> Option<Vec<Box<Stage>>> {
    let mut rank = vec![None; drafts.len()];
    sorted.iter().enumerate().for_each(|(new, &old)| rank[old] = Some(new));
    let services: BTreeSet<usize> = ties.iter().filter_map(|ties| ties.service).collect();
    let mut drafts: Vec<Option<Box<Draft>>> = drafts.into_iter().map(Some).collect();
    let mut stages = Vec::with_capacity(drafts.len());
    for &old in sorted {
        let stage = stage(*drafts[old].take()?, std::mem::take(&mut ties[old]), &rank)?;
        stages.push(Box::new(Stage { is_service: services.contains(&old), ..stage }));
    }
    (stages.len() == drafts.len()).then_some(stages)
}

fn stage(draft: Draft, ties: Ties, rank: &[Option<usize>]) -> Option<Stage> {
    let renumber = |all: Vec<Condition>| all.into_iter().map(|one| one.renumbered(rank)).collect::<Option<Vec<_>>>();
    Some(Stage {
        inputs: ties.wires.into_iter().map(|wire| input(wire, rank)).collect::<Option<_>>()?,
        kind: draft.kind?,
        outputs: draft.ports?.outputs?,
        name: draft.name,
        base: draft.base,
        params: draft.params,
        seed: draft.settings.seed,
        backend: draft.settings.backend,
        precision: draft.settings.precision,
        needs: draft.needs,
        policy: draft.policy,
        when: renumber(ties.when)?,
        gates: renumber(ties.gates)?,
        service: match ties.service {
            Some(service) => Some(rank[service]?),
            None => None,
        },
        is_service: false,
        executor: draft.executor,
        places: draft.places,
        matrix: draft.matrix,
    })
}

fn input(wire: Wire, rank: &[Option<usize>]) -> Option<Input> {
    let output = |link: crate::wire::Link| Some(OutputRef { stage: rank[link.stage]?, output: link.output });
    Some(Input { port: wire.port, from: wire.from.into_iter().map(output).collect::<Option<_>>()? })
}
