//! The checked pipeline. A value of these types needs no second check.

use std::collections::BTreeMap;
use std::sync::Arc;

use gazal_stage_api::{DynKind, OutPort, Precision};
use serde_json::{Map, Value};

use crate::{BackendChoice, Condition, Diagnostic, Executor, Needs, Places, Policy};

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub name: String,
    pub seed: u64,
    /// Where results of others are looked for: a URL, or a folder as written, relative to the file.
    pub remote: Option<String>,
    /// Enabled, matrices expanded, each after all that it needs; otherwise in the order of the file. Each in a box: where
    /// they are many, there is no room for all of them at once beside what they are made from.
    #[allow(clippy::vec_box, reason = "boxes are taken one by one")]
    pub stages: Vec<Box<Stage>>,
    /// The names of the stages that the file has switched off.
    pub disabled: Vec<String>,
    /// How many stages of each pool may run at once.
    pub pools: BTreeMap<String, u32>,
    pub warnings: Vec<Diagnostic>,
}

#[derive(Clone)]
pub struct Stage {
    /// `sft`, or `cell@group=1,seed=0` for a matrix point.
    pub name: String,
    /// The name in the file: `cell`.
    pub base: String,
    pub kind: &'static dyn DynKind,
    /// As written, references replaced, aliases by their canonical names. Defaults are not filled in. Stages with the
    /// same may share them, as they do the executor, the policy and the point.
    pub params: Arc<Map<String, Value>>,
    /// In the order of the kind's ports; ports without a connection are left out.
    pub inputs: Vec<Input>,
    pub outputs: Vec<OutPort>,
    pub seed: u64,
    pub backend: BackendChoice,
    pub precision: Precision,
    pub needs: Needs,
    pub executor: Arc<Executor>,
    pub policy: Arc<Policy>,
    /// All must hold, or the stage is left out.
    pub when: Vec<Condition>,
    /// All must hold, or the stage has failed: those about other stages before it runs, those about itself after it.
    pub gates: Vec<Condition>,
    /// The stage that serves this one while it runs.
    pub service: Option<usize>,
    /// It serves another and never runs by itself.
    pub is_service: bool,
    pub places: Places,
    /// Axis to value, for a matrix point.
    pub matrix: Arc<Map<String, Value>>,
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
