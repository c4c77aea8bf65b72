//! What the targets share: a store in memory, the kinds, and options to plan with.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use gazal_engine::kinds::builtin;
use gazal_engine::{CancelToken, EngineError, Job, Launcher, Options, Request, Requested, Sink};
use gazal_spec::{Pipeline, Source};
use gazal_stage_api::{
    Backend, Context, Declared, DynKind, InPort, JsonSchema, Kind, Kinds, OutPort, PortType, StageError, Traits,
};
use gazal_store::{Digest, Store};
use serde::{Deserialize, Serialize};

/// The two kinds that every program has, and one with parameters of every form.
pub static KINDS: LazyLock<Kinds> =
    LazyLock::new(|| Kinds::new(builtin().into_iter().chain([&Formed as &'static dyn DynKind]).collect()));

struct Formed;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct FormedParams {
    whole: u32,
    signed: i64,
    real: f64,
    text: Option<String>,
    list: Vec<f32>,
    choice: Choice,
    nested: std::collections::BTreeMap<String, Vec<bool>>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Choice {
    #[default]
    First,
    Second,
}

impl Default for FormedParams {
    fn default() -> FormedParams {
        let (whole, signed, real, text) = (1, -1, 0.5, None);
        FormedParams { whole, signed, real, text, list: vec![0.1], choice: Choice::First, nested: Default::default() }
    }
}

impl Kind for Formed {
    type Params = FormedParams;
    const NAME: &'static str = "formed";
    const REVISION: u32 = 1;
    const DOC: &'static str = "parameters of every form";
    const TRAITS: Traits = Traits { seeded: true, computes: true, unkeyed: &["signed"], ..Traits::PLAIN };

    fn inputs(&self, _: &FormedParams, _: &Declared) -> Vec<InPort> {
        vec![InPort { name: "in".into(), accepts: None, arity: gazal_stage_api::Arity::Any, doc: "" }]
    }

    fn outputs(&self, _: &FormedParams, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("out", PortType::Dataset, ""), OutPort::value("metrics", PortType::Metrics, "")]
    }

    fn run(&self, _: FormedParams, _: &mut Context) -> Result<(), StageError> {
        Ok(())
    }
}

/// A store in memory where the system has such a place, for one process.
pub struct Space {
    dir: tempfile::TempDir,
    pub store: Store,
}

impl Default for Space {
    fn default() -> Space {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("a temporary folder");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        Space { dir, store }
    }
}

impl Space {
    /// A path beside the store.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts bytes where the store has a digest's file of this part.
    pub fn write(&self, part: &str, digest: &Digest, bytes: &[u8]) -> PathBuf {
        let hex = digest.hex();
        let folder = self.store.root().join(part).join(&hex[..2]);
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(hex);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// Empties the store of blobs, receipts and recipes.
    pub fn clear(&self) {
        for part in ["blobs", "receipts", "recipes"] {
            for shard in std::fs::read_dir(self.store.root().join(part)).expect("a folder") {
                std::fs::remove_dir_all(shard.expect("a name").path()).expect("removed");
            }
        }
    }

    /// Plans and explains a small pipeline, so that what lies in the store is looked at from all sides.
    pub fn look_around(&self) {
        let text = "[pipeline]\nname = 'p'\n[stages.a]\nkind = 'exec'\noutputs = { out = 'files' }\n\
                    params = { command = ['true'] }\n[stages.b]\nkind = 'formed'\ninputs = { in = 'a' }\nbackend = 'cpu'\n";
        let pipeline = gazal_spec::load(&Source { name: "p.toml", text }, &Default::default(), &KINDS);
        let pipeline: Pipeline = pipeline.expect("a pipeline without mistakes");
        let options = Options {
            store: self.store.clone(),
            file: PathBuf::from("/p/pipeline.toml"),
            targets: vec![0, 1],
            selected: vec![0, 1],
            single: false,
            expected: None,
            force: Vec::new(),
            jobs: 1,
            threads: 1,
            memory: 1 << 30,
            gpus: 0,
            fail_fast: false,
            auto: &|| Backend::Cpu,
            pin: &|_| Ok(None),
            device_check: &|_| Ok(()),
            slurm_check: &|| Ok(()),
            launcher: &Nobody,
            cancel: CancelToken::default(),
            requested: Requested::default(),
        };
        let told = gazal_engine::explain(&pipeline, &options, &[0, 1]);
        told.expect("what lies in a store is no reason not to plan");
    }
}

/// Nothing is run here.
struct Nobody;

impl Launcher for Nobody {
    fn launch(&self, _: &Request, _: Sink) -> Result<Box<dyn Job>, EngineError> {
        unreachable!("a plan starts no worker")
    }
}
