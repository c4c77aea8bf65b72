//! Several runners on one store, some of them stopped by the system.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::Signal;

use super::pipeline::planned;
use super::{pid, processes_in, send, workers_in};
use crate::space::{TestSpace, answer, wait_until};

/// A fan whose stages count their executions in the file `starts`.
fn counting() -> TestSpace {
    let stage = |name: &str, reads: &str| {
        format!(
            "[stages.{name}]\nkind = 'exec'\ninputs = {{ {reads} }}\noutputs = {{ out = 'files' }}\n\
             params = {{ command = ['sh', '-c', 'echo {name} >> starts; echo {name} > $GAZAL_OUTPUT_out/f'] }}\n"
        )
    };
    let fan = ["b", "c", "d"].map(|name| stage(name, "x = 'a'")).concat();
    TestSpace::with(&format!("{}{fan}{}", stage("a", ""), stage("e", "x = ['b', 'c', 'd']")))
}

#[test]
fn many_runners_execute_every_action_once() {
    for count in [2, 8] {
        let space = counting();
        let runners: Vec<Child> = (0..count).map(|_| space.start("run pipeline.toml -j 2")).collect();
        for runner in runners {
            let told = answer(&runner.wait_with_output().unwrap());
            assert_eq!(told.code, 0, "{}{}", told.stdout, told.stderr);
        }
        let starts = space.read("starts");
        let mut starts: Vec<&str> = starts.lines().collect();
        starts.sort_unstable();
        assert_eq!(starts, ["a", "b", "c", "d", "e"], "{count} runners");
        assert!(planned(&space).iter().all(|(_, state)| state == "hit"));
        space.expect(0, "cache verify");
    }
}

/// A run whose worker holds an action's lock and is stopped, and another run that waits for that lock.
struct Standstill {
    space: TestSpace,
    stopped: Child,
    /// Runner and workers.
    processes: Vec<i32>,
    waiting: Child,
}

impl Standstill {
    fn new() -> Standstill {
        let command = "echo started >> starts; while ! [ -e go ]; do sleep 0.02; done; echo done > $GAZAL_OUTPUT_out/f";
        let space = TestSpace::with(&format!(
            "[stages.wait]\nkind = 'exec'\noutputs = {{ out = 'files' }}\nparams = {{ command = ['sh', '-c', '{command}'] }}\n"
        ));
        let stopped = space.start("run pipeline.toml");
        wait_until("the stage's start", || space.path("starts").exists());
        let processes = [workers_in(&space.path("")), vec![pid(&stopped)]].concat();
        assert!(processes.len() == 2 && processes.iter().all(|process| send(Signal::SIGSTOP, *process)));
        let told = File::create(space.path("told")).unwrap();
        let waiting = space.command("run pipeline.toml").stderr(told).stdout(Stdio::null()).spawn().unwrap();
        wait_until("the word that the run waits", || space.read("told").contains("waits for another run"));
        Standstill { space, stopped, processes, waiting }
    }

    /// Lets the stage end; both runs are over then, and the result is there. How often the stage was started.
    fn go(mut self) -> usize {
        self.space.write("go", "");
        let ended = self.waiting.wait().unwrap();
        assert!(ended.success(), "{}", self.space.read("told"));
        self.stopped.wait().unwrap();
        self.space.expect(0, "get pipeline.toml wait out");
        assert_eq!(self.space.read("out/f"), "done\n");
        let here: PathBuf = self.space.path("");
        wait_until("the end of all processes", || processes_in(&here).is_empty());
        fs::read_to_string(self.space.path("starts")).unwrap().lines().count()
    }

    fn send(&self, signal: Signal, processes: &[i32]) {
        assert!(processes.iter().all(|process| send(signal, *process)));
    }
}

#[test]
fn a_run_waits_for_a_stopped_one_until_that_goes_on() {
    let still = Standstill::new();
    still.send(Signal::SIGCONT, &still.processes);
    assert_eq!(still.go(), 1);
}

#[test]
fn a_run_takes_over_from_a_stopped_one_that_is_killed() {
    let still = Standstill::new();
    still.send(Signal::SIGKILL, &still.processes);
    assert_eq!(still.go(), 2);
}

#[test]
fn a_stopped_worker_holds_nothing_after_the_end_of_its_runner() {
    let still = Standstill::new();
    still.send(Signal::SIGKILL, &still.processes[1..]);
    assert_eq!(still.go(), 2);
}
