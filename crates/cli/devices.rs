//! What can compute here. Before a run, drivers are asked in a process of their own, so that a crash in one is an
//! answer.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use gazal_lm::device;
use gazal_stage_api::Backend;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::workspace::open_store;
use crate::{App, words};

/// What a binary knows of devices; called in a process of its own.
pub struct Devices {
    /// Whether a backend is compiled in and works here; otherwise why not, and what to do.
    pub check: fn(Backend) -> Result<(), String>,
    /// The backend behind `auto`.
    pub auto: fn() -> Backend,
    /// Every device of this machine, tried out.
    pub doctor: fn() -> Vec<DeviceReport>,
}

/// A device, tried out.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceReport {
    /// `wgpu:0`
    pub backend: String,
    /// The adapter's or driver's own name.
    pub name: String,
    pub works: bool,
    /// How well it agrees with the CPU, or why it does not work.
    pub detail: String,
}

impl Default for Devices {
    /// What the models compute on, as `gazal-lm` finds it.
    fn default() -> Devices {
        Devices { check, auto, doctor: try_all }
    }
}

/// Opens a device and tries it out; the largest difference from the CPU.
fn try_out(backend: Backend) -> Result<f32, String> {
    let device = device::open(backend.class(), backend.index()).map_err(|error| error.to_string())?;
    device::probe(&device).map_err(|error| error.to_string())
}

fn check(backend: Backend) -> Result<(), String> {
    try_out(backend).map(drop)
}

/// The best that works: CUDA, then a GPU behind wgpu, then the CPU. A software driver is never chosen by itself, since
/// the CPU's own backend is many times faster.
fn auto() -> Backend {
    let hardware = |class| device::enumerate(class).is_ok_and(|found| found.iter().any(|device| !device.software));
    let usable = |backend: &Backend| hardware(backend.class()) && check(*backend).is_ok();
    [Backend::Cuda(None), Backend::Wgpu(None)].into_iter().find(usable).unwrap_or(Backend::Cpu)
}

fn try_all() -> Vec<DeviceReport> {
    device::CLASSES.into_iter().flat_map(try_class).collect()
}

fn try_class(class: &str) -> Vec<DeviceReport> {
    let report = |backend: &str, name: &str, result: Result<f32, String>| DeviceReport {
        backend: backend.into(),
        name: name.into(),
        works: result.is_ok(),
        detail: result.map_or_else(|why| why, |off| format!("agrees with the CPU to {off:.1e}")),
    };
    let found = match device::enumerate(class) {
        Ok(found) if found.is_empty() => {
            return vec![report(class, "none", Err("this machine has no such device".into()))];
        }
        Ok(found) => found,
        Err(error) => return vec![report(class, "none", Err(error.to_string()))],
    };
    let reports = found.iter().enumerate().map(|(index, device)| {
        let backend = if class == "cpu" { class.to_string() } else { format!("{class}:{index}") };
        let name = if device.software { format!("{} (software)", device.name) } else { device.name.clone() };
        let result = Backend::from_name(&backend).ok_or_else(String::new).and_then(try_out);
        report(&backend, &name, result)
    });
    reports.collect()
}

/// The answer of a probe.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    backend: Option<Backend>,
    problem: Option<String>,
}

/// The hidden verb that does the asking.
pub(crate) fn probe(devices: &Devices, backend: &str, out: &mut Out) -> Result<Exit, Failure> {
    let answer = match Backend::from_name(backend) {
        None if backend == "auto" => Answer { backend: Some((devices.auto)()), problem: None },
        None => return Err(Failure::wrong(format!("there is no backend `{backend}`"), "cpu, wgpu, cuda")),
        Some(backend) => Answer { backend: Some(backend), problem: (devices.check)(backend).err() },
    };
    out.json_line(&answer);
    Ok(Exit::Done)
}

/// Whether `program` can compute on a backend here.
pub(crate) fn ask(program: &Path, backend: Backend) -> Result<(), String> {
    if backend == Backend::Cpu {
        return Ok(());
    }
    ask_program(program, &backend.to_string())?.problem.map_or(Ok(()), Err)
}

/// The backend behind `auto`; asked once, and the CPU where the asking fails.
pub(crate) fn ask_auto(program: &Path) -> Backend {
    static ANSWER: OnceLock<Backend> = OnceLock::new();
    *ANSWER.get_or_init(|| ask_program(program, "auto").ok().and_then(|answer| answer.backend).unwrap_or(Backend::Cpu))
}

fn ask_program(program: &Path, backend: &str) -> Result<Answer, String> {
    let asked = Command::new(program).args(["probe", backend]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = asked.map_err(|error| format!("cannot probe `{backend}`: {error}"))?;
    let answer = output.stdout.split(|&byte| byte == b'\n').find_map(|line| serde_json::from_slice(line).ok());
    answer.ok_or_else(|| format!("probing `{backend}` ended with {}", output.status))
}

/// `doctor`: the machine, the store, the devices.
pub(crate) fn doctor(app: &App, args: &Args, out: &mut Out) -> Result<Exit, Failure> {
    let store = open_store(args)?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let devices = (app.devices.doctor)();
    if out.json {
        let root = store.root().display().to_string();
        out.json_line(&serde_json::json!({"threads": threads, "store": root, "devices": devices}));
        return Ok(Exit::Done);
    }
    let mut rows = vec![
        vec!["machine".to_string(), "ok".into(), format!("{threads} threads")],
        vec!["store".into(), "ok".into(), store.root().display().to_string()],
    ];
    rows.extend(devices.into_iter().map(|device| {
        let works = if device.works { "ok" } else { "no" };
        vec![device.backend, works.into(), format!("{}: {}", device.name, device.detail)]
    }));
    out.line(words::table(&rows));
    Ok(Exit::Done)
}
