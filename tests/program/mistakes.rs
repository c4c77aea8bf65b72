//! Bad input gets a clear message and exit code 2; a stage that fails, 1.

use crate::space::{TestSpace, pairs};

fn refused(stages: &str, parts: &[&str]) {
    let space = TestSpace::with(stages);
    for verb in ["check", "run"] {
        let told = space.expect(2, &format!("{verb} pipeline.toml")).stderr;
        for part in parts {
            assert!(told.contains(part), "{verb}: no `{part}` in\n{told}");
        }
    }
}

#[test]
fn broken_toml() {
    refused("[stages.a\n", &["pipeline.toml"]);
}

#[test]
fn an_unknown_key_and_an_unknown_kind_are_told_together() {
    refused(
        "[stages.a]\nkind = \"source\"\nparms = {}\n[stages.b]\nkind = \"exce\"\n",
        &["parms", "params", "exce", "exec"],
    );
}

#[test]
fn a_cycle() {
    let stage = |name: &str, from: &str| {
        format!(
            "[stages.{name}]\nkind = \"exec\"\ninputs = {{ x = \"{from}\" }}\noutputs = {{ out = \"files\" }}\nparams = {{ command = [\"true\"] }}\n"
        )
    };
    refused(&format!("{}{}", stage("a", "b"), stage("b", "a")), &["need each other", "a → b → a"]);
}

#[test]
fn a_missing_stage() {
    refused(
        "[stages.a]\nkind = \"exec\"\ninputs = { x = \"nobody\" }\nparams = { command = [\"true\"] }\n",
        &["nobody"],
    );
}

#[test]
fn a_file_that_is_not_there() {
    refused("[stages.a]\nkind = \"source\"\nparams = { path = \"no.txt\" }\n", &["no.txt", "pipeline.toml:5"]);
}

#[test]
fn the_command_line() {
    let space = TestSpace::with("[stages.a]\nkind = \"exec\"\nparams = { command = [\"true\"] }\n");
    for words in [
        "",
        "frobnicate",
        "run",
        "run nowhere.toml",
        "run pipeline.toml nobody",
        "run pipeline.toml --set nonsense",
        "run pipeline.toml --profile none",
        "run pipeline.toml --backend a=gpu",
        "status --run 19990101",
        "get pipeline.toml a",
    ] {
        let told = space.expect(2, words).stderr;
        assert!(!told.is_empty(), "{words} says nothing");
    }
    space.expect(0, "--help");
    space.expect(0, "--version");
}

#[test]
fn a_failing_stage_blocks_what_needs_it_and_nothing_else() {
    let exec = |name: &str, inputs: &str, command: &str| {
        format!(
            "[stages.{name}]\nkind = \"exec\"\n{inputs}outputs = {{ out = \"files\" }}\nparams = {{ command = [\"sh\", \"-c\", \"{command}\"] }}\n"
        )
    };
    let space = TestSpace::with(&format!(
        "{}{}{}",
        exec("bad", "", "echo it broke; exit 3"),
        exec("after", "inputs = { x = \"bad\" }\n", "true"),
        exec("good", "", "true")
    ));
    let mut states = space.states("");
    states.sort();
    assert_eq!(states, pairs(&[("after", "blocked"), ("bad", "failed"), ("good", "ran")]));
    let told = space.expect(1, "run pipeline.toml");
    assert!(told.stderr.contains("it broke") && told.stderr.contains("exit status: 3"), "{}", told.stderr);
    assert!(space.expect(1, "run pipeline.toml -q").stderr.contains("exit status: 3"));
    assert!(space.expect(0, "log pipeline.toml bad").stdout.contains("it broke"));
}

#[test]
fn a_program_whose_file_no_key_sees_is_warned_of() {
    let space = TestSpace::with("[stages.a]\nkind = \"exec\"\nparams = { command = [\"sh\", \"x.sh\"] }\n");
    space.write("x.sh", "true");
    assert!(space.expect(0, "check pipeline.toml").stderr.contains("x.sh"));
}
