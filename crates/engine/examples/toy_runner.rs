//! The engine without a command line: runs a pipeline of toy kinds on Slurm, and is its own worker.
//!
//! The tests of the `slurm` executor drive it, because they need a runner that can be killed and a worker that builds
//! in seconds.
//!
//! - `run FILE STORE`: events as lines of JSON; a line `stop` on standard input is a Ctrl-C.
//! - `array COUNT STORE DIR`: that many actions, launched together; the words on each as lines of JSON.
//! - `worker …`: what Slurm runs.
#![allow(clippy::unwrap_used, reason = "it ends where it cannot go on")]

#[path = "../src/tests/toys.rs"]
mod toys;

use std::io::{Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use gazal_engine::{
    CancelToken, Executors, Launch, Launcher, Options, Pace, ProcessLauncher, Report, Request, Requested,
    SlurmLauncher, Stop, job_worker_main, kinds, run,
};
use gazal_spec::{Overrides, Source, Wanted, load};
use gazal_stage_api::Backend;
use gazal_store::Store;
use serde_json::{Value, json};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let fine = match words[..] {
        ["run", file, store] => run_file(Path::new(file), Path::new(store)),
        ["array", count, store, dir] => run_array(count.parse().unwrap(), Path::new(store), Path::new(dir)),
        ["worker", "--request", requests, "--line", line, "--events", events] => {
            job_worker_main(&toys::kinds(), Path::new(requests), line.parse().unwrap(), Path::new(events)).unwrap()
        }
        _ => panic!("run FILE STORE | array COUNT STORE DIR"),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(line: &Value) {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Files as often as always, the rest so that tests are short.
fn slurm(store: &Store) -> SlurmLauncher {
    let pace = Pace { queue: Duration::from_secs(1), grace: Duration::from_secs(3), ..Pace::default() };
    SlurmLauncher::new(program(), store.clone()).with_pace(pace)
}

fn run_file(file: &Path, store: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap();
    let source = Source { name: "p.toml", text: &text };
    let pipeline = load(&source, &Overrides::default(), &toys::kinds()).unwrap();
    let store = Store::open(store).unwrap();
    let cancel = CancelToken::default();
    heed_stdin(cancel.clone());
    let launcher = Executors { local: ProcessLauncher::new(program()), slurm: slurm(&store) };
    let selected = pipeline.select(&Wanted::default()).unwrap();
    let options = Options {
        store,
        file: file.to_path_buf(),
        targets: selected.targets,
        selected: selected.all,
        single: false,
        expected: None,
        force: Vec::new(),
        jobs: 32,
        threads: 32,
        memory: u64::MAX,
        gpus: 0,
        fail_fast: false,
        auto: &|| Backend::Cpu,
        pin: &|_| Ok(None),
        device_check: &|_| Ok(()),
        slurm_check: &SlurmLauncher::check,
        launcher: &launcher,
        cancel,
        requested: Requested::default(),
    };
    let summary = run(&pipeline, &options, &mut |event| say(&serde_json::to_value(event).unwrap())).unwrap();
    summary.failed == 0 && summary.interrupted == 0
}

fn heed_stdin(cancel: CancelToken) {
    thread::spawn(move || {
        for line in stdin().lines().map_while(Result::ok) {
            if line == "stop" {
                cancel.raise();
            }
        }
    });
}

fn run_array(count: usize, store: &Path, dir: &Path) -> bool {
    let store = Store::open(store).unwrap();
    let launcher = slurm(&store);
    let run = store.new_run().unwrap();
    let (sender, reports) = channel();
    let launches = (0..count).map(|index| {
        let sender = sender.clone();
        let sink = Box::new(move |report| drop(sender.send((index, report))));
        let log = run.file(&format!("{index}.log"));
        Launch { request: Request { log, ..request(index, &store, dir) }, sink }
    });
    let mut jobs = launcher.launch_many(launches.collect()).unwrap();
    let cancel = CancelToken::default();
    heed_stdin(cancel.clone());
    let (mut open, mut asked) = (count, false);
    while open > 0 {
        if cancel.level() != Stop::No && !asked {
            jobs.iter_mut().for_each(|job| job.cancel());
            asked = true;
        }
        match reports.recv_timeout(Duration::from_millis(50)) {
            Ok((index, Report::Said(said))) => say(&json!({ "index": index, "said": said })),
            Ok((index, Report::Ended)) => {
                say(&json!({ "index": index, "ended": jobs[index].reap() }));
                open -= 1;
            }
            Err(_) => {}
        }
    }
    true
}

/// Its number in its log, and a line of its execution; where a file `wait` lies beside that, it does not end.
fn request(index: usize, store: &Store, dir: &Path) -> Request {
    let dir_name = dir.display();
    let command = format!(
        "echo point {index}; echo {index} >> {dir_name}/executions; touch $GAZAL_OUTPUT_out/x; \
         [ ! -e {dir_name}/wait ] || sleep 600"
    );
    let params = json!({ "command": ["sh", "-c", command] });
    let request = json!({
        "store": store.root(),
        "manifest": {
            "format": gazal_engine::FORMAT, "kind": "exec", "revision": 1, "params": params, "inputs": {},
            "outputs": { "out": "files" },
        },
        "params": params,
        "inputs": {},
        "outputs": [{ "name": "out", "kind": "files", "role": "value" }],
        "seed": 0,
        "device": { "backend": { "class": "cpu" }, "precision": "f32" },
        "paths": {},
        "base": dir,
        "threads": 1,
        "log": "",
        "force": false,
        "slurm": { "options": { "at_once": 6, "extra": [] }, "cpus": 1, "gpus": 0, "memory": 100_000_000 },
    });
    serde_json::from_value(request).unwrap()
}
