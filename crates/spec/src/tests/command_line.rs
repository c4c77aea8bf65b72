//! `--set`, `--backend` and targets.

use gazal_stage_api::Backend;
use serde_json::json;

use super::{load, loaded, names, overrides, render, stage};
use crate::{BackendChoice, Overrides, Pipeline, Wanted};

const TEXT: &str = r#"
[pipeline]
name = "toy"
[stages.synth]
kind = "synth"
[stages.base]
kind = "base"
inputs = { dataset = "synth" }
backend = "wgpu"
[stages.lonely]
kind = "synth"
[stages.eval]
kind = "eval"
matrix = { size = [1, 2], round = ["a", "b"] }
inputs = { model = "base.model" }
[stages.off]
kind = "synth"
enabled = false
"#;

fn set(path: &str, value: &str) -> Pipeline {
    loaded(TEXT, &Overrides { set: vec![(path.into(), value.into())], ..Overrides::default() })
}

#[test]
fn set_takes_toml_values_and_otherwise_text() {
    assert_eq!(stage(&set("stages.synth.params.rows", "7"), "synth").params["rows"], json!(7));
    assert_eq!(stage(&set("stages.synth.params.split", "[1.0]"), "synth").params["split"], json!([1.0]));
    assert_eq!(stage(&set("stages.base.params", "{ both = true }"), "base").params["both"], json!(true));
    assert_eq!(set("pipeline.name", "a b").name, "a b");
    assert_eq!(set("pipeline.name", "\"7\"").name, "7");
    assert_eq!(set("pipeline.seed", "7").stages[0].seed, 7);
    assert_eq!(names(&set("stages.eval.matrix.size", "[3]"))[3..], ["eval@size=3,round=a", "eval@size=3,round=b"]);
}

#[test]
fn backends_of_the_command_line_win() {
    let backend = |arguments: &str, name| stage(&loaded(TEXT, &overrides(arguments)), name).backend;
    let given = BackendChoice::Given;
    assert_eq!(backend("--backend base=cuda:0", "base"), given(Backend::Cuda(Some(0))));
    assert_eq!(backend("--backend cuda", "base"), given(Backend::Cuda(None)));
    assert_eq!(backend("--backend base=cpu --backend cuda", "base"), given(Backend::Cpu));
    assert_eq!(backend("--backend base=cpu --backend cuda", "eval@size=1,round=a"), given(Backend::Cuda(None)));
    assert_eq!(backend("--set stages.base.backend=cpu", "base"), given(Backend::Cpu));
}

/// Words, `--from NAME`, `--until NAME`.
fn wanted(text: &[&str]) -> Wanted {
    let mut wanted = Wanted::default();
    for word in text {
        match word.split_once(' ') {
            Some(("--from", name)) => wanted.from.push(name.into()),
            Some(("--until", name)) => wanted.until.push(name.into()),
            _ => wanted.words.push((*word).into()),
        }
    }
    wanted
}

fn names_of(pipeline: &Pipeline, stages: &[usize]) -> Vec<String> {
    stages.iter().map(|&at| pipeline.stages[at].name.clone()).collect()
}

fn selected(words: &[&str]) -> Vec<String> {
    let pipeline = load(TEXT);
    match pipeline.select(&wanted(words)) {
        Ok(selected) => names_of(&pipeline, &selected.all),
        Err(diagnostic) => vec![render(TEXT, &[diagnostic])],
    }
}

fn targets(words: &[&str]) -> Vec<String> {
    let pipeline = load(TEXT);
    names_of(&pipeline, &pipeline.select(&wanted(words)).unwrap().targets)
}

#[test]
fn targets_bring_what_they_need() {
    assert_eq!(selected(&["base"]), ["synth", "base"]);
    assert_eq!(selected(&["eval@size=2"]), ["synth", "base", "eval@size=2,round=a", "eval@size=2,round=b"]);
    assert_eq!(selected(&["lonely", "eval@size=1,round=b"]), ["synth", "base", "lonely", "eval@size=1,round=b"]);
    assert_eq!(selected(&["eval"]).len(), 6);
    assert_eq!(selected(&[]).len(), 7);
}

#[test]
fn what_lies_before_and_behind_can_be_targets() {
    assert_eq!(targets(&["base"]), ["base"]);
    assert_eq!(targets(&["+base"]), ["synth", "base"]);
    assert_eq!(targets(&["base+"]).len(), 5);
    assert_eq!(targets(&["+base+"]).len(), 6);
    assert_eq!(targets(&["--from base"]).len(), 5);
    assert_eq!(targets(&["--until base"]), ["synth", "base"]);
    assert_eq!(targets(&["--from base", "--until base"]), ["base"]);
    assert_eq!(targets(&["eval@size=1", "--from base"]), ["eval@size=1,round=a", "eval@size=1,round=b"]);
    assert_eq!(selected(&["--from base", "--until base"]), ["synth", "base"]);
    insta::assert_snapshot!(selected(&["lonely", "--from base"])[0], @r"
    p.toml: error: no stage is selected
      help: leave out `--from` or `--until`, or name another stage
    ");
}

#[test]
fn a_target_that_is_none_is_a_mistake() {
    insta::assert_snapshot!(selected(&["bse"])[0], @r"
    command line (bse): error: there is no stage `bse`
      help: did you mean `base`?
    ");
    insta::assert_snapshot!(selected(&["off"])[0], @r"
    command line (off): error: the stage `off` is disabled (`enabled = false`)
      help: enable it, or take it out here
    ");
    insta::assert_snapshot!(selected(&["base.model"])[0], @r"
    command line (base.model): error: `base.model` is an output, not a stage
      help: leave out `.model`
    ");
}
