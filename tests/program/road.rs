//! The ordinary road: run, run again, change something, look at results.

use serde_json::json;

use crate::space::{TestSpace, pairs};

/// A source, a program that upper-cases it, and one that counts the letters of that.
const STAGES: &str = r#"
[stages.notes]
kind = "source"
params = { path = "notes.txt" }

[stages.shout]
kind = "exec"
inputs = { text = "notes" }
outputs = { out = "files" }
params = { command = ["sh", "shout.sh"], sources = ["shout.sh"] }

[stages.count]
kind = "exec"
inputs = { text = "shout" }
outputs = { out = "files" }
params = { command = ["sh", "-c", "wc -c < $GAZAL_INPUT_text/loud.txt > $GAZAL_OUTPUT_out/count.txt"] }
"#;

fn space() -> TestSpace {
    let space = TestSpace::with(STAGES);
    space.write("notes.txt", "quiet\n");
    space.write("shout.sh", "tr a-z A-Z < $GAZAL_INPUT_text/notes.txt > $GAZAL_OUTPUT_out/loud.txt\n");
    space
}

#[test]
fn the_second_run_does_nothing() {
    let space = space();
    assert_eq!(space.states(""), pairs(&[("notes", "ran"), ("shout", "ran"), ("count", "ran")]));
    assert_eq!(space.states(""), pairs(&[("notes", "hit"), ("shout", "hit"), ("count", "hit")]));
    assert!(space.expect(0, "run pipeline.toml").stdout.starts_with("3 up to date"));
}

#[test]
fn a_comment_or_another_name_for_the_pipeline_runs_nothing() {
    let space = space();
    space.expect(0, "run pipeline.toml");
    space.pipeline(&format!("# a comment\n{STAGES}"));
    assert_eq!(space.states("").iter().filter(|(_, state)| state == "hit").count(), 3);
}

#[test]
fn plan_says_what_changes_and_explain_says_why() {
    let space = space();
    space.expect(0, "run pipeline.toml");
    let changed = STAGES.replace("wc -c", "wc -w");
    space.pipeline(&changed);
    assert_eq!(space.planned("", "shout")["state"], "hit");
    let planned = space.planned("", "count");
    assert_eq!((&planned["state"], &planned["causes"][0]["field"]), (&json!("run"), &json!("params.command")));
    assert_eq!(planned["causes"][0]["place"]["line"], 18);
    let told = space.expect(0, "explain pipeline.toml count").stdout;
    for part in ["params.command", "wc -c", "wc -w", "pipeline.toml:18:"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(space.states(""), pairs(&[("notes", "hit"), ("shout", "hit"), ("count", "ran")]));
}

#[test]
fn an_edit_that_comes_out_the_same_stops_the_wave() {
    let space = space();
    space.expect(0, "run pipeline.toml");
    space.write("shout.sh", "tr '[:lower:]' '[:upper:]' < $GAZAL_INPUT_text/notes.txt > $GAZAL_OUTPUT_out/loud.txt\n");
    assert_eq!(space.planned("", "shout")["causes"][0]["field"], "params.sources.shout.sh");
    assert_eq!(
        (&space.planned("", "count")["state"], &space.planned("", "count")["key"]),
        (&json!("maybe"), &json!(null))
    );
    assert_eq!(space.states(""), pairs(&[("notes", "hit"), ("shout", "ran"), ("count", "hit")]));
}

#[test]
fn get_copies_an_output_out() {
    let space = space();
    assert!(space.expect(2, "get pipeline.toml count out").stderr.contains("not there yet"));
    space.expect(0, "run pipeline.toml");
    space.expect(0, "get pipeline.toml shout.out loud");
    assert_eq!(space.read("loud/loud.txt"), "QUIET\n");
    space.expect(0, "get pipeline.toml count counted");
    assert_eq!(space.read("counted/count.txt").trim(), "6");
    space.expect(0, "get --run last shout again");
    space.expect(2, "get pipeline.toml shout.nothing x");
    space.expect(2, "get pipeline.toml shout loud");
}

#[test]
fn targets_run_what_they_need_only() {
    let space = space();
    assert_eq!(space.states("shout"), pairs(&[("notes", "ran"), ("shout", "ran")]));
    assert_eq!(space.states("shout --force shout"), pairs(&[("notes", "hit"), ("shout", "ran")]));
    space.expect(2, "run pipeline.toml shout --force count");
}

#[test]
fn values_come_from_the_command_line_too() {
    let space = space();
    space.expect(0, "run pipeline.toml");
    space.write("other.txt", "longer than before\n");
    let changed = space.planned("--set stages.notes.params.path=other.txt", "notes");
    assert_eq!(changed["state"], "run");
    assert_eq!(space.planned("--backend wgpu", "count")["state"], "hit");
}

#[test]
fn the_graph_has_every_stage_and_edge() {
    let space = space();
    let mermaid = space.expect(0, "graph pipeline.toml").stdout;
    assert!(mermaid.starts_with("flowchart TD") && mermaid.contains("s0 -->|text| s1"), "{mermaid}");
    let dot = space.expect(0, "graph pipeline.toml --format dot").stdout;
    assert!(dot.contains("s1 -> s2 [label=\"text\"];"), "{dot}");
}

#[test]
fn what_happened_can_be_asked_for() {
    let space = space();
    space.write("shout.sh", "echo heard; tr a-z A-Z < $GAZAL_INPUT_text/notes.txt > $GAZAL_OUTPUT_out/loud.txt\n");
    assert!(space.expect(0, "status pipeline.toml").stdout.contains("no run yet"));
    space.expect(0, "run pipeline.toml");
    space.expect(0, "run pipeline.toml");
    assert!(space.expect(0, "log pipeline.toml").stdout.contains("shout  hit"));
    assert!(space.expect(0, "log pipeline.toml shout").stdout.contains("heard"));
    assert!(space.expect(0, "status pipeline.toml").stdout.contains("hit 3"));
    assert!(space.expect(0, "status --run last").stdout.contains("hit 3"));
    assert!(space.expect(0, "explain pipeline.toml shout").stdout.contains("it never ran"));
}

#[test]
fn init_writes_a_pipeline_that_works() {
    let space = TestSpace::new();
    space.expect(0, "init fresh");
    space.expect(0, "check fresh/pipeline.toml");
    space.expect(0, "run fresh/pipeline.toml");
    space.expect(0, "get fresh/pipeline.toml shout out");
    assert_eq!(space.read("out/loud.txt"), "NEVER DO THE SAME WORK TWICE\n");
    space.expect(2, "init fresh");
}

#[test]
fn a_report_among_the_results_is_shown() {
    let space = TestSpace::with(
        "[stages.tell]\nkind = \"exec\"\noutputs = { page = \"report\" }\nparams = { command = [\"sh\", \"-c\", \"echo 42 points > $GAZAL_OUTPUT_page/report.txt; echo hi > $GAZAL_OUTPUT_page/report.html\"] }\n",
    );
    let told = space.expect(0, "run pipeline.toml").stdout;
    assert!(told.contains("42 points") && told.contains("report.html"), "{told}");
    assert!(space.expect(0, "run pipeline.toml").stdout.contains("42 points"));
    assert_eq!(space.expect(0, "run pipeline.toml --quiet").stdout, "");
}

#[test]
fn kinds_schema_and_doctor_answer() {
    let space = TestSpace::new();
    assert!(space.expect(0, "kinds").stdout.contains("exec"));
    assert!(space.expect(0, "kinds exec").stdout.contains("sources"));
    space.expect(2, "kinds nothing");
    assert!(space.expect(0, "schema").stdout.contains("\"stages\""));
    assert!(space.expect(0, "doctor").stdout.contains("threads"));
}
