//! A loss of power at any moment of a run. The run's system calls are recorded by `strace` and played back on a model of
//! a disk; what may be left of the store after a cut is made for real, and then: what is said to be there is right,
//! nothing that was announced is lost, and an ordinary run completes what is missing.
//!
//! `GAZAL_CUTS=500 GAZAL_SEED=7` makes a long sweep of it.

mod disk;
mod laws;
mod log;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::crash::pipeline::{self, Outputs};
use crate::crash::{Draws, number, pass_over};
use crate::space::TestSpace;
use disk::{Disk, Loss};
use log::Change;

const CUTS: u64 = 15;

/// Two runs, the second after an edit, with what they had to make.
struct Recording {
    space: TestSpace,
    runs: Vec<(Vec<Change>, Outputs)>,
}

fn has_strace() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn a_loss_of_power_costs_no_more_than_what_was_not_announced() {
    if !has_strace() {
        return pass_over("strace", "no strace");
    }
    let (recording, mut draws) = (Recording::new(), Draws::seeded());
    let moments = recording.moments();
    println!("{} moments at which a cut makes a difference", moments.len());
    assert!(moments.len() > 200, "the store writes more than {} times", moments.len());
    for cut in 0..number("GAZAL_CUTS", CUTS) {
        let moment = moments[draws.below(moments.len() as u64) as usize];
        let loss = Loss::ALL[cut as usize % Loss::ALL.len()];
        println!("cut {cut} after change {} of run {}: {loss:?}", moment.1, moment.0);
        recording.cut(moment, loss, &mut draws);
    }
}

impl Recording {
    fn new() -> Recording {
        let space = pipeline::small();
        let record = |text| {
            pipeline::write_text(&space, text);
            let changes = traced(&space);
            (changes, pipeline::outputs(&space))
        };
        let runs = (0..2).map(record).collect();
        Recording { space, runs }
    }

    /// Run and number of each change after which something more or less is safe.
    fn moments(&self) -> Vec<(usize, usize)> {
        let mut disk = Disk::new(&self.space.path("cache"));
        let mut moments = Vec::new();
        for (run, (changes, _)) in self.runs.iter().enumerate() {
            let counted = changes.iter().enumerate();
            moments.extend(counted.filter(|(_, change)| disk.apply(change)).map(|(at, _)| (run, at)));
        }
        moments
    }

    /// The disk after this change.
    fn disk_at(&self, (run, at): (usize, usize)) -> Disk {
        let mut disk = Disk::new(&self.space.path("cache"));
        let before = self.runs[..run].iter().flat_map(|(changes, _)| changes);
        before.chain(&self.runs[run].0[..=at]).for_each(|change| {
            disk.apply(change);
        });
        disk
    }

    fn cut(&self, moment: (usize, usize), loss: Loss, draws: &mut Draws) {
        let (disk, expected) = (self.disk_at(moment), &self.runs[moment.0].1);
        pipeline::write_text(&self.space, moment.0 as u64);
        pipeline::remove_store(&self.space);
        disk.lose(loss, draws);
        let hits = self.assert_hits_are_right(expected);
        let announced = announced(&disk, moment.0);
        let plan = self.space.run("plan pipeline.toml").stdout;
        assert!(announced.is_subset(&hits), "announced and lost: {:?}\n{plan}", announced.difference(&hits));
        let told = self.space.run("cache verify");
        assert_eq!(told.code, 0, "no damage: {}{}", told.stdout, told.stderr);
        self.space.expect(0, "run pipeline.toml -j 2");
        pipeline::assert_all_right(&self.space, expected);
    }

    /// What `plan` calls a hit has the right bytes.
    fn assert_hits_are_right(&self, expected: &Outputs) -> BTreeSet<String> {
        let planned = pipeline::planned(&self.space).into_iter();
        let hits: BTreeSet<String> = planned.filter(|(_, state)| state == "hit").map(|(name, _)| name).collect();
        for (name, files) in pipeline::fetched(&self.space, hits.iter()) {
            assert_eq!(files, expected[&name], "{name}");
        }
        hits
    }
}

/// A run under `strace`: what it has changed.
fn traced(space: &TestSpace) -> Vec<Change> {
    let program = space.command("run pipeline.toml -j 2");
    let log = space.path("strace.log");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-xx", "-s", "4194304", "-e", "signal=none", "-e"]).arg(format!("trace={}", log::CALLS));
    command.arg("-o").arg(&log).arg(program.get_program()).args(program.get_args());
    let folder: &Path = program.get_current_dir().unwrap();
    let done = command.current_dir(folder).env_remove("GAZAL_STORE").stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    log::read(&fs::read_to_string(log).unwrap())
}

/// The stages that the journal of this run, as the page cache had it, calls done: the journal is written after a person
/// has been told. There is none yet where the cut came first.
fn announced(disk: &Disk, run: usize) -> BTreeSet<String> {
    let journal = disk.read("events.jsonl").into_iter().nth(run).unwrap_or_default();
    let text = String::from_utf8_lossy(&journal).into_owned();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ran = events.filter(|event| event["event"] == "stage" && event["state"] == "ran");
    ran.map(|event| event["name"].as_str().unwrap().to_string()).collect()
}
