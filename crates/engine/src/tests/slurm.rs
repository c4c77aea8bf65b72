//! The `slurm` executor against Slurm itself: each test has a cluster of one node of its own.
//!
//! Runner and worker are `examples/toy_runner.rs`. Where Slurm is not installed, or the tests are not run as root, they
//! say that they passed it over, unless `GAZAL_REQUIRE` names `slurm`. Cargo builds examples when all tests are run; to
//! run some of them, `cargo build -p gazal-engine --examples` first.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use gazal_store::Store;
use serde_json::Value;

/// Long enough for anything here on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// A node on loopback, with a folder for pipelines and a store.
struct Cluster {
    dir: tempfile::TempDir,
    conf: String,
}

impl Cluster {
    /// `None` where there is no Slurm, which is said.
    fn start() -> Option<Cluster> {
        let dir = tempfile::tempdir().unwrap();
        let started = Command::new(script("start")).arg(dir.path().join("slurm")).output().unwrap();
        let said = String::from_utf8_lossy(&started.stderr);
        if started.status.code() == Some(2) {
            let required =
                std::env::var("GAZAL_REQUIRE").is_ok_and(|names| names.split(',').any(|name| name == "slurm"));
            assert!(!required, "GAZAL_REQUIRE names slurm, and it cannot be started: {said}");
            let _ = writeln!(std::io::stderr(), "passed over: {said}");
            return None;
        }
        assert!(started.status.success(), "{said}");
        let conf = dir.path().join("slurm/slurm.conf").display().to_string();
        Some(Cluster { dir, conf })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", &self.conf).args(arguments);
        command
    }

    /// What a command of Slurm says.
    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program, arguments).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// The states of all jobs that there ever were, in the order of their ids.
    fn states(&self) -> Vec<String> {
        let text = self.ask("squeue", &["--states=all", "--array", "--noheader", "--sort=i", "--format=%T"]);
        text.lines().map(str::to_string).collect()
    }

    fn set_node(&self, state: &str) {
        let node = self.ask("hostname", &[]);
        let (name, state) = (format!("nodename={}", node.trim()), format!("state={state}"));
        self.ask("scontrol", &["update", &name, &state, "reason=test"]);
    }

    /// Starts a run of a pipeline with these stages.
    fn run(&self, stages: &str) -> Runner {
        let text = format!("[pipeline]\nname = 'p'\nexecutor = 'slurm'\n{stages}");
        fs::write(self.path("p.toml"), text).unwrap();
        let (file, store) = (self.path("p.toml"), self.path("store"));
        self.runner(&["run", file.to_str().unwrap(), store.to_str().unwrap()])
    }

    fn runner(&self, arguments: &[&str]) -> Runner {
        let mut command = self.command(program(), arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Runner { child, lines, told: Vec::new() }
    }

    fn store(&self) -> Store {
        Store::open(&self.path("store")).unwrap()
    }

    /// How often stages have run that leave a line each time.
    fn executions(&self) -> usize {
        fs::read_to_string(self.path("executions")).unwrap_or_default().lines().count()
    }

    fn until(&self, what: &str, is: impl Fn(&Cluster) -> bool) {
        let began = Instant::now();
        while !is(self) {
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}: {:?}", self.states());
            sleep(Duration::from_millis(50));
        }
    }

    fn until_state(&self, state: &str) {
        self.until(state, |cluster| cluster.states().iter().any(|one| one == state));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new(script("stop")).arg(self.path("slurm")).status();
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/slurm").join(name)
}

/// Cargo builds examples beside the tests.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().with_file_name("examples").join("toy_runner");
    assert!(program.exists(), "no {}: run `cargo build -p gazal-engine --examples`", program.display());
    program
}

/// A runner at work; killed when it is dropped, as by `kill -9`.
struct Runner {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    told: Vec<Value>,
}

impl Runner {
    fn stop(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap(), "stop").unwrap();
    }

    /// Reads on until something is told.
    fn hear(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        for line in self.lines.by_ref().map_while(Result::ok) {
            let told: Value = serde_json::from_str(&line).unwrap();
            self.told.push(told.clone());
            if is(&told) {
                return told;
            }
        }
        panic!("it ended without a word of it: {:#?}", self.told);
    }

    /// How a stage ended: its state and its error.
    fn outcome(&mut self, stage: &str) -> (String, String) {
        let told = self.hear(|told| told["event"] == "stage" && told["name"] == stage);
        let text = |name: &str| told[name].as_str().unwrap_or_default().to_string();
        (text("state"), text("error"))
    }

    fn hear_message(&mut self, part: &str) {
        self.hear(|told| told["event"] == "message" && told["text"].as_str().unwrap().contains(part));
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that says so in its log and leaves a line of its execution, then does `command`.
fn exec(cluster: &Cluster, command: &str) -> String {
    let dir = cluster.dir.path().display();
    format!(
        "[stages.a]\nkind = 'exec'\noutputs = {{ out = 'files' }}\nparams = {{ command = ['sh', '-c', \
         '''echo at work; echo >> {dir}/executions; touch $GAZAL_OUTPUT_out/x; {command}'''] }}\n"
    )
}

const WAITING: &str =
    "[stages.a]\nkind = 'make'\n[stages.b]\nkind = 'join'\ninputs = { parts = 'a' }\nparams = { mode = 'wait' }\n";

#[test]
fn a_job_is_submitted_with_its_needs_and_its_end_is_seen_by_its_receipt() {
    let Some(cluster) = Cluster::start() else { return };
    let needs =
        "needs = { cpus = 2, memory = '200MiB', gpus = 1 }\nslurm = { partition = 'urgent', extra = ['--nice=5'] }\n";
    let mut runner = cluster.run(&format!("{}{needs}", exec(&cluster, "sleep 2")));
    let start = runner.hear(|told| told["event"] == "start");
    cluster.until_state("RUNNING");
    let job = cluster.ask("scontrol", &["show", "job", "--oneliner", "1"]);
    let key = start["key"].as_str().unwrap();
    for field in ["Partition=urgent", "CPUs/Task=2", "MinMemoryNode=200M", "gres:gpu:1", "Nice=5", "Requeue=1"] {
        assert!(job.contains(field), "{field} is not in {job}");
    }
    assert!(job.contains(&format!("JobName=gz-{} ", &key[..16])) && job.contains(&format!("Comment={key} ")), "{job}");
    assert_eq!(runner.outcome("a"), ("ran".into(), String::new()));
    assert_seen_soon(&cluster);
    let log = fs::read_to_string(start["log"].as_str().unwrap()).unwrap();
    assert_eq!((log.as_str(), cluster.executions()), ("at work\n", 1));
}

/// Within two seconds of the receipt, with a margin for a machine that has other things to do.
fn assert_seen_soon(cluster: &Cluster) {
    let receipts: Vec<_> = cluster.store().receipts().map(Result::unwrap).collect();
    let run = cluster.store().run("last").unwrap();
    let events = fs::read_to_string(run.file("events.jsonl")).unwrap();
    let told = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let seen = told.filter(|told| told["event"] == "stage").map(|told| told["at"].as_str().unwrap().to_string()).next();
    let (finished, seen) = (seconds(&receipts[0].1.finished), seconds(&seen.unwrap()));
    assert!(seen - finished < 2.0 * 4.0, "finished at {finished}, seen at {seen}");
}

/// Of an RFC 3339 time, those since midnight.
fn seconds(time: &str) -> f64 {
    let clock = time.split('T').nth(1).unwrap().trim_end_matches('Z');
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
}

#[test]
fn a_stopped_run_leaves_a_checkpoint_and_the_next_goes_on_from_it() {
    let Some(cluster) = Cluster::start() else { return };
    let mut runner = cluster.run(WAITING);
    runner.hear(|told| told["event"] == "progress" && told["name"] == "b");
    runner.stop();
    assert_eq!(runner.outcome("b").0, "interrupted");
    let checkpoints: Vec<_> = fs::read_dir(cluster.path("store/wip")).unwrap().collect();
    assert_eq!(checkpoints.len(), 1);
    let mut runner = cluster.run(WAITING);
    assert_eq!(runner.outcome("b"), ("ran".into(), String::new()));
}

#[test]
fn a_stopped_run_takes_waiting_jobs_out_of_the_queue() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.set_node("drain");
    let mut runner = cluster.run(&exec(&cluster, "true"));
    cluster.until_state("PENDING");
    runner.stop();
    assert_eq!(runner.outcome("a").0, "interrupted");
    assert_eq!((cluster.states(), cluster.executions()), (vec!["CANCELLED".to_string()], 0));
}

#[test]
fn a_second_stop_ends_what_does_not_listen() {
    let Some(cluster) = Cluster::start() else { return };
    let mut runner = cluster.run("[stages.a]\nkind = 'make'\nparams = { millis = 600000 }\n");
    cluster.until_state("RUNNING");
    runner.stop();
    runner.stop();
    assert_eq!(runner.outcome("a").0, "interrupted");
    cluster.until_state("CANCELLED");
}

#[test]
fn a_failure_and_a_death_are_told_with_what_the_log_says() {
    let Some(cluster) = Cluster::start() else { return };
    let mut runner = cluster.run(&exec(&cluster, "exit 3"));
    let (state, error) = runner.outcome("a");
    assert_eq!((state.as_str(), error.contains("exit status: 3")), ("failed", true), "{error}");
    let mut runner = cluster.run(&exec(&cluster, "kill -9 $PPID; sleep 60"));
    let (state, error) = runner.outcome("a");
    assert_eq!(state, "failed");
    assert!(error.contains("its worker died (FAILED") && error.contains("at work"), "{error}");
}

#[test]
fn what_slurm_refuses_fails_the_stage_with_its_words() {
    let Some(cluster) = Cluster::start() else { return };
    let stages = format!("{}slurm = {{ partition = 'none' }}\n[stages.b]\nkind = 'make'\n", exec(&cluster, "true"));
    let mut runner = cluster.run(&stages);
    let (state, error) = runner.outcome("a");
    assert_eq!((state.as_str(), error.contains("invalid partition specified: none")), ("failed", true), "{error}");
    assert_eq!(runner.outcome("b").0, "ran");
}

#[test]
fn a_job_beyond_its_time_limit_fails_with_a_remedy() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.ask("scontrol", &["update", "partitionname=work", "defaulttime=1"]);
    let deaf = "[stages.deaf]\nkind = 'make'\nparams = { millis = 600000 }\n";
    let mut runner = cluster.run(&format!("{}{deaf}", exec(&cluster, "sleep 600")));
    let (state, error) = runner.outcome("a");
    assert_eq!(state, "failed");
    assert!(error.contains("stopped before its time limit of 1 min: raise `timeout`"), "{error}");
    let (state, error) = runner.outcome("deaf");
    assert_eq!(state, "failed");
    assert!(error.contains("ran into its time limit of 1 min: raise `timeout`"), "{error}");
    assert!(error.contains("DUE TO TIME LIMIT"), "{error}");
}

#[test]
fn a_failed_node_and_a_requeue_are_no_end() {
    let Some(cluster) = Cluster::start() else { return };
    let command = format!("[ -e {0}/go ] || sleep 600", cluster.dir.path().display());
    let mut runner = cluster.run(&exec(&cluster, &command));
    cluster.until("it is at work", |cluster| cluster.executions() == 1);
    runner.hear_message("runs on");
    cluster.set_node("down");
    runner.hear_message("back in the queue");
    cluster.set_node("resume");
    start_now(&cluster);
    cluster.until("it runs again", |cluster| cluster.executions() == 2);
    runner.hear_message("runs on");
    fs::write(cluster.path("go"), "").unwrap();
    cluster.ask("scontrol", &["requeue", "1"]);
    runner.hear_message("back in the queue");
    start_now(&cluster);
    assert_eq!(runner.outcome("a"), ("ran".into(), String::new()));
    assert_eq!((cluster.executions(), cluster.states().len()), (3, 1));
}

#[test]
fn a_preempted_job_is_no_end_either() {
    let Some(cluster) = Cluster::start() else { return };
    let command = format!("[ -e {0}/go ] || sleep 600", cluster.dir.path().display());
    let mut runner = cluster.run(&exec(&cluster, &command));
    cluster.until("it is at work", |cluster| cluster.executions() == 1);
    runner.hear_message("runs on");
    fs::write(cluster.path("go"), "").unwrap();
    cluster.ask("sbatch", &["--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 2"]);
    runner.hear_message("back in the queue");
    start_now(&cluster);
    assert_eq!(runner.outcome("a"), ("ran".into(), String::new()));
    assert_eq!(cluster.executions(), 2);
}

#[test]
fn a_stop_reaches_every_task_of_an_array() {
    let Some(cluster) = Cluster::start() else { return };
    let (store, dir) = (cluster.path("store"), cluster.dir.path().to_path_buf());
    fs::write(cluster.path("wait"), "").unwrap();
    let mut runner = cluster.runner(&["array", "8", store.to_str().unwrap(), dir.to_str().unwrap()]);
    cluster.until("six are at work, two wait", |cluster| cluster.executions() == 6);
    runner.stop();
    for _ in 0..8 {
        runner.hear(|told| told.get("ended").is_some());
    }
    let stopped = runner.told.iter().filter(|told| told["said"]["said"] == "cancelled").count();
    assert_eq!((stopped, cluster.executions()), (8, 6));
}

/// A requeued job waits two minutes of its own accord.
fn start_now(cluster: &Cluster) {
    cluster.ask("scontrol", &["update", "jobid=1", "starttime=now"]);
}

#[test]
fn jobs_of_a_killed_runner_are_found_again_and_run_once() {
    let Some(cluster) = Cluster::start() else { return };
    let stages = exec(&cluster, "sleep 3");
    let runner = cluster.run(&stages);
    cluster.until("it is at work", |cluster| cluster.executions() == 1);
    drop(runner);
    let mut runner = cluster.run(&stages);
    let start = runner.hear(|told| told["event"] == "start");
    assert_eq!(runner.outcome("a"), ("ran".into(), String::new()));
    assert_eq!((cluster.executions(), cluster.states().len()), (1, 1));
    assert_eq!(fs::read_to_string(start["log"].as_str().unwrap()).unwrap(), "at work\n");
}

#[test]
fn a_job_that_waited_when_its_runner_was_killed_is_submitted_once() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.set_node("drain");
    let stages = exec(&cluster, "true");
    let runner = cluster.run(&stages);
    cluster.until_state("PENDING");
    drop(runner);
    let mut runner = cluster.run(&stages);
    runner.hear(|told| told["event"] == "message");
    cluster.set_node("resume");
    assert_eq!(runner.outcome("a"), ("ran".into(), String::new()));
    assert_eq!((cluster.executions(), cluster.states().len()), (1, 1));
}

#[test]
fn two_runners_at_once_submit_once() {
    let Some(cluster) = Cluster::start() else { return };
    let stages = exec(&cluster, "sleep 2");
    let mut runners = [(); 2].map(|()| cluster.run(&stages));
    for runner in &mut runners {
        let state = runner.outcome("a").0;
        assert!(["ran", "hit"].contains(&state.as_str()), "{state}");
    }
    assert_eq!((cluster.executions(), cluster.states().len()), (1, 1));
}

#[test]
fn a_run_that_is_stopped_leaves_a_job_to_others_that_wait_for_it() {
    let Some(cluster) = Cluster::start() else { return };
    let command = format!("until [ -e {0}/go ]; do sleep 0.1; done", cluster.dir.path().display());
    let mut runners = [(); 2].map(|()| {
        let mut runner = cluster.run(&exec(&cluster, &command));
        runner.hear_message("Slurm job");
        runner
    });
    for (runner, outcome) in runners.iter_mut().zip(["interrupted", "ran"]) {
        if outcome == "interrupted" {
            runner.stop();
        }
        assert_eq!(runner.outcome("a").0, outcome);
        fs::write(cluster.path("go"), "").unwrap();
    }
    assert_eq!((cluster.executions(), cluster.states().len()), (1, 1));
}

#[test]
fn a_job_that_vanishes_fails_with_the_end_of_its_log() {
    let Some(cluster) = Cluster::start() else { return };
    let mut runner = cluster.run(&exec(&cluster, "sleep 600"));
    cluster.until("it is at work", |cluster| cluster.executions() == 1);
    runner.hear_message("runs on");
    let pid = fs::read_to_string(cluster.path("slurm/slurmctld.pid")).unwrap();
    cluster.ask("kill", &["-9", pid.trim()]);
    runner.hear_message("does not answer");
    cluster.command("/usr/sbin/slurmctld", &["-c", "-f", &cluster.conf]).status().unwrap();
    let (state, error) = runner.outcome("a");
    assert_eq!(state, "failed");
    assert!(error.contains("gone from the queue") && error.contains("at work"), "{error}");
}

#[test]
fn actions_launched_together_are_one_array_which_a_new_runner_finds_again() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.set_node("drain");
    let (store, dir) = (cluster.path("store"), cluster.dir.path().to_path_buf());
    let arguments = ["array", "20", store.to_str().unwrap(), dir.to_str().unwrap()];
    let runner = cluster.runner(&arguments);
    cluster.until("all wait", |cluster| cluster.states().len() == 20);
    drop(runner);
    let mut runner = cluster.runner(&arguments);
    runner.hear(|told| told["said"]["said"] == "event");
    cluster.set_node("resume");
    for _ in 0..20 {
        runner.hear(|told| told.get("ended").is_some());
    }
    let ran = runner.told.iter().filter(|told| told["said"]["said"] == "ran").count();
    assert_eq!((ran, cluster.executions()), (20, 20));
    cluster.until("all are done", |cluster| cluster.states() == vec!["COMPLETED"; 20]);
    assert!(cluster.ask("scontrol", &["show", "job", "1"]).contains("ArrayTaskThrottle=6"));
    let run = cluster.store().run("last").unwrap();
    for point in 0..20 {
        assert_eq!(fs::read_to_string(run.file(&format!("{point}.log"))).unwrap(), format!("point {point}\n"));
    }
}
