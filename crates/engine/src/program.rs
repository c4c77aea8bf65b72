//! A program that a stage runs for an answer: its input and output are files of the stage's own, so neither waits for
//! the other, and what it says on standard error goes to the stage's log.
//!
//! It leads a process group, which ends with it, with its time or with the stage. What leaves the group is found by
//! the worker, which adopts orphans, and by the worker's guard.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use gazal_stage_api::{Program, StageError};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::process;

/// Between two looks at it, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Runs it to its end, with its input and output in `scratch`.
pub(crate) fn run(program: &Program, scratch: &Path, cancelled: &dyn Fn() -> bool) -> Result<Vec<u8>, StageError> {
    let (input, output) = (scratch.join("input"), scratch.join("output"));
    fs::write(&input, &program.input).map_err(StageError::io(&input))?;
    let stdin = File::open(&input).map_err(StageError::io(&input))?;
    let stdout = File::create(&output).map_err(StageError::io(&output))?;
    let name = program.command.first().map_or("", String::as_str);
    let mut command = Command::new(name);
    command.args(program.command.iter().skip(1)).current_dir(&program.folder);
    command.stdin(stdin).stdout(stdout).process_group(0).env_clear();
    for variable in ["PATH"].into_iter().chain(program.env.iter().map(String::as_str)) {
        if let Some(value) = std::env::var_os(variable) {
            command.env(variable, value);
        }
    }
    let child = command.spawn();
    let child = child.map_err(|error| StageError::failed(format!("cannot start `{name}`: {error}")))?;
    wait(child, program, cancelled)?;
    fs::read(&output).map_err(StageError::io(&output))
}

/// Waits for the end, and takes along what is left of the group while its number still means that group.
fn wait(mut child: Child, program: &Program, cancelled: &dyn Fn() -> bool) -> Result<(), StageError> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(1);
    let ended = loop {
        match is_over(&child) {
            Ok(true) => break Ok(()),
            Ok(false) if cancelled() => break Err(StageError::Cancelled),
            Ok(false) if begun.elapsed().as_secs_f64() > program.seconds => {
                let message = format!("`{}` took longer than {} s", program.command[0], program.seconds);
                break Err(StageError::failed(message));
            }
            Ok(false) => thread::sleep(pause),
            Err(error) => break Err(StageError::failed(format!("cannot watch `{}`: {error}", program.command[0]))),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    process::kill_group(child.id());
    let status = child.wait().map_err(|error| StageError::failed(error.to_string()))?;
    ended?;
    match status.success() {
        true => Ok(()),
        false => Err(StageError::failed(format!("`{}` ended with {status}; see the log", program.command[0]))),
    }
}

/// Whether it has ended; it is not buried yet.
fn is_over(child: &Child) -> nix::Result<bool> {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(pid), flags).map(|status| !matches!(status, WaitStatus::StillAlive))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn shell(script: &str, seconds: f64) -> (tempfile::TempDir, Program) {
        let dir = tempfile::tempdir().unwrap();
        let command = ["sh", "-c", script].map(String::from).to_vec();
        let program = Program { command, folder: dir.path().into(), seconds, ..Program::default() };
        (dir, program)
    }

    fn run_shell(script: &str, seconds: f64) -> Result<String, StageError> {
        let (dir, program) = shell(script, seconds);
        run(&Program { input: b"a\nb\n".to_vec(), ..program }, dir.path(), &|| false)
            .map(|output| String::from_utf8(output).unwrap())
    }

    #[test]
    fn what_goes_in_comes_out_however_much_it_is() {
        assert_eq!(run_shell("tr a-z A-Z", 60.0).unwrap(), "A\nB\n");
        let (dir, program) = shell("cat", 60.0);
        let input = vec![b'x'; 1 << 20];
        assert_eq!(run(&Program { input: input.clone(), ..program }, dir.path(), &|| false).unwrap(), input);
    }

    #[test]
    fn it_sees_the_declared_variables_and_path_alone() {
        // A shell sets some itself.
        let own = ["PWD", "SHLVL", "_", "OLDPWD"];
        let mut mine = std::env::vars().map(|(name, _)| name);
        let declared = mine.find(|name| name != "PATH" && !own.contains(&name.as_str())).unwrap();
        let (dir, program) = shell("env", 60.0);
        let seen = run(&Program { env: vec![declared.clone()], ..program }, dir.path(), &|| false).unwrap();
        let mut names: Vec<String> =
            String::from_utf8(seen).unwrap().lines().filter_map(|line| Some(line.split_once('=')?.0.into())).collect();
        names.retain(|name| !own.contains(&name.as_str()));
        names.sort();
        let mut expected = vec![declared, "PATH".into()];
        expected.sort();
        assert_eq!(names, expected);
    }

    #[test]
    fn failing_and_taking_too_long_are_errors() {
        let error = |script, seconds| run_shell(script, seconds).unwrap_err().to_string();
        assert!(error("exit 3", 60.0).contains("`sh` ended with exit status: 3"));
        assert!(error("sleep 600", 0.05).contains("`sh` took longer than 0.05 s"));
        let (dir, program) = shell("", 1.0);
        let none = Program { command: vec!["/no/such/program".into()], ..program };
        assert!(run(&none, dir.path(), &|| false).unwrap_err().to_string().contains("cannot start `/no/such/program`"));
        let (dir, program) = shell("sleep 600", 600.0);
        assert!(matches!(run(&program, dir.path(), &|| true), Err(StageError::Cancelled)));
    }

    #[test]
    fn what_it_leaves_running_ends_with_it() {
        let pid = run_shell("sleep 600 & echo $!", 60.0).unwrap();
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        let lives = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let begun = Instant::now();
        while lives() && begun.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!lives());
    }
}
