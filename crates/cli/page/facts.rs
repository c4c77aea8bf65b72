//! What the page tells, gathered from a run's folder and from the receipts of its stages. Nothing is computed anew and
//! nothing is fetched: what the store does not have is left out.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::SystemTime;

use gazal_engine::{
    Cause, EngineError, GraphInput, GraphStage, Header, Manifest, Outcome, Record, StageRecord, read_graph,
    read_record, read_story,
};
use gazal_store::{Digest, Receipt, RunDir, Store, rfc3339};
use serde_json::Value;

use super::edges::{self, Edge};
use super::story::{Story, Try};

/// Receipts of more stages are not read: a page about them all would help nobody.
const RECEIPTS: usize = 2_000;

pub(crate) struct Facts {
    pub header: Header,
    /// Whether its runner still lives.
    pub alive: bool,
    /// The run's folder.
    pub dir: RunDir,
    pub store: Store,
    /// When this was gathered, RFC 3339.
    pub made: String,
    /// From the run's start to its end, or to what is known last, in seconds.
    pub end: f64,
    /// Each after all that it needs.
    pub stages: Vec<Stage>,
    pub edges: Vec<Edge>,
    /// Whether edges were found by what was read, since the run kept no graph.
    pub is_derived: bool,
}

/// A stage in a run, with what the store has of its action.
pub(crate) struct Stage {
    pub name: String,
    pub base: String,
    pub kind: String,
    pub standing: Standing,
    /// What it took in this run.
    pub seconds: Option<f64>,
    pub key: Option<Digest>,
    pub causes: Vec<Cause>,
    pub error: Option<String>,
    pub tries: Vec<Try>,
    /// Seconds after the run's start; 0 for what was there from the start.
    pub done: Option<f64>,
    pub reads: Vec<GraphInput>,
    pub after: Vec<String>,
    /// Path-typed parameters as written.
    pub paths: BTreeMap<String, Value>,
    pub receipt: Option<Receipt>,
    pub manifest: Option<Manifest>,
}

/// How a stage stands, best first: what is folded together stands as its worst member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Hit,
    Ran,
    Skipped,
    Waiting,
    Running,
    /// Failed, and may.
    Allowed,
    Blocked,
    Interrupted,
    Killed,
    Failed,
}

impl Standing {
    pub const ALL: [Standing; 10] = [
        Standing::Hit,
        Standing::Ran,
        Standing::Skipped,
        Standing::Waiting,
        Standing::Running,
        Standing::Allowed,
        Standing::Blocked,
        Standing::Interrupted,
        Standing::Killed,
        Standing::Failed,
    ];

    /// Of a stage of a run; `None` is one of which nothing was told.
    fn of(stage: Option<&StageRecord>, record: &Record) -> Standing {
        match stage.map(|stage| (stage.state, stage.allowed)) {
            None => Standing::Waiting,
            Some((None, _)) if record.alive => Standing::Running,
            Some((None, _)) => Standing::Killed,
            Some((Some(Outcome::Failed), true)) => Standing::Allowed,
            Some((Some(Outcome::Hit), _)) => Standing::Hit,
            Some((Some(Outcome::Ran), _)) => Standing::Ran,
            Some((Some(Outcome::Failed), false)) => Standing::Failed,
            Some((Some(Outcome::Blocked), _)) => Standing::Blocked,
            Some((Some(Outcome::Skipped), _)) => Standing::Skipped,
            Some((Some(Outcome::Interrupted), _)) => Standing::Interrupted,
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Standing::Hit => "up to date",
            Standing::Ran => "ran",
            Standing::Skipped => "skipped",
            Standing::Waiting => "waiting",
            Standing::Running => "running",
            Standing::Allowed => "failed, and may",
            Standing::Blocked => "blocked",
            Standing::Interrupted => "interrupted",
            Standing::Killed => "killed",
            Standing::Failed => "failed",
        }
    }

    /// For style sheets and anchors.
    pub fn class(self) -> &'static str {
        match self {
            Standing::Hit => "hit",
            Standing::Allowed => "allowed",
            other => other.word(),
        }
    }

    pub fn is_success(self) -> bool {
        matches!(self, Standing::Hit | Standing::Ran)
    }
}

impl Facts {
    /// Gathers what a run and its store tell.
    pub fn read(store: &Store, dir: &RunDir) -> Result<Facts, EngineError> {
        let record = read_record(dir)?;
        let now = SystemTime::now();
        let story = Story::of(read_story(dir), &record, now);
        let graph = read_graph(dir);
        let is_derived = graph.is_empty();
        let graph = if is_derived { nodes(&record) } else { graph };
        let mut stages = stages(graph, &record, story.tries);
        add_receipts(store, &mut stages);
        if is_derived {
            edges::derive(&mut stages);
        }
        let edges = edges::of(&stages);
        let (dir, store, made) = (dir.clone(), store.clone(), rfc3339(now));
        Ok(Facts {
            header: record.header,
            alive: record.alive,
            dir,
            store,
            made,
            end: story.end,
            stages,
            edges,
            is_derived,
        })
    }

    pub fn count(&self, standing: Standing) -> usize {
        self.stages.iter().filter(|stage| stage.standing == standing).count()
    }

    /// What the hits took when they were made, in seconds.
    pub fn saved(&self) -> f64 {
        let hits = self.stages.iter().filter(|stage| stage.standing == Standing::Hit);
        let told = || hits.filter_map(|stage| Some(stage.receipt.as_ref()?.seconds)).sum();
        self.header.summary.as_ref().map(|summary| summary.saved).filter(|saved| *saved > 0.0).unwrap_or_else(told)
    }

    /// Where a stage's log lies, if there is one.
    pub fn log(&self, stage: &Stage) -> Option<PathBuf> {
        Some(gazal_engine::log_path(&self.dir, &stage.name)).filter(|path| path.is_file())
    }
}

/// The stages alone, where a run kept no graph; matrix points have an `@` after their stage's name.
fn nodes(record: &Record) -> Vec<GraphStage> {
    let base = |name: &str| name.split_once('@').map_or(name, |(base, _)| base).to_string();
    let stages = record.stages.iter();
    stages
        .map(|stage| GraphStage { name: stage.name.clone(), base: base(&stage.name), ..GraphStage::default() })
        .collect()
}

fn stages(graph: Vec<GraphStage>, record: &Record, mut tries: HashMap<String, (Vec<Try>, Option<f64>)>) -> Vec<Stage> {
    let told: HashMap<&str, &StageRecord> = record.stages.iter().map(|stage| (stage.name.as_str(), stage)).collect();
    let stage = |node: GraphStage| {
        let own = told.get(node.name.as_str()).copied();
        let (tries, done) = tries.remove(&node.name).unwrap_or_default();
        let standing = Standing::of(own, record);
        Stage {
            standing,
            seconds: own.and_then(|own| own.seconds),
            key: own.and_then(|own| own.key),
            causes: own.map(|own| own.causes.clone()).unwrap_or_default(),
            error: own.and_then(|own| own.error.clone()),
            tries,
            done: done.or((standing == Standing::Hit).then_some(0.0)),
            name: node.name,
            base: node.base,
            kind: node.kind,
            reads: node.reads,
            after: node.after,
            paths: node.paths,
            receipt: None,
            manifest: None,
        }
    };
    graph.into_iter().map(stage).collect()
}

/// What the store has of the stages' actions: first of what was not there, then of the hits.
fn add_receipts(store: &Store, stages: &mut [Stage]) {
    let mut order: Vec<usize> = (0..stages.len()).filter(|&index| stages[index].standing.is_success()).collect();
    order.sort_by_key(|&index| stages[index].standing == Standing::Hit);
    for index in order.into_iter().take(RECEIPTS) {
        let stage = &mut stages[index];
        stage.receipt = stage.key.and_then(|key| store.receipt(&key).ok().flatten());
        stage.manifest = stage.receipt.as_ref().and_then(|receipt| Manifest::from_value(&receipt.manifest));
        if let Some(manifest) = stage.manifest.as_ref().filter(|_| stage.kind.is_empty()) {
            stage.kind.clone_from(&manifest.kind);
        }
    }
}
