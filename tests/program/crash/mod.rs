//! What a runner must survive: kills at any moment, stopped and rivalling runners, clocks that turn back, full and
//! read-only disks, inputs that change meanwhile. Every test ends with an ordinary run that gives the right bytes.
//!
//! `GAZAL_TRIALS=200 GAZAL_SEED=7` make a long sweep of the kills.

mod disks;
mod kills;
pub mod pipeline;
mod runners;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// SplitMix64: the same draws for the same seed.
pub struct Draws(u64);

impl Draws {
    /// Seeded by `GAZAL_SEED`, so that a failure can be had again.
    pub fn seeded() -> Draws {
        let seed = std::env::var("GAZAL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        println!("seed {seed}");
        Draws::from_seed(seed)
    }

    pub fn from_seed(seed: u64) -> Draws {
        Draws(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A number from the environment, for longer runs than the ordinary one.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Whether a test that cannot be done here must fail instead of passing over.
pub fn is_required(what: &str) -> bool {
    std::env::var("GAZAL_REQUIRE").is_ok_and(|names| names.split(',').any(|name| name == what))
}

/// Says that a test was not done, or fails where it had to be.
pub fn pass_over(what: &str, why: &str) {
    assert!(!is_required(what), "GAZAL_REQUIRE names {what}: {why}");
    eprintln!("passed over: {why}");
}

/// Living processes whose current folder is `folder` or lies in it: the runner, its workers and all that they have started.
fn processes_in(folder: &Path) -> Vec<(i32, Vec<String>)> {
    let folder = fs::canonicalize(folder).unwrap();
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        // Nothing can be read of a zombie.
        let here = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder));
        let line = fs::read(proc.join("cmdline")).unwrap_or_default();
        let words = line.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        here.then(|| (pid, words.collect()))
    })
    .collect()
}

/// The workers among them.
fn workers_in(folder: &Path) -> Vec<i32> {
    let named = |words: &[String]| words.get(1).is_some_and(|word| word == "worker");
    processes_in(folder).into_iter().filter(|(_, words)| named(words)).map(|(pid, _)| pid).collect()
}

/// Living processes of a stage that sleeps.
fn sleepers_in(folder: &Path) -> Vec<i32> {
    let sleeps = |words: &[String]| words.first().is_some_and(|word| word == "sleep");
    processes_in(folder).into_iter().filter(|(_, words)| sleeps(words)).map(|(pid, _)| pid).collect()
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// True if the process was there.
fn send(signal: Signal, pid: i32) -> bool {
    kill(Pid::from_raw(pid), signal).is_ok()
}
