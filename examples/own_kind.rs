//! A program with a stage kind of its own beside the built-in ones:
//!
//! `cargo run --release --example own_kind -- run examples/own_kind.toml`
//!
//! The engine starts its workers from the same binary, so nothing has to be registered anywhere else.

use std::fs;
use std::process::ExitCode;

use gazal_stage_api::{
    Context, Declared, DynKind, InPort, JsonSchema, Kind, Kinds, OutPort, PortType, Problem, StageError, Traits,
};
use serde::{Deserialize, Serialize};

/// Counts the words of text files.
struct CountWords;

/// Names are those of the pipeline file; an unknown one is an error there.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
struct Params {
    /// Shorter words are not counted.
    #[serde(default = "one")]
    min_length: usize,
}

fn one() -> usize {
    1
}

impl Kind for CountWords {
    type Params = Params;
    const NAME: &'static str = "count-words";
    /// Raised when the result would change for equal inputs, so that old results are not taken for new ones.
    const REVISION: u32 = 1;
    const DOC: &'static str = "Counts the words of text files.";
    /// A pure function of parameters and inputs: no seed, no device, no network.
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![InPort::many("text", PortType::Files, "folders of text files")]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("metrics", PortType::Metrics, "`metrics.json` with `words.count`")]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let zero = params.min_length == 0;
        zero.then(|| Problem::new("min_length", "must be at least 1")).into_iter().collect()
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let mut count = 0;
        for folder in context.inputs("text") {
            for entry in fs::read_dir(folder).map_err(StageError::failed)? {
                let text = fs::read_to_string(entry.map_err(StageError::failed)?.path()).map_err(StageError::failed)?;
                count += text.split_whitespace().filter(|word| word.chars().count() >= params.min_length).count();
            }
        }
        let metrics = serde_json::json!({"words": {"count": count}});
        fs::write(context.output("metrics")?.join("metrics.json"), metrics.to_string()).map_err(StageError::failed)
    }
}

fn main() -> ExitCode {
    let own: [&'static dyn DynKind; 1] = [&CountWords];
    gazal_pipe::main_with(Kinds::new(gazal_stages::kinds().iter().chain(own).collect()))
}
