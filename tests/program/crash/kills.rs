//! `kill -9` of the runner, of a worker, or of both at once, at any moment from the first millisecond to the end.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::pipeline::{self, Outputs, TEXTS};
use super::{Draws, number, pid, processes_in, send, sleepers_in, workers_in};
use crate::space::{TestSpace, answer, wait_until};

const TRIALS: u64 = 12;
/// A run is young for so long, in microseconds: a quarter of the kills falls into this time.
const YOUNG: u64 = 30_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Runner,
    Worker,
    RunnerAndWorkers,
}

struct Sweep {
    space: TestSpace,
    draws: Draws,
    expected: Vec<Outputs>,
    /// How long an undisturbed run takes, in microseconds.
    whole: u64,
    /// Kills by victim that met somebody, to see that the sweep is one.
    met: [u64; 3],
}

#[test]
fn kills_at_random_moments_cost_no_more_than_what_was_not_done() {
    let mut sweep = Sweep::new();
    let (least, mut trials) = (number("GAZAL_TRIALS", TRIALS), 0);
    // On a busy machine the moments may pass by all workers; then there are more of them.
    while trials < least || (trials < 10 * least && sweep.met.contains(&0)) {
        sweep.trial(trials);
        trials += 1;
    }
    println!("{trials} trials, kills of runner, worker, both: {:?}", sweep.met);
    assert!(sweep.met.iter().all(|met| *met > 0), "{:?}", sweep.met);
}

impl Sweep {
    fn new() -> Sweep {
        let (space, expected) = (pipeline::space(), pipeline::undisturbed());
        let begun = Instant::now();
        space.expect(0, "run pipeline.toml -j 2");
        let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
        Sweep { space, draws: Draws::seeded(), expected, whole, met: [0; 3] }
    }

    /// Some kills in a row, then a run that nobody disturbs.
    fn trial(&mut self, trial: u64) {
        if self.draws.below(2) == 0 {
            pipeline::remove_store(&self.space);
        }
        let text = self.draws.below(TEXTS);
        pipeline::write_text(&self.space, text);
        let mut announced = BTreeSet::new();
        for turn in 0..=self.draws.below(3) {
            let victim = [Victim::Runner, Victim::Worker, Victim::RunnerAndWorkers][self.draws.below(3) as usize];
            let moment = self.moment();
            println!("trial {trial}.{turn}: {victim:?} after {moment:?}");
            announced.append(&mut self.killed(victim, moment));
        }
        let told = self.space.expect(0, "run --json -j 2 pipeline.toml");
        let hits = stages(&told.stdout, &["hit"]);
        assert!(announced.is_subset(&hits), "announced as done, and not there: {:?}", announced.difference(&hits));
        pipeline::assert_all_right(&self.space, &self.expected[text as usize]);
        let here = self.space.path("");
        wait_until("the end of all processes", || processes_in(&here).is_empty());
    }

    fn moment(&mut self) -> Duration {
        let young = self.draws.below(4) == 0;
        Duration::from_micros(self.draws.below(if young { YOUNG } else { self.whole * 11 / 10 }))
    }

    /// A run in which somebody is killed after `moment`; the stages that it had announced as done.
    fn killed(&mut self, victim: Victim, moment: Duration) -> BTreeSet<String> {
        let told = self.space.path("told.jsonl");
        let mut command = self.space.command("run --json -j 2 pipeline.toml");
        let output = File::create(&told).unwrap();
        let mut runner = command.stdout(output).stderr(Stdio::null()).spawn().unwrap();
        sleep(moment);
        let victims = self.victims(victim, &runner);
        let met = victims.iter().filter(|victim| send(Signal::SIGKILL, **victim)).count();
        self.met[victim as usize] += u64::from(met > 0);
        runner.wait().unwrap();
        stages(&fs::read_to_string(told).unwrap(), &["ran", "hit"])
    }

    /// Whom to kill, in any order.
    fn victims(&mut self, victim: Victim, runner: &Child) -> Vec<i32> {
        let runner = pid(runner);
        let mut workers = workers_in(&self.space.path(""));
        match victim {
            Victim::Runner => vec![runner],
            Victim::Worker if workers.is_empty() => Vec::new(),
            Victim::Worker => vec![workers[self.draws.below(workers.len() as u64) as usize]],
            Victim::RunnerAndWorkers => {
                let place = self.draws.below(workers.len() as u64 + 1) as usize;
                workers.insert(place, runner);
                workers
            }
        }
    }
}

/// The stages with one of these states among the events of a run, whose last line may be half a line.
fn stages(events: &str, states: &[&str]) -> BTreeSet<String> {
    let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let done = events.filter(|event| event["event"] == "stage" && states.iter().any(|state| event["state"] == *state));
    done.map(|event| event["name"].as_str().unwrap().to_string()).collect()
}

/// A stage that sleeps, as does a process that has left its group and one whose parent has gone.
fn sleeping() -> TestSpace {
    TestSpace::with(
        "[stages.sleep]\nkind = \"exec\"\noutputs = { out = \"files\" }\n\
         params = { command = [\"sh\", \"-c\", \"setsid sleep 300 & (sleep 300 &); sleep 300\"] }\n",
    )
}

#[test]
fn a_worker_and_its_runner_killed_together_leave_no_process() {
    let space = sleeping();
    let (here, mut runner) = (space.path(""), space.start("run pipeline.toml"));
    wait_until("the stage's start", || sleepers_in(&here).len() == 3);
    let victims = [workers_in(&here), vec![pid(&runner)]].concat();
    assert!(victims.len() == 2 && victims.iter().all(|victim| send(Signal::SIGKILL, *victim)));
    runner.wait().unwrap();
    wait_until("the end of all processes", || processes_in(&here).is_empty());
}

#[test]
fn a_killed_worker_leaves_no_process_either() {
    let space = sleeping();
    let (here, runner) = (space.path(""), space.start("run pipeline.toml"));
    wait_until("the stage's start", || sleepers_in(&here).len() == 3);
    assert!(workers_in(&here).into_iter().all(|worker| send(Signal::SIGKILL, worker)));
    let told = answer(&runner.wait_with_output().unwrap());
    assert!(told.code == 1 && told.stderr.contains("worker died (signal: 9"), "{}", told.stderr);
    wait_until("the end of all processes", || processes_in(&here).is_empty());
}
