//! Selections, plans as files, policies and gates, batches, services, and what is told of runs.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::space::{TestSpace, pairs};

/// `name` writes `text` after what it reads.
fn stage(name: &str, reads: &str, text: &str) -> String {
    let input = if reads.is_empty() { String::new() } else { format!("inputs = {{ in = \"{reads}\" }}\n") };
    let cat = if reads.is_empty() { "" } else { "cat $GAZAL_INPUT_in/f > $GAZAL_OUTPUT_out/f; " };
    format!(
        "[stages.{name}]\nkind = \"exec\"\n{input}outputs = {{ out = \"files\" }}\n\
         params = {{ command = [\"sh\", \"-c\", \"{cat}echo {text} >> $GAZAL_OUTPUT_out/f\"] }}\n"
    )
}

fn chain() -> TestSpace {
    TestSpace::with(&format!("{}{}{}", stage("a", "", "a"), stage("b", "a", "b"), stage("c", "b", "c")))
}

#[test]
fn selections_reach_up_and_down() {
    let space = chain();
    assert_eq!(space.states("--until b"), pairs(&[("a", "ran"), ("b", "ran")]));
    assert_eq!(space.states("--from b"), pairs(&[("a", "hit"), ("b", "hit"), ("c", "ran")]));
    assert_eq!(space.states("b+ --single --force c"), pairs(&[("a", "hit"), ("b", "hit"), ("c", "ran")]));
    assert!(space.expect(2, "run pipeline.toml nothing+").stderr.contains("there is no stage `nothing`"));
    let other = space.expect(2, "run pipeline.toml c --single --set stages.b.params.command=[\"true\"]");
    assert!(other.stderr.contains("--single"), "{}", other.stderr);
}

#[test]
fn a_plan_file_is_followed_or_refused() {
    let space = chain();
    space.expect(0, "plan pipeline.toml b --out plan.json");
    assert!(space.expect(0, "run --plan plan.json").stdout.contains("2 ran"));
    let stale = space.expect(2, "run --plan plan.json");
    assert!(stale.stderr.contains("the plan is stale") && stale.stderr.contains("`a` was run"), "{}", stale.stderr);
    space.expect(0, "plan pipeline.toml b --out plan.json");
    assert!(space.expect(0, "run --plan plan.json").stdout.contains("2 up to date"));
    space.write("plan.json", "{}");
    assert!(space.expect(2, "run --plan plan.json").stderr.contains("cannot read the plan"));
}

#[test]
fn programs_share_the_gpus_out() {
    let stage = |name: &str, gpus: usize| {
        format!(
            "[stages.{name}]\nkind = \"exec\"\noutputs = {{ out = \"files\" }}\nneeds = {{ gpus = {gpus} }}\n\
             params = {{ command = [\"sh\", \"-c\", \"sleep 0.3; echo $CUDA_VISIBLE_DEVICES >> {name}\"] }}\n"
        )
    };
    let space = TestSpace::with(&format!("{}{}{}", stage("a", 1), stage("b", 1), stage("both", 2)));
    let told = space.command("run pipeline.toml").env("CUDA_VISIBLE_DEVICES", "4,7").output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let [a, b, both] = ["a", "b", "both"].map(|name| space.read(name));
    assert!(["4\n", "7\n"].contains(&a.as_str()) && ["4\n", "7\n"].contains(&b.as_str()), "{a}{b}");
    assert_eq!(both, "4,7\n");
    let one = space.command("run pipeline.toml both --force both").env("CUDA_VISIBLE_DEVICES", "4").output().unwrap();
    let error = String::from_utf8_lossy(&one.stderr).into_owned();
    assert!(!one.status.success() && error.contains("more GPUs than this machine has (1)"), "{error}");
}

#[test]
fn failures_are_tried_again_allowed_or_final() {
    let flaky = "[stages.flaky]\nkind = \"exec\"\noutputs = { out = \"files\" }\nretries = { max = 2, backoff = \"10ms\" }\n\
                 params = { command = [\"sh\", \"-c\", \"echo x >> tries; [ $(wc -l < tries) -ge 3 ]\"] }\n";
    let allowed = "[stages.allowed]\nkind = \"exec\"\noutputs = { out = \"files\" }\nallow_failure = true\nparams = { command = [\"false\"] }\n";
    let space = TestSpace::with(&format!("{flaky}{allowed}"));
    let told = space.expect(0, "run pipeline.toml -j 1");
    assert!(told.stderr.contains("try 2 of 3") && told.stderr.contains("try 3 of 3"), "{}", told.stderr);
    assert_eq!(space.read("tries").lines().count(), 3);
    assert!(told.stdout.contains("1 ran") && told.stdout.contains("1 failed and may"), "{}", told.stdout);
}

#[test]
fn a_stage_that_takes_too_long_is_ended_with_all_that_it_started() {
    let space = TestSpace::with(
        "[stages.slow]\nkind = \"exec\"\noutputs = { out = \"files\" }\ntimeout = \"300ms\"\nparams = { command = [\"sleep\", \"1234.5\"] }\n",
    );
    let told = space.expect(1, "run pipeline.toml");
    assert!(told.stderr.contains("`timeout` (0.3 s)"), "{}", told.stderr);
    assert!(crate::space::processes_with("1234.5").is_empty());
}

#[test]
fn a_gate_decides_by_what_was_measured() {
    let measure = |acc: &str| {
        format!(
            "[stages.eval]\nkind = \"exec\"\noutputs = {{ metrics = \"metrics\" }}\n\
             params = {{ command = [\"sh\", \"-c\", 'echo {{\\\"toy\\\": {{\\\"acc\\\": {acc}}}}} > $GAZAL_OUTPUT_metrics/metrics.json'] }}\n\
             [stages.release]\nkind = \"exec\"\noutputs = {{ out = \"files\" }}\ngate = \"eval.toy.acc >= 0.5\"\nparams = {{ command = [\"true\"] }}\n"
        )
    };
    let space = TestSpace::with(&measure("0.4"));
    let told = space.expect(1, "run pipeline.toml");
    assert!(told.stderr.contains("gate: `eval.toy.acc >= 0.5` does not hold: eval has 0.4"), "{}", told.stderr);
    space.pipeline(&measure("0.6"));
    assert_eq!(space.states(""), pairs(&[("eval", "ran"), ("release", "ran")]));
}

#[test]
fn a_program_runs_in_the_folder_that_is_named() {
    let space = TestSpace::with(
        "[stages.inside]\nkind = \"exec\"\noutputs = { out = \"files\" }\n\
         params = { command = [\"sh\", \"-c\", \"cat note.txt > $GAZAL_OUTPUT_out/f\"], cwd = \"tools\", sources = [\"tools/*.txt\"] }\n",
    );
    space.write("tools/note.txt", "here\n");
    space.expect(0, "run pipeline.toml");
    space.expect(0, "get pipeline.toml inside out");
    assert_eq!(space.read("out/f"), "here\n");
    let elsewhere = space.read("pipeline.toml").replace("cwd = \"tools\"", "cwd = \"tool\"");
    space.write("pipeline.toml", &elsewhere);
    let told = space.expect(1, "run pipeline.toml").stderr;
    assert!(told.contains("`cwd` names no folder: tool"), "{told}");
}

#[test]
fn a_program_reads_more_inputs_than_a_variable_holds() {
    let inputs = vec!["'note'"; 3000].join(", ");
    let space = TestSpace::with(&format!(
        "[stages.note]\nkind = 'source'\nparams = {{ path = 'note.txt', type = 'files' }}\n\
         [stages.all]\nkind = 'exec'\ninputs = {{ many = [{inputs}], few = ['note', 'note'] }}\noutputs = {{ out = 'files' }}\n\
         params = {{ command = ['sh', 'all.sh'], sources = ['all.sh'] }}\n"
    ));
    space.write("note.txt", "here\n");
    let script = "test -z \"$GAZAL_INPUT_many\" || exit 1\ntest -n \"$GAZAL_INPUT_few\" || exit 1\n\
        while read -r folder; do cat \"$folder/note.txt\"; done < \"$GAZAL_INPUTS_many\" > \"$GAZAL_OUTPUT_out/all\"\n";
    space.write("all.sh", script);
    space.expect(0, "run pipeline.toml");
    space.expect(0, "get pipeline.toml all out");
    assert_eq!(space.read("out/all"), "here\n".repeat(3000));
}

#[test]
fn matrix_points_share_workers() {
    let space = TestSpace::with(
        "[stages.cell]\nkind = \"exec\"\nmatrix = { x = [1,2,3,4,5,6,7,8,9,10,11,12] }\noutputs = { out = \"files\" }\n\
         params = { command = [\"sh\", \"-c\", \"echo $PPID ${matrix.x} >> workers; echo told ${matrix.x}\"] }\n",
    );
    space.expect(0, "run pipeline.toml -j 2");
    let workers = space.read("workers");
    let processes: BTreeSet<&str> = workers.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(workers.lines().count(), 12);
    assert!(processes.len() <= 2, "{workers}");
    let log = space.expect(0, "log pipeline.toml cell@x=7").stdout;
    assert_eq!(log.trim(), "told 7", "each has a log of its own");
}

#[test]
fn runs_are_listed_compared_and_traced() {
    let space = chain();
    space.expect(0, "run pipeline.toml --trace trace.json");
    let trace: Value = serde_json::from_str(&space.read("trace.json")).unwrap();
    let names: Vec<&str> =
        trace["traceEvents"].as_array().unwrap().iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let text = space.read("pipeline.toml").replace("echo b", "echo B");
    fs::write(space.path("pipeline.toml"), text).unwrap();
    space.expect(0, "run pipeline.toml");
    let listed: Value = serde_json::from_str(&space.expect(0, "runs ls --json").stdout).unwrap();
    let runs = listed["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    let first = runs[0]["run"]["run"].as_str().unwrap();
    let told = space.expect(0, &format!("diff {first} last")).stdout;
    assert!(told.contains("params.command") && told.contains("echo B") && told.contains("inputs.in"), "{told}");
    assert!(space.expect(0, "diff last last").stdout.contains("same results"));
}

#[test]
fn shells_and_people_learn_the_command_line() {
    let space = TestSpace::new();
    assert!(space.expect(0, "completions bash").stdout.contains("gazal-pipe"));
    let manual = space.expect(0, "man").stdout;
    assert!(manual.starts_with(".") && manual.contains("fail\\-fast"), "{}", &manual[..400.min(manual.len())]);
}
