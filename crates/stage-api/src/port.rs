use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an artifact is. Edges of the graph connect equal types only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PortType {
    /// A Hugging Face folder: `config.json`, safetensors, perhaps a tokenizer.
    Model,
    /// `tokenizer.json`, `tokenizer_config.json`, a chat template.
    Tokenizer,
    /// A PEFT folder: `adapter_config.json`, `adapter_model.safetensors`.
    Adapter,
    /// JSON Lines files of rows, one file a split.
    Dataset,
    /// JSON Lines of scored items.
    Samples,
    /// `metrics.json`: `{task: {metric: number}}`.
    Metrics,
    /// A self-contained HTML page with its JSON beside it.
    Report,
    /// Anything else.
    Files,
}

impl PortType {
    pub const ALL: [PortType; 8] = [
        PortType::Model,
        PortType::Tokenizer,
        PortType::Adapter,
        PortType::Dataset,
        PortType::Samples,
        PortType::Metrics,
        PortType::Report,
        PortType::Files,
    ];

    /// The name used in pipeline files.
    pub fn name(self) -> &'static str {
        match self {
            PortType::Model => "model",
            PortType::Tokenizer => "tokenizer",
            PortType::Adapter => "adapter",
            PortType::Dataset => "dataset",
            PortType::Samples => "samples",
            PortType::Metrics => "metrics",
            PortType::Report => "report",
            PortType::Files => "files",
        }
    }

    pub fn from_name(name: &str) -> Option<PortType> {
        PortType::ALL.into_iter().find(|port| port.name() == name)
    }
}

impl std::fmt::Display for PortType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How many artifacts an input port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    One,
    Optional,
    /// One or more, in the order in which the pipeline lists them.
    Many,
    /// None, one or more.
    Any,
}

/// An input port of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InPort {
    pub name: String,
    /// `None` accepts every type (only `exec` does).
    pub accepts: Option<PortType>,
    pub arity: Arity,
    pub doc: &'static str,
}

impl InPort {
    pub fn one(name: &str, accepts: PortType, doc: &'static str) -> InPort {
        InPort { name: name.into(), accepts: Some(accepts), arity: Arity::One, doc }
    }

    pub fn optional(name: &str, accepts: PortType, doc: &'static str) -> InPort {
        InPort { arity: Arity::Optional, ..InPort::one(name, accepts, doc) }
    }

    pub fn many(name: &str, accepts: PortType, doc: &'static str) -> InPort {
        InPort { arity: Arity::Many, ..InPort::one(name, accepts, doc) }
    }

    pub fn any(name: &str, accepts: PortType, doc: &'static str) -> InPort {
        InPort { arity: Arity::Any, ..InPort::one(name, accepts, doc) }
    }
}

/// Whether an output is part of the result or only tells how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Digested; a pure function of the manifest; no times in it.
    Value,
    /// Logs, event files, timings: kept with the receipt, never an input.
    Record,
}

/// An output of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutPort {
    pub name: String,
    pub kind: PortType,
    pub role: Role,
    pub doc: &'static str,
}

impl OutPort {
    pub fn value(name: &str, kind: PortType, doc: &'static str) -> OutPort {
        OutPort { name: name.into(), kind, role: Role::Value, doc }
    }

    pub fn record(name: &str, kind: PortType, doc: &'static str) -> OutPort {
        OutPort { role: Role::Record, ..OutPort::value(name, kind, doc) }
    }
}

/// What the pipeline file itself says about a stage's ports: kinds with free ports (`exec`) build theirs from it.
#[derive(Clone, Debug, Default)]
pub struct Declared {
    /// The names under `inputs`.
    pub inputs: Vec<String>,
    /// The table `outputs`: name to type.
    pub outputs: BTreeMap<String, PortType>,
}
