//! How two runs differ, stage by stage: manifests, metrics and time, from what the store keeps.

use std::collections::{BTreeMap, BTreeSet};

use gazal_store::{Digest, Receipt, Store};
use serde::Serialize;
use serde_json::Value;

use crate::manifest::flatten;
use crate::{Manifest, Record, metrics};

/// A stage that is not the same in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageDiff {
    pub name: String,
    /// Of the manifest (`params.beta`, `inputs.model`, `seed`), where both runs have the stage.
    pub fields: Vec<FieldDiff>,
    /// `out.mini_medqa.acc`
    pub metrics: Vec<FieldDiff>,
    /// How long its action took when it was executed; `None` where a run has no result of it.
    pub seconds: (Option<f64>, Option<f64>),
}

/// A value in both runs; `None` where one has none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDiff {
    pub field: String,
    pub a: Option<Value>,
    pub b: Option<Value>,
}

/// What a store keeps of a stage's action.
struct Side {
    fields: BTreeMap<String, Value>,
    metrics: BTreeMap<String, Value>,
    seconds: f64,
}

/// The stages that differ, in the order of their names. Stages with equal keys have equal results and are left out.
pub fn diff(store: &Store, a: &Record, b: &Record) -> Vec<StageDiff> {
    let keys = |record: &Record| -> BTreeMap<String, Digest> {
        record.stages.iter().filter_map(|stage| Some((stage.name.clone(), stage.key?))).collect()
    };
    let (a, b) = (keys(a), keys(b));
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differing = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differing.map(|name| stage_diff(name, side(store, a.get(name)), side(store, b.get(name)))).collect()
}

fn side(store: &Store, key: Option<&Digest>) -> Option<Side> {
    let receipt = store.receipt(key?).ok()??;
    let manifest = Manifest::from_value(&receipt.manifest)?;
    Some(Side { fields: manifest.fields(), metrics: measured(store, &receipt), seconds: receipt.seconds })
}

/// All numbers of all outputs of type `metrics`.
fn measured(store: &Store, receipt: &Receipt) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (name, output) in receipt.outputs.iter().filter(|(_, output)| output.kind == "metrics") {
        if let Ok(value) = metrics::read(store, &output.artifact) {
            flatten(name, value, &mut found);
        }
    }
    found
}

fn stage_diff(name: &str, a: Option<Side>, b: Option<Side>) -> StageDiff {
    let seconds = (a.as_ref().map(|side| side.seconds), b.as_ref().map(|side| side.seconds));
    let (fields, metrics) = match (a, b) {
        (Some(a), Some(b)) => (differences(&a.fields, &b.fields), differences(&a.metrics, &b.metrics)),
        _ => (Vec::new(), Vec::new()),
    };
    StageDiff { name: name.into(), fields, metrics, seconds }
}

fn differences(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) -> Vec<FieldDiff> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differing = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differing.map(|name| FieldDiff { field: name.clone(), a: a.get(name).cloned(), b: b.get(name).cloned() }).collect()
}
