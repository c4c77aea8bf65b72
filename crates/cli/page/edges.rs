//! Who reads whom.
//!
//! A run keeps its graph; a run that found everything done does not. Then an input belongs to the first stage before
//! it that has an output of that content: manifests hold contents, so the edge is as true as the key.

use std::collections::HashMap;

use gazal_engine::GraphInput;
use gazal_store::Digest;

use super::facts::Stage;

/// A stage that another one needs, by their places in the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub from: usize,
    pub to: usize,
    /// `dataset: synth.corpus`; empty where it is no input that connects them.
    pub label: String,
}

/// The edges between stages of the run, those with a label first.
pub(crate) fn of(stages: &[Stage]) -> Vec<Edge> {
    let at: HashMap<&str, usize> = stages.iter().enumerate().map(|(at, stage)| (stage.name.as_str(), at)).collect();
    let mut edges = Vec::new();
    for (to, stage) in stages.iter().enumerate() {
        for input in &stage.reads {
            let from = input.from.iter().filter_map(|(from, output)| Some((*at.get(from.as_str())?, from, output)));
            edges.extend(from.filter(|(from, ..)| *from < to).map(|(from, name, output)| Edge {
                from,
                to,
                label: format!("{}: {name}.{output}", input.port),
            }));
        }
        let after = stage.after.iter().filter_map(|name| at.get(name.as_str()).copied()).filter(|from| *from < to);
        edges.extend(after.map(|from| Edge { from, to, label: String::new() }));
    }
    edges
}

/// Fills in what stages read, from the contents of what was made before them.
pub(crate) fn derive(stages: &mut [Stage]) {
    let mut made: HashMap<Digest, (String, String)> = HashMap::new();
    for stage in stages {
        if let Some(manifest) = &stage.manifest {
            let inputs = manifest.inputs.iter().map(|(port, digests)| GraphInput {
                port: port.clone(),
                from: digests.iter().filter_map(|digest| made.get(digest).cloned()).collect(),
            });
            stage.reads = inputs.collect();
        }
        for (name, output) in stage.receipt.iter().flat_map(|receipt| &receipt.outputs) {
            made.entry(output.artifact.content).or_insert_with(|| (stage.name.clone(), name.clone()));
        }
    }
}
