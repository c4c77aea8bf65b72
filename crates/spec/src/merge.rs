//! Layers over the file: profiles in order, then `--set`, then `--backend`.
//!
//! Tables merge deeply, everything else is replaced, and each value keeps the place where it was written. A
//! layer that changes the kind of a stage drops what only the old kind understood.

use gazal_stage_api::Kinds;

use crate::diagnostic::{Origin, Report};
use crate::keys;
use crate::raw::{Data, Entry, Node, Table, parse_value};
use crate::suggest::one_of;

/// What the command line changes.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Profiles, in order.
    pub profiles: Vec<String>,
    /// Dotted path and TOML value; what is not TOML is taken as text.
    pub set: Vec<(String, String)>,
    /// Stage and backend name; without a stage for the whole pipeline.
    pub backend: Vec<(Option<String>, String)>,
}

/// The file with its layers applied; `profiles` is gone from it.
pub(crate) fn apply(mut file: Table, overrides: &Overrides, kinds: &Kinds, report: &mut Report) -> Table {
    let profiles = file.remove("profiles");
    let profiles = profiles.as_ref().and_then(|entry| entry.node.as_table());
    for name in &overrides.profiles {
        match profiles.and_then(|profiles| profiles.get(name)) {
            Some(profile) => merge_layer(&mut file, profile.as_table().unwrap_or(&Table::default())),
            None => unknown_profile(name, profiles, report),
        }
    }
    let set = set_layer(&file, &overrides.set, report);
    keys::check_layer(&set, &keys::OVERRIDE, kinds, report);
    merge_layer(&mut file, &set);
    set_backends(&mut file, &overrides.backend, report);
    file
}

fn unknown_profile(name: &str, profiles: Option<&Table>, report: &mut Report) {
    let names = profiles.into_iter().flat_map(Table::names);
    let help = one_of(name, "the profiles are", names);
    report.error(&Origin::argument(format!("--profile {name}")), format!("there is no profile `{name}`")).help(help);
}

fn merge_layer(file: &mut Table, layer: &Table) {
    if let (Some(stages), Some(changes)) = (file.table_mut("stages"), layer.table("stages")) {
        drop_changed_kinds(stages, changes);
    }
    merge(file, layer);
}

fn drop_changed_kinds(stages: &mut Table, changes: &Table) {
    for change in changes.iter() {
        let Some(stage) = stages.table_mut(&change.name) else { continue };
        let kind = change.node.as_table().and_then(|table| table.get("kind")).map(Node::to_value);
        let inherited = stage.get("kind").map(Node::to_value);
        if kind.is_some() && inherited.is_some() && kind != inherited {
            for name in ["inputs", "outputs", "params"] {
                stage.remove(name);
            }
        }
    }
}

/// Deep merge: tables into tables, everything else replaced.
fn merge(base: &mut Table, layer: &Table) {
    for entry in layer.iter() {
        match (base.get_mut(&entry.name).map(|node| &mut node.data), &entry.node.data) {
            (Some(Data::Table(old)), Data::Table(new)) => merge(old, new),
            _ => base.insert(entry.clone()),
        }
    }
}

/// All `--set` arguments as one layer.
fn set_layer(file: &Table, set: &[(String, String)], report: &mut Report) -> Table {
    let mut layer = Table::default();
    for (path, text) in set {
        let origin = Origin::argument(format!("--set {path}={text}"));
        let steps: Vec<&str> = path.split('.').collect();
        if names_something(file, &steps, &origin, report) {
            let value = parse_value(text, &origin).unwrap_or_else(|| Node::text(origin.clone(), text.as_str()));
            insert_at(&mut layer, &steps, value, &origin);
        }
    }
    layer
}

/// Whether the path leads to something that is there to be changed.
///
/// Stages, the file's own parameters and matrix axes must exist already; a stage's keys and parameters are
/// checked with the stage.
fn names_something(file: &Table, steps: &[&str], origin: &Origin, report: &mut Report) -> bool {
    let must_exist = match steps {
        ["params", ..] => steps.len(),
        ["stages", _, "matrix", ..] => steps.len().min(4),
        ["stages", ..] => steps.len().min(2),
        _ => 0,
    };
    let mut table = Some(file);
    for (depth, step) in steps.iter().enumerate() {
        if step.is_empty() {
            report.error(origin, "a name is missing in this path").help("write it as `stages.NAME.KEY`".to_string());
            return false;
        }
        let known = table.is_some_and(|table| table.entry(step).is_some());
        if depth < must_exist && !known {
            let parent = if depth == 0 { "the file".into() } else { format!("`{}`", steps[..depth].join(".")) };
            let help = one_of(step, &format!("{parent} has"), table.into_iter().flat_map(Table::names));
            report.error(origin, format!("there is no `{step}` in {parent}")).help(help);
            return false;
        }
        table = table.and_then(|table| table.table(step));
    }
    true
}

fn insert_at(layer: &mut Table, steps: &[&str], value: Node, origin: &Origin) {
    let Some((first, rest)) = steps.split_first() else { return };
    let entry = |node| Entry { name: (*first).to_string(), origin: origin.clone(), node };
    if rest.is_empty() {
        return layer.insert(entry(value));
    }
    if layer.table(first).is_none() {
        layer.insert(entry(Node::table(origin.clone(), Table::default())));
    }
    if let Some(inner) = layer.table_mut(first) {
        insert_at(inner, rest, value, origin);
    }
}

/// `--backend`: first those for the whole pipeline, which also take the place of what stages say themselves.
fn set_backends(file: &mut Table, backends: &[(Option<String>, String)], report: &mut Report) {
    for (_, backend) in backends.iter().filter(|(stage, _)| stage.is_none()) {
        let origin = Origin::argument(format!("--backend {backend}"));
        forget_backends(file);
        insert_at(file, &["pipeline", "backend"], Node::text(origin.clone(), backend.as_str()), &origin);
    }
    for (stage, backend) in backends.iter().filter_map(|(stage, backend)| Some((stage.as_ref()?, backend))) {
        let origin = Origin::argument(format!("--backend {stage}={backend}"));
        if names_stage(file, stage, &origin, report) {
            let value = Node::text(origin.clone(), backend.as_str());
            insert_at(file, &["stages", stage, "backend"], value, &origin);
        }
    }
}

fn forget_backends(file: &mut Table) {
    let Some(stages) = file.table_mut("stages") else { return };
    for (_, stage) in stages.iter_mut() {
        if let Data::Table(stage) = &mut stage.data {
            stage.remove("backend");
        }
    }
}

fn names_stage(file: &Table, stage: &str, origin: &Origin, report: &mut Report) -> bool {
    let stages = file.table("stages");
    let known = stages.is_some_and(|stages| stages.table(stage).is_some());
    if !known {
        let help = one_of(stage, "the stages are", stages.into_iter().flat_map(Table::names));
        report.error(origin, format!("there is no stage `{stage}`")).help(help);
    }
    known
}
