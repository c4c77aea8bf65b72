//! Random edits, runs, stops, losses and collections, against a clean evaluation of the same pipeline.
//!
//! After every run each target's bytes must be those that its definition gives, whatever happened to the store before.
//! `GAZAL_OPERATIONS=10000` makes a long run of it, `GAZAL_SEED` another one; a failure names the operation.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gazal_store::Collect;

use super::Space;
use crate::{Outcome, PlanState};

const STAGES: usize = 6;
const OPERATIONS: usize = 300;

/// A stage of the random pipeline: it adds a row of its own to those of earlier stages.
#[derive(Clone)]
struct Step {
    reads: Vec<usize>,
    word: u64,
    /// Changes the bytes of a first stage, but no row.
    spaces: u64,
}

struct World {
    space: Space,
    steps: Vec<Step>,
    state: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World { space: Space::new(), steps: Vec::new(), state: seed };
        for index in 0..STAGES {
            let step = world.step(index);
            world.steps.push(step);
        }
        world
    }

    /// A number below `limit`.
    fn draw(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// The first two read nothing, the others at least one stage before them.
    fn step(&mut self, index: usize) -> Step {
        let mut reads: Vec<usize> = (0..index).filter(|_| self.draw(2) == 0).collect();
        if index < 2 {
            reads.clear();
        } else if reads.is_empty() {
            reads.push(index - 1);
        }
        Step { reads, word: self.draw(4), spaces: self.draw(3) }
    }

    fn text(&self) -> String {
        let stage = |(index, step): (usize, &Step)| match step.reads.is_empty() {
            true => format!(
                "[stages.s{index}]\nkind = 'make'\nparams = {{ text = 'm{}', spaces = {} }}\n",
                step.word, step.spaces
            ),
            false => {
                let reads: Vec<String> = step.reads.iter().map(|from| format!("'s{from}'")).collect();
                let (reads, word) = (reads.join(", "), step.word);
                format!(
                    "[stages.s{index}]\nkind = 'join'\ninputs = {{ parts = [{reads}] }}\nparams = {{ add = 'j{word}' }}\n"
                )
            }
        };
        format!("[pipeline]\nname = 'p'\n{}", self.steps.iter().enumerate().map(stage).collect::<String>())
    }

    /// What a stage must hold, computed from the definition alone; rows, since equal rows are equal results.
    fn rows(&self, index: usize) -> Vec<String> {
        let step = &self.steps[index];
        match step.reads.is_empty() {
            true => vec![format!("{{\"text\":\"m{}\"}}", step.word)],
            false => {
                let before = step.reads.iter().flat_map(|&from| self.rows(from));
                before.chain([format!("\"j{}\"", step.word)]).collect()
            }
        }
    }

    fn operate(&mut self) -> &'static str {
        match self.draw(13) {
            0..=2 => {
                let index = self.draw(STAGES as u64) as usize;
                self.steps[index] = self.step(index);
                "edit"
            }
            3..=6 => self.run(),
            7 => {
                self.space.words = Vec::new();
                self.run()
            }
            8 => self.spoil("blobs", |path| fs::remove_file(path).is_ok()),
            9 => self.spoil("blobs", |path| {
                let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
                fs::remove_file(path).and_then(|()| fs::write(path, vec![b'x'; length as usize])).is_ok()
            }),
            10 => self.spoil("receipts", |path| fs::remove_file(path).is_ok()),
            11 => self.collect(),
            _ => self.spoil("deep", |path| fs::remove_file(path).is_ok()),
        }
    }

    /// Some targets, or all; then everything that was asked for is what it should be, and what a plan said came true.
    fn run(&mut self) -> &'static str {
        const NAMES: [&str; STAGES] = ["s0", "s1", "s2", "s3", "s4", "s5"];
        self.space.words = NAMES.into_iter().filter(|_| self.draw(3) == 0).collect();
        let text = self.text();
        let plan = self.space.plan(&text);
        let told = self.space.run(&text);
        for (name, outcome) in &told.outcomes {
            let planned = plan.stages.iter().find(|planned| planned.name == *name);
            let state = planned.map(|planned| planned.state);
            assert!(outcome.is_success(), "{name} {outcome:?}: {:?}", told.errors);
            assert!(*outcome == Outcome::Hit || state != Some(PlanState::Hit), "{name} was planned as a hit and ran");
        }
        let targets = if self.space.words.is_empty() { NAMES.to_vec() } else { self.space.words.clone() };
        for name in targets {
            let index = NAMES.iter().position(|one| *one == name).unwrap();
            let rows: Vec<String> = self.space.output(&text, name).lines().map(|row| row.replace(' ', "")).collect();
            assert_eq!(rows, self.rows(index), "{name}");
        }
        "run"
    }

    /// Gives back the space of what nobody needs, down to a random size.
    fn collect(&mut self) -> &'static str {
        let max_size = Some(self.draw(20_000));
        let collect = Collect { max_size, grace: Duration::ZERO, ..Collect::default() };
        self.space.store().collect(&collect).unwrap();
        "collection"
    }

    /// Does something to one file of a part of the store.
    fn spoil(&mut self, part: &str, act: impl Fn(&Path) -> bool) -> &'static str {
        let mut files: Vec<PathBuf> = Vec::new();
        for shard in fs::read_dir(self.space.path("store").join(part)).into_iter().flatten().flatten() {
            files.extend(fs::read_dir(shard.path()).unwrap().map(|entry| entry.unwrap().path()));
        }
        files.sort();
        if !files.is_empty() {
            let chosen = self.draw(files.len() as u64) as usize;
            assert!(act(&files[chosen]));
        }
        "loss"
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn whatever_happens_a_run_gives_what_a_clean_one_gives() {
    let (seed, operations) = (number("GAZAL_SEED", 7), number("GAZAL_OPERATIONS", OPERATIONS as u64));
    let mut world = World::new(seed);
    for operation in 0..operations {
        let before = world.text();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.operate()));
        assert!(done.is_ok(), "operation {operation} of seed {seed} failed at\n{before}");
    }
}
