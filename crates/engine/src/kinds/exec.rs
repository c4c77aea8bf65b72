//! `exec`: any program as a stage. Inputs and outputs are folders named by environment variables; the program
//! runs in the pipeline file's folder or in `cwd`, with a small environment and its output in the stage's log.
//!
//! It runs under a worker, which is its supervisor: the program stays in the worker's process group, and
//! whatever it leaves running is ended with it.
//!
//! It may also serve another stage (`service = "this one"`): then the program listens on `$GAZAL_PORT` of 127.0.0.1,
//! and lives as long as the stage that it serves, which finds it at `$GAZAL_SERVICE_URL`.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gazal_stage_api::{
    Arity, Context, Declared, InPort, JsonSchema, Kind, OutPort, Problem, Role, Server, StageError, Traits,
};
use serde::{Deserialize, Serialize};

use crate::{paths, process};

pub struct Exec;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecParams {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Patterns of the files that the program consists of, relative to the pipeline file; hashed into the key.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The folder that the program runs in, relative to the pipeline file [default: the file's own folder].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// Names of environment variables that the program may see besides `PATH`, `HOME` and the like; their values
    /// are not part of the key.
    #[serde(default)]
    pub env: Vec<String>,
}

/// Kept from the runner's environment.
const ENVIRONMENT: [&str; 10] =
    ["PATH", "HOME", "USER", "SHELL", "TMPDIR", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR"];
/// What CUDA takes the GPUs from that a program may use.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
/// The longest variable: Linux starts no program with one of 128 KiB.
const LONGEST: usize = 1 << 16;
/// Between asking a program to end and ending it.
const GRACE: Duration = Duration::from_secs(2);
/// How long a service may take until it listens: it may load a model first.
const COMING_UP: Duration = Duration::from_secs(600);

impl Kind for Exec {
    type Params = ExecParams;
    const NAME: &'static str = "exec";
    const REVISION: u32 = 1;
    const DOC: &'static str = "any program: $GAZAL_INPUT_<port>, $GAZAL_OUTPUT_<name>; of many inputs the file $GAZAL_INPUTS_<port> names each";
    const TRAITS: Traits = Traits { network: true, programs: true, serves: true, paths: &["sources"], ..Traits::PLAIN };

    fn inputs(&self, _: &ExecParams, declared: &Declared) -> Vec<InPort> {
        let port = |name: &String| InPort { name: name.clone(), accepts: None, arity: Arity::Any, doc: "a folder" };
        declared.inputs.iter().map(port).collect()
    }

    fn outputs(&self, _: &ExecParams, declared: &Declared) -> Vec<OutPort> {
        let port =
            |(name, &kind): (&String, _)| OutPort { name: name.clone(), kind, role: Role::Value, doc: "a folder" };
        declared.outputs.iter().map(port).collect()
    }

    fn validate(&self, params: &ExecParams) -> Vec<Problem> {
        match params.command.first() {
            Some(program) if !program.is_empty() => Vec::new(),
            _ => vec![Problem::new("command", "names no program").with_help("e.g. command = [\"python3\", \"x.py\"]")],
        }
    }

    fn run(&self, params: ExecParams, context: &mut Context) -> Result<(), StageError> {
        let child = start(&params, command(&params, context)?)?;
        let status = supervise(child, context)?;
        if status.success() {
            return Ok(());
        }
        Err(StageError::failed(format!("`{}` ended with {status}", params.command[0])))
    }

    fn serve(&self, params: ExecParams, context: &mut Context) -> Result<Box<dyn Server>, StageError> {
        let port = free_port().map_err(|error| StageError::failed(format!("no port is free: {error}")))?;
        let mut command = command(&params, context)?;
        command.env("GAZAL_PORT", port.to_string());
        let mut server = Serving { child: start(&params, command)?, url: format!("http://127.0.0.1:{port}") };
        server.wait(port, &params, context)?;
        Ok(Box::new(server))
    }
}

fn start(params: &ExecParams, mut command: Command) -> Result<Child, StageError> {
    let program = params.command.first().map_or("", String::as_str);
    if let Some(folder) = params.cwd.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(StageError::failed(format!("`cwd` names no folder: {}", folder.display())));
    }
    command.spawn().map_err(|error| StageError::failed(format!("cannot start `{program}`: {error}")))
}

/// A port that nobody listens on at this moment.
fn free_port() -> std::io::Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

/// A program that serves.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    /// Waits until something listens on `port`.
    fn wait(&mut self, port: u16, params: &ExecParams, context: &Context) -> Result<(), StageError> {
        let (program, began) = (&params.command[0], Instant::now());
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = self.child.try_wait().map_err(|error| StageError::failed(error.to_string()))?;
            if let Some(status) = ended {
                return Err(StageError::failed(format!("the service `{program}` ended with {status}; see the log")));
            }
            if context.cancelled() {
                return Err(StageError::Cancelled);
            }
            if began.elapsed() > COMING_UP {
                let message = format!(
                    "the service `{program}` did not listen on $GAZAL_PORT ({port}) of 127.0.0.1 within {} s",
                    COMING_UP.as_secs()
                );
                return Err(StageError::failed(message));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Server for Serving {
    fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn command(params: &ExecParams, context: &Context) -> Result<Command, StageError> {
    let mut command = Command::new(&params.command[0]);
    command.args(&params.command[1..]).stdin(Stdio::null()).stdout(std::io::stderr()).env_clear();
    if let Some(folder) = &params.cwd {
        command.current_dir(folder);
    }
    for name in ENVIRONMENT.into_iter().chain(params.env.iter().map(String::as_str)) {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (port, folders) in &context.folders.inputs {
        let joined = join(folders);
        if folders.len() > 1 {
            command.env(variable("GAZAL_INPUTS_", port), listed(context.wip(), port, folders)?);
        }
        if joined.len() <= LONGEST {
            command.env(variable("GAZAL_INPUT_", port), joined);
        }
    }
    if let Some(gpus) = visible(&context.gpus, std::env::var(VISIBLE).ok()) {
        command.env(VISIBLE, gpus);
    }
    if let Some(url) = &context.service {
        command.env("GAZAL_SERVICE_URL", url);
    }
    for (name, folder) in &context.folders.outputs {
        command.env(variable("GAZAL_OUTPUT_", name), folder);
    }
    Ok(command)
}

/// The GPUs that a program sees: those that its stage was given, else those that this process sees.
fn visible(given: &[usize], all: Option<String>) -> Option<String> {
    if given.is_empty() {
        return all;
    }
    let all: Vec<&str> = all.iter().flat_map(|all| all.split(',')).map(str::trim).collect();
    let named = |&gpu: &usize| all.get(gpu).map_or_else(|| gpu.to_string(), ToString::to_string);
    Some(given.iter().map(named).collect::<Vec<_>>().join(","))
}

/// A file that names several folders, one a line.
fn listed(wip: &Path, port: &str, folders: &[PathBuf]) -> Result<PathBuf, StageError> {
    let path = wip.join(format!("{}.inputs", variable("", port)));
    let lines: String = folders.iter().map(|folder| format!("{}\n", folder.display())).collect();
    std::fs::write(&path, lines).map_err(StageError::io(&path))?;
    Ok(path)
}

/// A shell can only spell letters, digits and underscores.
fn variable(prefix: &str, name: &str) -> String {
    let spelled = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    prefix.chars().chain(spelled).collect()
}

/// Several folders as in `PATH`.
fn join(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.to_string_lossy()).collect::<Vec<_>>().join(":")
}

/// Waits for the program, and ends what it leaves running, a service included: its work is done.
fn supervise(mut child: Child, context: &Context) -> Result<ExitStatus, StageError> {
    let mut pause = Duration::from_millis(1);
    loop {
        let ended =
            child.try_wait().map_err(|error| StageError::failed(format!("cannot watch the program: {error}")))?;
        if let Some(status) = ended {
            process::signal_descendants(true);
            return Ok(status);
        }
        if context.cancelled() {
            end(&mut child);
            return Err(StageError::Cancelled);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Asks, waits a little, insists.
fn end(child: &mut Child) {
    process::signal_descendants(false);
    let asked = Instant::now();
    while asked.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(Duration::from_millis(20));
    }
    process::signal_descendants(true);
    let _ = child.wait();
}

/// Files that an argument of `command` names and no pattern of `sources` covers: a change of them would go unnoticed.
/// `base` is the pipeline file's folder.
pub fn undeclared_files(params: &ExecParams, base: &Path) -> Vec<String> {
    let cwd = params.cwd.as_ref().map_or(base.to_path_buf(), |cwd| base.join(cwd));
    let declared: Vec<PathBuf> =
        params.sources.iter().flat_map(|pattern| paths::matches(base, pattern).unwrap_or_default()).collect();
    let words = params.command.iter().flat_map(|argument| argument.split([' ', ';', '|', '&', '<', '>', '"', '\'']));
    let mut found: Vec<String> = words
        .filter(|word| !word.is_empty() && !word.starts_with('$') && Path::new(word).is_relative())
        .filter(|word| cwd.join(word).is_file() && !declared.contains(&cwd.join(word)))
        .map(str::to_string)
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn params(command: &[&str], sources: &[&str]) -> ExecParams {
        let owned = |items: &[&str]| items.iter().map(ToString::to_string).collect();
        ExecParams { command: owned(command), sources: owned(sources), cwd: None, env: Vec::new() }
    }

    #[test]
    fn a_script_that_no_source_covers_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.py"), "").unwrap();
        assert_eq!(undeclared_files(&params(&["python3", "x.py"], &[]), dir.path()), ["x.py"]);
        assert_eq!(undeclared_files(&params(&["sh", "-c", "python3 x.py > y"], &[]), dir.path()), ["x.py"]);
        assert!(undeclared_files(&params(&["python3", "x.py"], &["*.py"]), dir.path()).is_empty());
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::rename(dir.path().join("x.py"), dir.path().join("in/x.py")).unwrap();
        let inside = |sources: &[&str]| ExecParams { cwd: Some("in".into()), ..params(&["python3", "x.py"], sources) };
        assert_eq!(undeclared_files(&inside(&["*.py"]), dir.path()), ["x.py"]);
        assert!(undeclared_files(&inside(&["in/*.py"]), dir.path()).is_empty());
    }

    #[test]
    fn variables_are_ones_that_a_shell_can_spell() {
        assert_eq!(variable("GAZAL_INPUT_", "raw-text"), "GAZAL_INPUT_raw_text");
    }

    #[test]
    fn a_program_sees_the_gpus_of_its_stage() {
        assert_eq!(visible(&[], None), None);
        assert_eq!(visible(&[], Some("3,5".into())).as_deref(), Some("3,5"));
        assert_eq!(visible(&[1, 2], None).as_deref(), Some("1,2"));
        assert_eq!(visible(&[1], Some("3, GPU-8f".into())).as_deref(), Some("GPU-8f"));
    }

    #[test]
    fn an_empty_command_is_a_mistake() {
        assert_eq!(Exec.validate(&params(&[], &[])).len(), 1);
        assert_eq!(Exec.validate(&params(&["true"], &[])).len(), 0);
    }
}
