//! The world changes under a run: the clock turns back, an input changes.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::pass_over;
use super::pipeline::{self, assert_all_right, planned, write_text};
use crate::space::{TestSpace, answer, wait_until};

/// Debian's libfaketime, which gives a program another clock.
fn faketime() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let names = folders.map(|folder| PathBuf::from(folder).join("faketime/libfaketime.so.1"));
    names.into_iter().find(|name| name.exists())
}

/// `command` with a clock that is a day behind. Times of files and pauses stay as they are.
fn yesterday(mut command: Command, library: &Path) -> Command {
    let switches = [("FAKETIME", "-1d"), ("NO_FAKE_STAT", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    command.env("LD_PRELOAD", library).envs(switches);
    command
}

#[test]
fn a_clock_that_turns_back_a_day_costs_nothing() {
    let Some(library) = faketime() else { return pass_over("faketime", "no libfaketime (Debian: libfaketime)") };
    let (space, expected) = (pipeline::space(), pipeline::undisturbed());
    space.expect(0, "run pipeline.toml -j 2");
    let then = |words: &str| {
        let told = answer(&yesterday(space.command(words), &library).output().unwrap());
        assert_eq!(told.code, 0, "{words}\n{}{}", told.stdout, told.stderr);
        told.stdout
    };
    assert!(then("run pipeline.toml").starts_with("12 up to date"), "what was made tomorrow is there");
    write_text(&space, 1);
    let told = then("run pipeline.toml -j 2");
    assert!(told.contains("10 ran, 2 up to date"), "{told}");
    assert!(then("status --run last").contains("ran 10, hit 2"), "the last run is the one that began last");
    let told = then("explain pipeline.toml words up");
    assert!(told.contains("words.txt") && told.contains("inputs.in"), "compared with what it was before: {told}");
    assert_all_right(&space, &expected[1]);
    write_text(&space, 2);
    space.expect(0, "run pipeline.toml -j 2");
    assert_all_right(&space, &expected[2]);
}

#[test]
fn an_input_that_changes_while_its_stage_runs_is_not_taken_for_what_it_was() {
    let command = "echo x >> starts; while ! [ -e go ]; do sleep 0.02; done; cp data.txt $GAZAL_OUTPUT_out";
    let space = TestSpace::with(&format!(
        "[stages.copy]\nkind = 'exec'\noutputs = {{ out = 'files' }}\n\
         params = {{ command = ['sh', '-c', '{command}'], sources = ['data.txt'] }}\n"
    ));
    space.write("data.txt", "before");
    let runner = space.start("run pipeline.toml");
    wait_until("the stage's start", || space.path("starts").exists());
    space.write("data.txt", "behind");
    space.write("go", "");
    let told = answer(&runner.wait_with_output().unwrap());
    assert!(told.code == 1 && told.stderr.contains("`sources` points at changed while"), "{}", told.stderr);
    for (text, state) in [("behind", "run"), ("before", "run")] {
        space.write("data.txt", text);
        assert_eq!(planned(&space)[0].1, state, "nothing was published for `{text}`");
        space.expect(0, "run pipeline.toml");
        space.expect(0, &format!("get pipeline.toml copy {text}"));
        assert_eq!(space.read(&format!("{text}/data.txt")), text);
    }
}
