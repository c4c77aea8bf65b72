//! Kills, interrupts and runners side by side.

use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::space::{TestSpace, answer, pairs, processes_with, wait_until};

/// A stage that waits for the file `go`, with a grandchild and a process that left the group, all of which carry
/// `mark` in their command lines.
fn waiting(mark: &str) -> TestSpace {
    let space = TestSpace::with(&format!(
        "[stages.first]\nkind = \"source\"\nparams = {{ path = \"notes.txt\" }}\n\
         [stages.wait]\nkind = \"exec\"\ninputs = {{ x = \"first\" }}\noutputs = {{ out = \"files\" }}\n\
         params = {{ command = [\"sh\", \"wait.sh\", \"{mark}\"], sources = [\"wait.sh\"] }}\n\
         [stages.after]\nkind = \"exec\"\ninputs = {{ x = \"wait\" }}\noutputs = {{ out = \"files\" }}\n\
         params = {{ command = [\"true\"] }}\n"
    ));
    space.write("notes.txt", "text");
    space.write(
        "wait.sh",
        "echo started >> starts\n(sh -c 'while ! [ -e go ]; do sleep 0.05; done; true' \"$1\")\n\
         setsid sh -c 'while ! [ -e go ]; do sleep 0.05; done' \"$1\" &\n\
         while ! [ -e go ]; do sleep 0.05; done\necho done > $GAZAL_OUTPUT_out/done.txt\n",
    );
    space
}

/// Processes of the stage; the test's own ones do not carry the mark.
fn wait_for_start(space: &TestSpace, mark: &str) {
    wait_until("the stage's start", || space.path("starts").exists() && !processes_with(mark).is_empty());
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn a_killed_runner_leaves_no_process_and_nothing_to_repair() {
    let mark = "mark-of-the-killed-one";
    let space = waiting(mark);
    let mut child = space.start("run pipeline.toml");
    wait_for_start(&space, mark);
    send(&child, Signal::SIGKILL);
    child.wait().unwrap();
    wait_until("the end of all processes", || processes_with(mark).is_empty());
    assert!(space.expect(0, "status pipeline.toml").stdout.contains("killed"));
    space.write("go", "");
    assert_eq!(space.states(""), pairs(&[("first", "hit"), ("wait", "ran"), ("after", "ran")]));
}

#[test]
fn an_interrupt_stops_and_says_130() {
    let mark = "mark-of-the-interrupted-one";
    let space = waiting(mark);
    let child = space.start("run --json pipeline.toml");
    wait_for_start(&space, mark);
    send(&child, Signal::SIGINT);
    let told = answer(&child.wait_with_output().unwrap());
    assert_eq!(told.code, 130, "{}", told.stdout);
    for part in ["\"name\":\"wait\",\"state\":\"interrupted\"", "\"name\":\"after\",\"state\":\"skipped\""] {
        assert!(told.stdout.contains(part), "{}", told.stdout);
    }
    assert!(processes_with(mark).is_empty());
}

#[test]
fn a_second_interrupt_ends_what_does_not_listen() {
    let mark = "mark-of-the-stubborn-one";
    let space = waiting(mark);
    space.write("wait.sh", "trap '' TERM\necho started >> starts\nwhile ! [ -e go ]; do sleep 0.05; done\n");
    let child = space.start("run pipeline.toml");
    wait_for_start(&space, mark);
    send(&child, Signal::SIGINT);
    std::thread::sleep(std::time::Duration::from_millis(200));
    send(&child, Signal::SIGINT);
    assert_eq!(answer(&child.wait_with_output().unwrap()).code, 130);
    wait_until("the end of all processes", || processes_with(mark).is_empty());
}

#[test]
fn two_runners_at_once_do_the_work_once() {
    let mark = "mark-of-the-shared-one";
    let space = waiting(mark);
    let runners = [space.start("run pipeline.toml"), space.start("run pipeline.toml")];
    wait_for_start(&space, mark);
    std::thread::sleep(std::time::Duration::from_millis(300));
    space.write("go", "");
    for runner in runners {
        let told = answer(&runner.wait_with_output().unwrap());
        assert_eq!(told.code, 0, "{}", told.stderr);
    }
    assert_eq!(space.read("starts"), "started\n");
}

#[test]
fn what_a_program_leaves_running_is_ended_with_its_stage() {
    let mark = "mark-of-the-left-one";
    let space = TestSpace::with(&format!(
        "[stages.a]\nkind = \"exec\"\nparams = {{ command = [\"sh\", \"-c\", \"setsid sh -c 'sleep 60; true' {mark} &\"] }}\n"
    ));
    space.expect(0, "run pipeline.toml");
    wait_until("the end of all processes", || processes_with(mark).is_empty());
}

#[test]
fn a_worker_that_dies_fails_its_stage_only() {
    let mark = "mark-of-the-orphaned-one";
    let space = TestSpace::with(&format!(
        "[stages.bad]\nkind = \"exec\"\nparams = {{ command = [\"sh\", \"-c\", \"kill -9 $PPID; sleep 60; true\", \"{mark}\"] }}\n\
         [stages.good]\nkind = \"exec\"\nparams = {{ command = [\"true\"] }}\n"
    ));
    let told = space.expect(1, "run pipeline.toml");
    assert!(told.stderr.contains("worker died") && told.stderr.contains("signal: 9"), "{}", told.stderr);
    assert!(told.stdout.contains("1 ran, 1 failed"), "{}", told.stdout);
    wait_until("the end of all processes", || processes_with(mark).is_empty());
}
