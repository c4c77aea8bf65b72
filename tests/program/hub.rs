//! Models and data sets of the hub, from a server that speaks its interface.

#[path = "../../crates/net/src/tests/server.rs"]
mod server;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use server::{Behaviour, COMMIT, Server, hex};

use crate::space::{Answer, TestSpace, answer, wait_until};

const SECRET: &str = "hf_this_is_secret";
const STAGES: &str = "[stages.base]\nkind = 'fetch-model'\nparams = { model_name_or_path = 'o/m' }\n\
    [stages.rows]\nkind = 'fetch-dataset'\nparams = { dataset_name = ['o/m'], data_files = ['rows/*'] }\n";

fn weights() -> Vec<u8> {
    (0..500_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn server(behaviour: Behaviour) -> Server {
    Server::with(
        &[
            ("config.json", b"{}"),
            ("model.safetensors", &weights()),
            ("onnx/model.safetensors", b"again"),
            ("rows/a.jsonl", b"{\"n\": 1}\n{\"n\": 2}\n"),
            ("rows/test.json", b"[{\"n\": 3}]"),
        ],
        behaviour,
    )
}

fn command(space: &TestSpace, server: &Server, words: &str) -> Command {
    let mut command = space.command(words);
    command.env("HF_ENDPOINT", &server.url).env("HF_TOKEN", SECRET).env("HF_HOME", space.path("hf"));
    command.env_remove("HF_HUB_OFFLINE").env_remove("HF_HUB_CACHE");
    command
}

fn run(space: &TestSpace, server: &Server, words: &str) -> Answer {
    answer(&command(space, server, words).output().unwrap())
}

fn expect(space: &TestSpace, server: &Server, words: &str) -> String {
    let told = run(space, server, words);
    assert_eq!(told.code, 0, "{words}\n{}{}", told.stdout, told.stderr);
    told.stdout
}

#[test]
fn a_revision_is_pinned_and_fetched_once() {
    let (space, server) =
        (TestSpace::with(STAGES), server(Behaviour { token: Some(SECRET.into()), ..Behaviour::default() }));
    let plan = expect(&space, &server, "plan pipeline.toml --json");
    assert_eq!(server.seen().len(), 0, "a plan asks nobody");
    assert!(serde_json::from_str::<Value>(&plan).unwrap()["stages"][0]["key"].is_null(), "{plan}");
    expect(&space, &server, "run pipeline.toml");
    assert!(space.read("pipeline.lock").contains(&format!("\"models/o/m@main\" = \"{COMMIT}\"")));
    expect(&space, &server, "get pipeline.toml base model");
    assert_eq!(fs::read(space.path("model/model.safetensors")).unwrap(), weights());
    assert!(!space.path("model/onnx").exists());
    expect(&space, &server, "get pipeline.toml rows rows");
    assert_eq!(
        (space.read("rows/train.jsonl"), space.read("rows/test.jsonl")),
        ("{\"n\":1}\n{\"n\":2}\n".into(), "{\"n\":3}\n".into())
    );
    server.seen();
    assert!(expect(&space, &server, "run pipeline.toml").starts_with("2 up to date"));
    assert_eq!(server.seen().len(), 0, "all is known");
    let moved = space.read("pipeline.lock").replace(COMMIT, &COMMIT.replace('0', "f"));
    space.write("pipeline.lock", &moved);
    let told = expect(&space, &server, "explain pipeline.toml base");
    assert!(told.contains("pins.models/o/m") && told.contains(COMMIT), "{told}");
    assert!(!said_anywhere(&space.path(""), SECRET));
}

#[test]
fn parquet_is_taken_before_other_forms_of_the_same_rows() {
    let two = include_bytes!("../fixtures/rows/two.parquet");
    let files: [(&str, &[u8]); 3] =
        [("data/test-0.parquet", two), ("rows.jsonl", b"{\"n\": 1}\n"), ("dataset_infos.json", b"{}")];
    let server = Server::with(&files, Behaviour::default());
    let space = TestSpace::with(
        "[stages.rows]\nkind = 'fetch-dataset'\nparams = { dataset_name = ['o/m'], max_samples = 1 }\n",
    );
    expect(&space, &server, "run pipeline.toml");
    expect(&space, &server, "get pipeline.toml rows rows");
    let row: Value = serde_json::from_str(&space.read("rows/test.jsonl")).unwrap();
    assert_eq!((&row["question"], &row["options"][1]), (&"Which vitamin prevents scurvy?".into(), &"C".into()));
    assert!(!space.path("rows/train.jsonl").exists());
}

#[test]
fn a_fetch_that_was_killed_goes_on() {
    let (space, server) =
        (TestSpace::with(STAGES), server(Behaviour { stalls_after: Some(400_000), ..Behaviour::default() }));
    // The fetch waits for what does not come, and is killed.
    let mut child = command(&space, &server, "run pipeline.toml base").spawn().unwrap();
    wait_until("a part is there", || part(&space).is_some_and(|length| length > 0));
    child.kill().unwrap();
    child.wait().unwrap();
    server.behave(Behaviour::default());
    server.seen();
    expect(&space, &server, "run pipeline.toml base");
    let asked = server.seen();
    let weights_asked: Vec<&String> = asked.iter().filter(|line| line.contains("model.safetensors")).collect();
    assert!(weights_asked.len() == 1 && weights_asked[0].to_lowercase().contains("range: bytes="), "{asked:?}");
    expect(&space, &server, "get pipeline.toml base model");
    assert_eq!(hex(&fs::read(space.path("model/model.safetensors")).unwrap()), hex(&weights()));
}

/// How much of the weights has come in.
fn part(space: &TestSpace) -> Option<u64> {
    let actions = fs::read_dir(space.path("cache/wip")).ok()?.filter_map(Result::ok);
    let parts = actions.map(|action| action.path().join("o--m/model.safetensors.part"));
    parts.filter_map(|part| Some(fs::metadata(part).ok()?.len())).max()
}

fn said_anywhere(folder: &Path, word: &str) -> bool {
    fs::read_dir(folder).unwrap().filter_map(Result::ok).any(|entry| {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => said_anywhere(&path, word),
            Ok(kind) if kind.is_file() => {
                fs::read(&path).unwrap().windows(word.len()).any(|window| window == word.as_bytes())
            }
            _ => false,
        }
    })
}

#[test]
fn what_the_hub_refuses_is_said_before_anything_runs() {
    let (space, server) =
        (TestSpace::with(STAGES), server(Behaviour { token: Some("another".into()), ..Behaviour::default() }));
    let told = run(&space, &server, "run pipeline.toml");
    assert_eq!(told.code, 2, "{}", told.stderr);
    assert!(
        told.stderr.contains("o/m@main") && told.stderr.contains("HF_TOKEN") && told.stderr.contains("stage `base`"),
        "{}",
        told.stderr
    );
    assert!(!told.stderr.contains(SECRET) && !space.path("pipeline.lock").exists());
    let offline = answer(&command(&space, &server, "run pipeline.toml").env("HF_HUB_OFFLINE", "1").output().unwrap());
    assert!(offline.code == 2 && offline.stderr.contains("HF_HUB_OFFLINE"), "{}", offline.stderr);
}
