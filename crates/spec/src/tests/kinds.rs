//! Toy kinds: the shapes of the real ones, without their work.

use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, Kinds, OutPort, PortType, Problem, StageError, Traits, schemars,
};
use serde::{Deserialize, Serialize};

const PLAIN: Traits = Traits::PLAIN;

/// Data out of nothing.
struct Synth;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct SynthParams {
    rows: u32,
    split: Vec<f64>,
}

impl Default for SynthParams {
    fn default() -> SynthParams {
        SynthParams { rows: 10, split: vec![0.9, 0.1] }
    }
}

impl Kind for Synth {
    type Params = SynthParams;
    const NAME: &'static str = "synth";
    const REVISION: u32 = 1;
    const DOC: &'static str = "makes rows";
    const TRAITS: Traits = Traits { seeded: true, ..PLAIN };

    fn inputs(&self, _: &SynthParams, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &SynthParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("rows", PortType::Dataset, "the rows")]
    }

    fn run(&self, _: SynthParams, _: &mut Context) -> Result<(), StageError> {
        Ok(())
    }
}

/// Two outputs of one type, one of another, one record.
struct Base;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BaseParams {
    #[serde(default)]
    both: bool,
}

impl Kind for Base {
    type Params = BaseParams;
    const NAME: &'static str = "base";
    const REVISION: u32 = 1;
    const DOC: &'static str = "makes a model";
    const TRAITS: Traits = Traits { computes: true, seeded: true, ..PLAIN };

    fn inputs(&self, _: &BaseParams, _: &Declared) -> Vec<InPort> {
        vec![InPort::any("dataset", PortType::Dataset, "what to read")]
    }

    fn outputs(&self, params: &BaseParams, _: &Declared) -> Vec<OutPort> {
        let mut outputs = vec![
            OutPort::value("model", PortType::Model, "the model"),
            OutPort::value("tokenizer", PortType::Tokenizer, "its tokenizer"),
            OutPort::record("log", PortType::Files, "losses"),
        ];
        if params.both {
            outputs.push(OutPort::value("average", PortType::Model, "the averaged model"));
        }
        outputs
    }

    fn run(&self, _: BaseParams, _: &mut Context) -> Result<(), StageError> {
        Ok(())
    }
}

/// Required, nested, aliased and ranged parameters.
struct Sft;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SftParams {
    /// The rank of the adapter.
    lora_r: u32,
    #[serde(default, alias = "lr")]
    learning_rate: f64,
    #[serde(default)]
    optim: Optim,
    #[serde(default)]
    schedule: Schedule,
    #[serde(default)]
    steps: u32,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Optim {
    #[default]
    Exadam,
    Adamw,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Schedule {
    warmup: f64,
    rates: Vec<f64>,
}

impl Kind for Sft {
    type Params = SftParams;
    const NAME: &'static str = "sft";
    const REVISION: u32 = 1;
    const DOC: &'static str = "trains an adapter";
    const TRAITS: Traits = Traits { computes: true, seeded: true, ..PLAIN };

    fn inputs(&self, _: &SftParams, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::one("model", PortType::Model, "the model to adapt"),
            InPort::many("dataset", PortType::Dataset, "what to learn"),
            InPort::optional("adapter", PortType::Adapter, "where to start"),
        ]
    }

    fn outputs(&self, _: &SftParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("adapter", PortType::Adapter, "the adapter")]
    }

    fn validate(&self, params: &SftParams) -> Vec<Problem> {
        let mut problems = Vec::new();
        if params.learning_rate < 0.0 {
            problems.push(Problem::new("learning_rate", "must not be negative").with_help("try 1e-4"));
        }
        if params.schedule.warmup > 1.0 {
            problems.push(Problem::new("schedule.warmup", "must be a share, from 0 to 1"));
        }
        problems
    }

    fn misplaced(&self, params: &SftParams, inputs: &[&str]) -> Vec<Problem> {
        let idle = params.steps > 0 && inputs.contains(&"adapter");
        idle.then(|| Problem::new("steps", "means nothing where there is an adapter")).into_iter().collect()
    }

    fn run(&self, _: SftParams, _: &mut Context) -> Result<(), StageError> {
        Ok(())
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoParams {}

/// A model with an optional adapter, and an optional list of data.
struct Eval;

impl Kind for Eval {
    type Params = NoParams;
    const NAME: &'static str = "eval";
    const REVISION: u32 = 1;
    const DOC: &'static str = "scores a model";
    const TRAITS: Traits = Traits { computes: true, ..PLAIN };

    fn inputs(&self, _: &NoParams, _: &Declared) -> Vec<InPort> {
        vec![
            InPort::one("model", PortType::Model, "the model to score"),
            InPort::optional("adapter", PortType::Adapter, "on top of it"),
            InPort::any("dataset", PortType::Dataset, "the questions"),
        ]
    }

    fn outputs(&self, _: &NoParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("metrics", PortType::Metrics, "the scores")]
    }

    fn run(&self, _: NoParams, _: &mut Context) -> Result<(), StageError> {
        Ok(())
    }
}

/// Gathers.
struct Table;

impl Kind for Table {
    type Params = NoParams;
    const NAME: &'static str = "table";
    const REVISION: u32 = 1;
    const DOC: &'static str = "puts scores side by side";
    const TRAITS: Traits = PLAIN;

    fn inputs(&self, _: &NoParams, _: &Declared) -> Vec<InPort> {
        vec![InPort::many("metrics", PortType::Metrics, "the scores")]
    }

    fn outputs(&self, _: &NoParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("report", PortType::Report, "the table")]
    }

    fn run(&self, _: NoParams, _: &mut Context) -> Result<(), StageError> {
        Ok(())
    }
}

/// Ports as the file declares them.
struct Exec;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExecParams {
    command: Vec<String>,
}

impl Kind for Exec {
    type Params = ExecParams;
    const NAME: &'static str = "exec";
    const REVISION: u32 = 1;
    const DOC: &'static str = "runs a program";
    const TRAITS: Traits = Traits { serves: true, ..PLAIN };

    fn inputs(&self, _: &ExecParams, declared: &Declared) -> Vec<InPort> {
        let port = |name: &String| InPort { accepts: None, ..InPort::any(name, PortType::Files, "as declared") };
        declared.inputs.iter().map(port).collect()
    }

    fn outputs(&self, _: &ExecParams, declared: &Declared) -> Vec<OutPort> {
        declared.outputs.iter().map(|(name, kind)| OutPort::value(name, *kind, "as declared")).collect()
    }

    fn run(&self, _: ExecParams, _: &mut Context) -> Result<(), StageError> {
        Ok(())
    }
}

pub fn kinds() -> Kinds {
    Kinds::new(vec![&Synth, &Base, &Sft, &Eval, &Table, &Exec])
}
