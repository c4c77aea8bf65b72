//! `TestSpace`: a folder with a pipeline in it, and the program run in that folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

pub struct TestSpace {
    dir: tempfile::TempDir,
}

/// What the program answered.
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl TestSpace {
    /// An empty folder.
    pub fn new() -> TestSpace {
        TestSpace { dir: tempfile::tempdir().unwrap() }
    }

    /// A folder with a `pipeline.toml`, whose `[pipeline]` is written here.
    pub fn with(stages: &str) -> TestSpace {
        let space = TestSpace::new();
        space.pipeline(stages);
        space
    }

    pub fn pipeline(&self, stages: &str) {
        self.write("pipeline.toml", &format!("[pipeline]\nname = \"test\"\n{stages}"));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program with these words, separated by spaces.
    pub fn command(&self, words: &str) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_gazal-pipe")), words)
    }

    /// The same of another copy of the program.
    pub fn command_of(&self, program: &Path, words: &str) -> Command {
        let mut command = Command::new(program);
        command.args(words.split_whitespace()).current_dir(self.dir.path());
        command.env_remove("GAZAL_STORE").env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    pub fn run(&self, words: &str) -> Answer {
        answer(&self.command(words).output().unwrap())
    }

    /// Runs and expects an exit code.
    pub fn expect(&self, code: i32, words: &str) -> Answer {
        let answer = self.run(words);
        assert_eq!(answer.code, code, "{words}\n{}\n{}", answer.stdout, answer.stderr);
        answer
    }

    pub fn start(&self, words: &str) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// `run --json`: name and state of every stage, in the order in which they were done.
    pub fn states(&self, words: &str) -> Vec<(String, String)> {
        let lines = self.run(&format!("run --json pipeline.toml {words}")).stdout;
        let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |value: &Value| value.as_str().unwrap().to_string();
        events
            .filter(|event| event["event"] == "stage")
            .map(|event| (text(&event["name"]), text(&event["state"])))
            .collect()
    }

    /// `plan --json`, the stage with this name.
    pub fn planned(&self, words: &str, name: &str) -> Value {
        let plan: Value =
            serde_json::from_str(&self.expect(0, &format!("plan --json pipeline.toml {words}")).stdout).unwrap();
        plan["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap().clone()
    }
}

pub fn answer(output: &Output) -> Answer {
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Pairs as [`TestSpace::states`] gives them.
pub fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, state)| (name.to_string(), state.to_string())).collect()
}

/// Waits until `holds`, for at most 20 seconds.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not come about");
        sleep(Duration::from_millis(20));
    }
}

/// Living processes that have `word` in their command line.
pub fn processes_with(word: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    })
    .collect()
}
