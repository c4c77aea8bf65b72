//! Which keys a pipeline file may have: unknown ones are mistakes.

use gazal_stage_api::Kinds;

use crate::diagnostic::Report;
use crate::raw::{Data, Entry, Node, Table};
use crate::suggest::{did_you_mean, one_of};

/// The keys of one kind of table.
pub(crate) struct Keys {
    /// What the table is called in messages.
    place: &'static str,
    pub known: &'static [&'static str],
}

pub(crate) const FILE: Keys =
    Keys { place: "a pipeline file", known: &["pipeline", "params", "pools", "stages", "profiles"] };
pub(crate) const PROFILE: Keys = Keys { place: "a profile", known: &["pipeline", "params", "pools", "stages"] };
pub(crate) const OVERRIDE: Keys =
    Keys { place: "what `--set` changes", known: &["pipeline", "params", "pools", "stages"] };
pub(crate) const PIPELINE: Keys =
    Keys { place: "`[pipeline]`", known: &["name", "seed", "backend", "precision", "executor", "slurm", "remote"] };
pub(crate) const STAGE: Keys = Keys {
    place: "a stage",
    known: &[
        "kind",
        "inputs",
        "outputs",
        "params",
        "matrix",
        "seed",
        "backend",
        "precision",
        "needs",
        "enabled",
        "when",
        "gate",
        "retries",
        "timeout",
        "pool",
        "allow_failure",
        "service",
        "executor",
        "slurm",
    ],
};
pub(crate) const RETRIES: Keys = Keys { place: "`retries`", known: &["max", "backoff"] };
pub(crate) const SLURM: Keys =
    Keys { place: "`slurm`", known: &["partition", "account", "qos", "constraint", "at_once", "extra"] };
pub(crate) const NEEDS: Keys = Keys { place: "`needs`", known: &["gpus", "cpus", "memory"] };

/// Reports the keys of a whole file, profiles that are not chosen included.
pub(crate) fn check_file(file: &Table, kinds: &Kinds, report: &mut Report) {
    check_layer(file, &FILE, kinds, report);
    for profile in tables(file, "profiles", report) {
        if let Some(table) = expect_table(profile, report) {
            check_layer(table, &PROFILE, kinds, report);
        }
    }
}

/// Reports the keys of something with `pipeline` and `stages` in it.
pub(crate) fn check_layer(layer: &Table, keys: &Keys, kinds: &Kinds, report: &mut Report) {
    check_table(layer, keys, report);
    if let Some(pipeline) = layer.entry("pipeline").and_then(|entry| expect_table(entry, report)) {
        check_table(pipeline, &PIPELINE, report);
    }
    for name in ["params", "pools"] {
        if let Some(entry) = layer.entry(name) {
            expect_table(entry, report);
        }
    }
    for stage in tables(layer, "stages", report) {
        if let Some(table) = expect_table(stage, report) {
            check_stage(table, kinds, report);
        }
    }
}

fn check_stage(stage: &Table, kinds: &Kinds, report: &mut Report) {
    check_table(stage, &STAGE, report);
    if let Some(kind) = stage.get("kind").filter(|kind| kind.as_str().is_some_and(|name| !name.contains("${"))) {
        check_kind(kind, kinds, report);
    }
    for name in ["inputs", "outputs", "params", "matrix", "needs"] {
        if let Some(entry) = stage.entry(name).filter(|entry| entry.node.as_str().is_none()) {
            expect_table(entry, report);
        }
    }
}

/// Reports a kind that no one knows.
pub(crate) fn check_kind(kind: &Node, kinds: &Kinds, report: &mut Report) {
    let name = kind.as_str().unwrap_or_default();
    if kinds.get(name).is_none() {
        let help = one_of(name, "the kinds are", kinds.iter().map(|kind| kind.name()));
        report.error(&kind.origin, format!("there is no stage kind `{name}`")).help(help);
    }
}

/// Reports the unknown keys of one table.
pub(crate) fn check_table(table: &Table, keys: &Keys, report: &mut Report) {
    for entry in table.iter() {
        let name = entry.name.as_str();
        if !keys.known.contains(&name) {
            let meant = did_you_mean(name, keys.known.iter().copied());
            let help = meant.or_else(|| Some(format!("the keys are: {}", keys.known.join(", "))));
            report.error(&entry.origin, format!("{} has no key `{name}`", keys.place)).help(help);
        }
    }
}

/// The table of an entry, or a report that it is none.
pub(crate) fn expect_table<'a>(entry: &'a Entry, report: &mut Report) -> Option<&'a Table> {
    let table = entry.node.as_table();
    if table.is_none() && !entry.node.broken() {
        let message = format!("`{}` must be a table, not {}", entry.name, entry.node.type_name());
        report.error(&entry.node.origin, message);
    }
    table
}

/// Takes the table `name` out of another; empty if it is missing or reported.
pub(crate) fn take_table(from: &mut Table, name: &str, report: &mut Report) -> Table {
    let taken = from.remove(name).map(|entry| (expect_table(&entry, report).is_some(), entry.node.data));
    if let Some((true, Data::Table(table))) = taken { table } else { Table::default() }
}

/// The entries of the table `name`, none if it is missing or no table.
fn tables<'a>(layer: &'a Table, name: &str, report: &mut Report) -> impl Iterator<Item = &'a Entry> + use<'a> {
    let table = layer.entry(name).and_then(|entry| expect_table(entry, report));
    table.into_iter().flat_map(Table::iter)
}
