//! What lies under `examples/` works.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::space::TestSpace;

/// A space with a copy of some files of `examples/`.
fn copied(files: &[&str]) -> TestSpace {
    let space = TestSpace::new();
    for file in files {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file);
        space.write(file, &fs::read_to_string(from).unwrap());
    }
    space
}

#[test]
fn the_notes_are_counted_once() {
    let space = copied(&["notes/pipeline.toml", "notes/notes.txt", "notes/count.sh"]);
    space.expect(0, "run notes/pipeline.toml");
    assert!(space.expect(0, "run notes/pipeline.toml").stdout.starts_with("3 up to date"));
    space.expect(0, "get notes/pipeline.toml count out");
    assert!(space.read("out/words.txt").contains("2 WORK"));
}

#[test]
fn the_notes_in_other_letters_are_not_counted_again() {
    let space = copied(&["notes/pipeline.toml", "notes/notes.txt", "notes/count.sh"]);
    space.expect(0, "run notes/pipeline.toml");
    space.write("notes/notes.txt", &space.read("notes/notes.txt").to_uppercase());
    let lines = space.expect(0, "run --json notes/pipeline.toml").stdout;
    assert!(lines.contains(r#""name":"shout","state":"ran""#), "{lines}");
    assert!(lines.contains(r#""name":"count","state":"hit""#), "{lines}");
}

#[test]
fn a_kind_of_ones_own_runs_beside_the_built_in_ones() {
    let program = Path::new(env!("CARGO_BIN_EXE_gazal-pipe")).with_file_name("examples").join("own_kind");
    if !program.exists() {
        eprintln!("passed over: examples are built by `cargo test`, not by `cargo test --test program`");
        return;
    }
    let space = copied(&["own_kind.toml", "notes/notes.txt"]);
    let answer = |words: &str| {
        let mut command = std::process::Command::new(&program);
        command.args(words.split_whitespace()).current_dir(space.path("")).env_remove("GAZAL_STORE");
        crate::space::answer(&command.stdin(Stdio::null()).output().unwrap())
    };
    let run = answer("run own_kind.toml");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(answer("get own_kind.toml count out").code, 0);
    assert_eq!(space.read("out/metrics.json"), r#"{"words":{"count":8}}"#);
    assert_eq!(answer("run own_kind.toml --set stages.count.params.min_length=0").code, 2);
}
