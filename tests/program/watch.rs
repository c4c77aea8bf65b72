//! `watch`: every save is a run, mistakes included.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::space::{TestSpace, wait_until};

struct Watcher {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watcher {
    fn start(space: &TestSpace) -> Watcher {
        let errors = File::create(space.path("errors")).unwrap();
        let mut command = space.command("watch pipeline.toml --json");
        let mut child = command.stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watcher { child, lines }
    }

    /// How many stages the next run to end had ready, and how many it ran; waits for it.
    fn counts(&mut self) -> (u64, u64) {
        let mut events = self.lines.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let end = events.find(|event| event["event"] == "run").expect("it watches on");
        (end["hit"].as_u64().unwrap(), end["ran"].as_u64().unwrap())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_save_of_the_pipeline_or_of_what_it_reads_is_a_run() {
    let space = TestSpace::with(STAGES);
    space.write("notes/one.txt", "one");
    let mut watcher = Watcher::start(&space);
    assert_eq!(watcher.counts(), (0, 2));
    space.write("notes/two.txt", "another");
    assert_eq!(watcher.counts(), (0, 2), "a new file in a folder that is read");
    space.write("pipeline.toml", "[pipeline]\nname = 'test'\n[stages.raw]\nkind = 'sauce'\n");
    wait_until("the mistake is told", || space.read("errors").contains("sauce"));
    space.pipeline(&STAGES.replace("wc -c", "wc -l"));
    assert_eq!(watcher.counts(), (1, 1), "what follows a mistake that was mended");
    kill(Pid::from_raw(watcher.child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(watcher.child.wait().unwrap().code(), Some(130));
}

const STAGES: &str = "[stages.raw]\nkind = 'source'\nparams = { path = 'notes' }\n\
    [stages.count]\nkind = 'exec'\ninputs = { text = 'raw' }\noutputs = { out = 'files' }\n\
    params = { command = ['sh', '-c', 'cat $GAZAL_INPUT_text/* | wc -c > $GAZAL_OUTPUT_out/count'] }\n";
