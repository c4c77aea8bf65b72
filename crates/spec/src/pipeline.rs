//! The checked pipeline. A value of these types needs no second check.

use std::collections::BTreeMap;

use gazal_stage_api::{DynKind, OutPort, Precision};
use serde_json::{Map, Value};

use crate::{BackendChoice, Diagnostic, Executor, Needs, Place};

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub name: String,
    pub seed: u64,
    /// Enabled, matrices expanded, each after all that it needs; otherwise in the order of the file.
    pub stages: Vec<Stage>,
    /// The names of the stages that the file has switched off.
    pub disabled: Vec<String>,
    pub warnings: Vec<Diagnostic>,
}

#[derive(Clone)]
pub struct Stage {
    /// `sft`, or `cell@group=1,seed=0` for a matrix point.
    pub name: String,
    /// The name in the file: `cell`.
    pub base: String,
    pub kind: &'static dyn DynKind,
    /// As written, references replaced, aliases by their canonical names. Defaults are not filled in.
    pub params: Map<String, Value>,
    /// In the order of the kind's ports; ports without a connection are left out.
    pub inputs: Vec<Input>,
    pub outputs: Vec<OutPort>,
    pub seed: u64,
    pub backend: BackendChoice,
    pub precision: Precision,
    pub needs: Needs,
    pub executor: Executor,
    /// Where the file says it: "" for the stage itself, `kind`, `seed`, `params.beta`, `inputs.model`, … What the
    /// command line says has no place.
    pub places: BTreeMap<String, Place>,
    /// Axis to value, for a matrix point.
    pub matrix: BTreeMap<String, Value>,
}

/// A connected input port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub port: String,
    /// In the order of the file, matrix points in theirs.
    pub from: Vec<OutputRef>,
}

/// An output of another stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRef {
    /// Index into [`Pipeline::stages`], smaller than the reader's own.
    pub stage: usize,
    pub output: String,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("name", &self.name)
            .field("kind", &self.kind.name())
            .field("params", &self.params)
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}
