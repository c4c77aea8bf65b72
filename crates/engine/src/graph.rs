//! The graph of a run, in its folder as `graph.jsonl`: who reads what, so that a report of the run can be drawn when the
//! pipeline file is another one by then. A run that finds everything done writes none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use gazal_spec::{Pipeline, Stage};
use gazal_stage_api::lookup;
use gazal_store::RunDir;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) const FILE: &str = "graph.jsonl";

/// A stage of a run, as the pipeline had it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GraphStage {
    pub name: String,
    /// The name in the file: `cell` for `cell@group=1`.
    pub base: String,
    pub kind: String,
    /// Ports with what they read, in the order of the pipeline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<GraphInput>,
    /// Stages whose metrics decide whether it runs, and the one that serves it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Path-typed parameters as written, relative to the pipeline file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, Value>,
}

/// A connected port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphInput {
    pub port: String,
    /// Stages with their outputs.
    pub from: Vec<(String, String)>,
}

/// The graph of a run in the order of the pipeline, each stage after all that it needs; empty where none was kept.
/// Lines that cannot be read are passed over.
pub fn read_graph(dir: &RunDir) -> Vec<GraphStage> {
    let Ok(file) = File::open(dir.file(FILE)) else { return Vec::new() };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines.filter_map(|line| serde_json::from_str(&line).ok()).collect()
}

/// A stage as a line of the file.
pub(crate) fn line(pipeline: &Pipeline, index: usize) -> String {
    let text = serde_json::to_string(&describe(pipeline, index)).unwrap_or_default();
    text + "\n"
}

fn describe(pipeline: &Pipeline, index: usize) -> GraphStage {
    let stage = &pipeline.stages[index];
    let name = |other: usize| pipeline.stages[other].name.clone();
    let reads = stage.inputs.iter().map(|input| GraphInput {
        port: input.port.clone(),
        from: input.from.iter().map(|from| (name(from.stage), from.output.clone())).collect(),
    });
    let read: Vec<usize> = stage.reads().map(|from| from.stage).collect();
    let mut after: Vec<usize> = pipeline.needs(index).filter(|other| !read.contains(other)).collect();
    after.sort_unstable();
    after.dedup();
    GraphStage {
        name: stage.name.clone(),
        base: stage.base.clone(),
        kind: stage.kind.name().into(),
        reads: reads.filter(|input| !input.from.is_empty()).collect(),
        after: after.into_iter().map(name).collect(),
        paths: paths(stage),
    }
}

fn paths(stage: &Stage) -> BTreeMap<String, Value> {
    let named = stage.kind.traits().paths.iter();
    named.filter_map(|&name| Some((name.to_string(), lookup(&stage.params, name)?))).collect()
}
