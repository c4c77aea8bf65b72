//! The crate through its front door, with toy kinds.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accepted;
mod command_line;
mod kinds;
mod mistakes;
mod schema;

use gazal_stage_api::Kinds;

use crate::{Diagnostic, Overrides, Pipeline, Source, Stage};

fn source(text: &str) -> Source<'_> {
    Source { name: "p.toml", text }
}

fn load_with(text: &str, overrides: &Overrides) -> Result<Pipeline, Vec<Diagnostic>> {
    crate::load(&source(text), overrides, &kinds::kinds())
}

fn load(text: &str) -> Pipeline {
    loaded(text, &Overrides::default())
}

/// The pipeline, or a panic that shows what is wrong with the text.
fn loaded(text: &str, overrides: &Overrides) -> Pipeline {
    load_with(text, overrides).unwrap_or_else(|found| panic!("{}", render(text, &found)))
}

fn render(text: &str, found: &[Diagnostic]) -> String {
    found.iter().map(|one| one.render_plain(&source(text))).collect::<Vec<_>>().join("\n")
}

fn stage<'a>(pipeline: &'a Pipeline, name: &str) -> &'a Stage {
    pipeline.stages.iter().find(|stage| stage.name == name).expect("no such stage")
}

fn names(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.stages.iter().map(|stage| stage.name.as_str()).collect()
}

/// `port: stage.output …` for every input of a stage.
fn wiring(pipeline: &Pipeline, name: &str) -> Vec<String> {
    let show = |input: &crate::Input| {
        let from = input.from.iter().map(|from| format!("{}.{}", pipeline.stages[from.stage].name, from.output));
        format!("{}: {}", input.port, from.collect::<Vec<_>>().join(" "))
    };
    stage(pipeline, name).inputs.iter().map(show).collect()
}

/// `--profile a --set b=c --backend d` as overrides.
fn overrides(arguments: &str) -> Overrides {
    let mut overrides = Overrides::default();
    let words: Vec<&str> = arguments.split_whitespace().collect();
    for pair in words.chunks(2) {
        let (name, value) = (pair[0], pair[1]);
        let split = value.split_once('=').map(|(left, right)| (left.to_string(), right.to_string()));
        match name {
            "--profile" => overrides.profiles.push(value.into()),
            "--set" => overrides.set.push(split.expect("path=value")),
            _ => overrides.backend.push(split.map_or((None, value.into()), |(stage, name)| (Some(stage), name))),
        }
    }
    overrides
}

fn toy_kinds() -> Kinds {
    kinds::kinds()
}
