//! What a run tells while it goes, and what it leaves behind: `runs/<id>/run.json` says what was asked and how it
//! ended, `hits` what was there already, `events.jsonl` what happened, `graph.jsonl` how its stages hang together, and
//! each stage that ran has a log.
//!
//! A run with nothing to do finds as many hits as the pipeline has stages. They are no events: their list is written
//! once, and runs that follow with the same ones share its file.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use gazal_stage_api::Level;
use gazal_store::{Digest, RunDir, rfc3339};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Cause, EngineError, Options, Outcome, Requested};

/// Something that happened in a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum RunEvent {
    /// The first.
    Begin {
        run: String,
        pipeline: String,
        stages: usize,
    },
    /// A worker begins with a stage.
    Start {
        name: String,
        kind: String,
        key: Digest,
        causes: Vec<Cause>,
        log: PathBuf,
    },
    Progress {
        name: String,
        done: u64,
        total: u64,
        unit: String,
        metrics: BTreeMap<String, f64>,
    },
    Message {
        name: String,
        level: Level,
        text: String,
    },
    /// A stage failed and is tried again.
    Retry {
        name: String,
        error: String,
        /// The try to come, from 2.
        attempt: u32,
        of: u32,
        /// Until then.
        pause: f64,
    },
    /// A stage is done.
    Stage {
        name: String,
        state: Outcome,
        seconds: f64,
        key: Option<Digest>,
        /// Why it failed or was left out.
        error: Option<String>,
        /// A failure that the pipeline allows.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allowed: bool,
    },
    /// The last.
    Run(Summary),
}

impl RunEvent {
    /// Whether it tells of something that was not simply there.
    pub(crate) fn is_news(&self) -> bool {
        match self {
            RunEvent::Start { .. } => true,
            RunEvent::Stage { state, .. } => *state != Outcome::Hit,
            _ => false,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub run: String,
    pub hit: usize,
    pub ran: usize,
    pub failed: usize,
    pub blocked: usize,
    pub skipped: usize,
    pub interrupted: usize,
    /// Failures that the pipeline allows; not among the failed ones.
    #[serde(default)]
    pub allowed: usize,
    pub seconds: f64,
    /// How long the hits took when they were made, in seconds.
    #[serde(default)]
    pub saved: f64,
}

impl Summary {
    /// Whether everything was there.
    pub fn is_all_hits(&self) -> bool {
        let Summary { ran, failed, blocked, skipped, interrupted, allowed, .. } = self;
        ran + failed + blocked + skipped + interrupted + allowed == 0
    }

    /// The number of stages with this outcome.
    pub(crate) fn number(&mut self, outcome: Outcome) -> &mut usize {
        match outcome {
            Outcome::Hit => &mut self.hit,
            Outcome::Ran => &mut self.ran,
            Outcome::Failed => &mut self.failed,
            Outcome::Blocked => &mut self.blocked,
            Outcome::Skipped => &mut self.skipped,
            Outcome::Interrupted => &mut self.interrupted,
        }
    }
}

/// `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    pub run: String,
    pub pipeline: String,
    /// The pipeline file.
    pub file: PathBuf,
    pub requested: Requested,
    pub program: String,
    pub host: String,
    /// `None` in the records of earlier versions.
    #[serde(default)]
    pub machine: Option<Machine>,
    pub started: String,
    pub finished: Option<String>,
    pub summary: Option<Summary>,
}

/// What a run had to share out among its stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// `linux x86_64`
    pub system: String,
    pub cpus: u32,
    /// In bytes.
    pub memory: u64,
    /// CUDA devices.
    pub gpus: usize,
}

impl Machine {
    fn of(options: &Options) -> Machine {
        let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        Machine { system, cpus: options.threads, memory: options.memory, gpus: options.gpus }
    }
}

/// An event with its time.
#[derive(Clone, Debug)]
pub struct Told {
    /// RFC 3339 in UTC.
    pub at: String,
    pub event: RunEvent,
}

/// A run as its folder tells of it.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    pub header: Header,
    /// In the order in which they began.
    pub stages: Vec<StageRecord>,
    /// Whether its runner still lives.
    pub alive: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct StageRecord {
    pub name: String,
    pub key: Option<Digest>,
    /// `None` while it runs, and for ever if its runner was killed.
    pub state: Option<Outcome>,
    pub seconds: Option<f64>,
    pub causes: Vec<Cause>,
    pub error: Option<String>,
    /// A failure that the pipeline allows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allowed: bool,
}

/// The log of a stage in a run.
pub fn log_path(run: &RunDir, stage: &str) -> PathBuf {
    let safe =
        stage.chars().map(|letter| if letter.is_alphanumeric() || "-_@=,.".contains(letter) { letter } else { '_' });
    run.file(&format!("{}.log", safe.collect::<String>()))
}

/// Progress is recorded once in this time for a stage; records of learning are the stages' own.
const PROGRESS: Duration = Duration::from_secs(1);
const HEADER: &str = "run.json";
const EVENTS: &str = "events.jsonl";
/// What was there from the start, a [`hit_line`] each.
pub(crate) const HITS: &str = "hits";
const ALIVE: &str = "alive";

/// Writes a run's folder.
pub(crate) struct Recorder {
    pub dir: RunDir,
    header: Header,
    events: File,
    /// Locked while the runner lives.
    _alive: File,
    told: HashMap<String, Instant>,
}

impl Recorder {
    pub fn begin(dir: RunDir, pipeline: &str, options: &Options) -> Result<Recorder, EngineError> {
        let create = |name: &str| {
            let path = dir.file(name);
            OpenOptions::new().create(true).append(true).open(&path).map_err(EngineError::io(&path))
        };
        let (events, alive) = (create(EVENTS)?, create(ALIVE)?);
        alive.lock().map_err(EngineError::io(dir.path()))?;
        let header = Header {
            run: dir.id().into(),
            pipeline: pipeline.into(),
            file: options.file.clone(),
            requested: options.requested.clone(),
            program: concat!("gazal-pipe ", env!("CARGO_PKG_VERSION")).into(),
            host: crate::process::host(),
            machine: Some(Machine::of(options)),
            started: rfc3339(SystemTime::now()),
            finished: None,
            summary: None,
        };
        let recorder = Recorder { dir, header, events, _alive: alive, told: HashMap::new() };
        recorder.write_header()?;
        Ok(recorder)
    }

    pub fn add(&mut self, event: &RunEvent) -> Result<(), EngineError> {
        if let RunEvent::Progress { name, .. } = event {
            if self.told.get(name).is_some_and(|told| told.elapsed() < PROGRESS) {
                return Ok(());
            }
            self.told.insert(name.clone(), Instant::now());
        }
        if let RunEvent::Run(summary) = event {
            self.header.summary = Some(summary.clone());
            self.header.finished = Some(rfc3339(SystemTime::now()));
            self.write_header()?;
        }
        let mut line = serde_json::to_value(event).unwrap_or_default();
        line["at"] = rfc3339(SystemTime::now()).into();
        // In one piece: `writeln!` of a value is a system call a token, and a kill between two leaves half a line.
        self.events.write_all(format!("{line}\n").as_bytes()).map_err(EngineError::io(self.dir.path()))
    }

    /// A file that the run before may have too: then both share it.
    pub fn add_text(&self, name: &str, text: &str, before: Option<&RunDir>) -> Result<(), EngineError> {
        let path = self.dir.file(name);
        let shared = before.is_some_and(|before| {
            let before = before.file(name);
            is_text(&before, text).unwrap_or(false) && fs::hard_link(&before, &path).is_ok()
        });
        if shared || text.is_empty() { Ok(()) } else { fs::write(&path, text).map_err(EngineError::io(&path)) }
    }

    fn write_header(&self) -> Result<(), EngineError> {
        let (draft, path) = (self.dir.file(".run.json"), self.dir.file(HEADER));
        let text = serde_json::to_string_pretty(&self.header).unwrap_or_default();
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).map_err(EngineError::io(&path))
    }
}

/// Reads the folder of a run.
///
/// # Errors
/// When it has no readable `run.json`.
pub fn read_record(dir: &RunDir) -> Result<Record, EngineError> {
    let header = read_header(dir)?;
    let mut stages = Stages::default();
    for (name, key) in read_hits(dir) {
        let stage = stages.named(&name);
        (stage.state, stage.seconds, stage.key) = (Some(Outcome::Hit), Some(0.0), Some(key));
    }
    for told in read_story(dir) {
        match told.event {
            RunEvent::Start { name, key, causes, .. } => {
                let stage = stages.named(&name);
                *stage = StageRecord { name, key: Some(key), causes, ..StageRecord::default() };
            }
            RunEvent::Stage { name, state, seconds, key, error, allowed } => {
                let stage = stages.named(&name);
                stage.allowed = allowed;
                (stage.state, stage.seconds, stage.error, stage.key) =
                    (Some(state), Some(seconds), error, key.or(stage.key));
            }
            _ => {}
        }
    }
    let alive = header.finished.is_none() && is_locked(&dir.file(ALIVE));
    Ok(Record { header, stages: stages.all, alive })
}

/// The stages of a record, found by name.
#[derive(Default)]
struct Stages {
    all: Vec<StageRecord>,
    at: HashMap<String, usize>,
}

impl Stages {
    fn named(&mut self, name: &str) -> &mut StageRecord {
        let at = *self.at.entry(name.to_string()).or_insert(self.all.len());
        if at == self.all.len() {
            self.all.push(StageRecord { name: name.to_string(), ..StageRecord::default() });
        }
        &mut self.all[at]
    }
}

fn is_text(path: &Path, text: &str) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut rest = text.as_bytes();
    loop {
        let next = file.fill_buf()?;
        match (next.len(), rest.strip_prefix(next)) {
            (0, _) => return Ok(rest.is_empty()),
            (_, None) => return Ok(false),
            (read, Some(left)) => {
                file.consume(read);
                rest = left;
            }
        }
    }
}

pub(crate) fn hit_line(key: &Digest, name: &str) -> String {
    format!("{key} {name}\n")
}

/// The bytes of a [`hit_line`].
pub(crate) fn hit_length(name: &str) -> usize {
    64 + name.len() + 2
}

/// Name and key of what was there when a run began.
pub fn read_hits(dir: &RunDir) -> Vec<(String, Digest)> {
    let text = fs::read_to_string(dir.file(HITS)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(key, name)| Some((name.to_string(), key.parse().ok()?))).collect()
}

/// Reads what was asked of a run, and how it ended.
///
/// # Errors
/// When the folder has no readable `run.json`.
pub fn read_header(dir: &RunDir) -> Result<Header, EngineError> {
    let path = dir.file(HEADER);
    let text = fs::read(&path).map_err(EngineError::io(&path))?;
    serde_json::from_slice(&text).map_err(|error| EngineError::Io { path, source: error.into() })
}

/// What happened in a run, all but progress. The last line of a killed run may be half a line; what cannot be read is
/// passed over.
pub fn read_story(dir: &RunDir) -> Vec<Told> {
    let Ok(file) = File::open(dir.file(EVENTS)) else { return Vec::new() };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines
        .filter(|line| !line.contains("\"event\":\"progress\""))
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .filter_map(told)
        .collect()
}

fn told(value: Value) -> Option<Told> {
    let at = value.get("at").and_then(Value::as_str).unwrap_or_default().to_string();
    Some(Told { at, event: serde_json::from_value(value).ok()? })
}

fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// The keys of the stages that a run of the pipeline in `file` had results for.
pub(crate) fn keys_of(dir: &RunDir, file: &Path) -> Vec<(String, Digest)> {
    if !read_header(dir).is_ok_and(|header| header.file == file) {
        return Vec::new();
    }
    let events = read_story(dir).into_iter();
    let made = events.filter_map(|told| match told.event {
        RunEvent::Stage { name, state, key: Some(key), .. } if state.is_success() => Some((name, key)),
        _ => None,
    });
    made.chain(read_hits(dir)).collect()
}
