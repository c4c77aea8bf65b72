//! Verbs that use a model: from a folder, or what a stage has made.

mod chat;
mod generate;
mod serve;
mod tokens;

use std::io::Write;
use std::path::{Path, PathBuf};

use gazal_engine::PlanState;
use gazal_lm::weights::Precision;
use gazal_lm::{Decoder, Form, LmError, Tokenizer, load_adapter};
use gazal_stage_api::{Backend, PortType};
use gazal_store::{Artifact, Store};

pub(crate) use chat::{ChatArgs, chat};
pub(crate) use generate::{GenerateArgs, generate};
pub(crate) use serve::{ServeArgs, serve};
pub(crate) use tokens::{TokensArgs, tokens};

use crate::App;
use crate::args::{Args, Which};
use crate::failure::{Exit, Failure};
use crate::workspace::Workspace;

/// Which model, and where it computes.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// A model's folder; or a pipeline file and the stage that made it (an adapter brings the model that it was trained
    /// on).
    #[arg(value_name = "MODEL | FILE STAGE", required = true, num_args = 1..=2)]
    pub words: Vec<String>,
    /// A PEFT folder to put on the model.
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Where to compute: cpu, wgpu[:i], cuda[:i].
    #[arg(long, value_name = "BACKEND", default_value = "cpu", value_parser = backend)]
    pub device: Backend,
    /// What weights are kept in: bfloat16 takes half the memory and most of the time less. On the CPU computing is in
    /// float32.
    #[arg(long, value_name = "DTYPE", value_enum, default_value_t)]
    pub dtype: Dtype,
    /// A profile of the pipeline file; several apply in order.
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// A value of the pipeline file.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum Dtype {
    #[default]
    Float32,
    Bfloat16,
}

fn backend(text: &str) -> Result<Backend, String> {
    Backend::from_name(text).ok_or_else(|| "a backend is cpu, wgpu, wgpu:0, cuda or cuda:0".to_string())
}

/// The folders of a model; those of a stage stay for as long as the store is open.
struct Folders {
    model: PathBuf,
    adapter: Option<PathBuf>,
    _store: Option<Store>,
}

impl ModelArgs {
    /// The tokenizer alone.
    fn tokenizer(&self, app: &App, args: &Args) -> Result<Tokenizer, Failure> {
        let folders = self.folders(app, args)?;
        Tokenizer::load(&folders.model).map_err(|error| wrong(&error))
    }

    fn load(&self, app: &App, args: &Args) -> Result<(Decoder, Tokenizer), Failure> {
        let folders = self.folders(app, args)?;
        let tokenizer = Tokenizer::load(&folders.model).map_err(|error| wrong(&error))?;
        let adapter = folders.adapter.iter().chain(&self.adapter).last();
        let decoder = self.decoder(&folders.model, adapter.map(PathBuf::as_path)).map_err(|error| wrong(&error))?;
        Ok((decoder, tokenizer))
    }

    /// On the CPU with packed weights. An adapter is folded in: two products less in every projection of every token.
    fn decoder(&self, model: &Path, adapter: Option<&Path>) -> Result<Decoder, LmError> {
        let on_cpu = self.device == Backend::Cpu;
        let (form, precision) = match self.dtype {
            Dtype::Float32 => (Form::F32, Precision::F32),
            Dtype::Bfloat16 => (Form::Bf16, Precision::Bf16),
        };
        let device = gazal_lm::device::open(self.device.class(), self.device.index())?;
        if !gazal_lm::device::supports(&device, precision) {
            return Err(LmError::Device(format!("`{}` here has no bfloat16: use --dtype float32", self.device)));
        }
        let Some(adapter) = adapter else {
            return if on_cpu {
                Decoder::load_packed(model, form)
            } else {
                Decoder::load_in(model, &device, precision)
            };
        };
        let mut decoder = Decoder::load(model, &device)?;
        load_adapter(&mut decoder, adapter)?;
        let decoder = decoder.merged();
        Ok(if on_cpu { decoder.packed(form) } else { decoder.in_precision(precision) })
    }

    fn folders(&self, app: &App, args: &Args) -> Result<Folders, Failure> {
        match &self.words[..] {
            [folder] if Path::new(folder).is_dir() => Ok(Folders { model: folder.into(), adapter: None, _store: None }),
            [file, stage] => self.of_stage(app, args, file, stage),
            _ => {
                let help = "name a model's folder, or a pipeline file and a stage of it";
                Err(Failure::wrong(format!("`{}` is no folder", self.words.join(" ")), help))
            }
        }
    }

    fn of_stage(&self, app: &App, args: &Args, file: &str, stage: &str) -> Result<Folders, Failure> {
        let which = Which {
            words: vec![file.into(), stage.into()],
            run: None,
            profile: self.profile.clone(),
            set: self.set.clone(),
            backend: Vec::new(),
        };
        let workspace = Workspace::from_words(app, &which)?;
        let [index] = workspace.select()?.targets[..] else {
            return Err(Failure::wrong(format!("`{stage}` has several points"), "name one: cell@seed=0"));
        };
        let store = workspace.open_store(args)?;
        let made = Made { workspace: &workspace, store: &store };
        let view = |artifact: &Artifact| -> Result<PathBuf, Failure> { Ok(store.view(artifact)?) };
        let outputs = &workspace.pipeline.stages[index].outputs;
        let of_kind = |kind| outputs.iter().find(|port| port.kind == kind);
        if let Some(port) = of_kind(PortType::Model) {
            let model = view(&made.artifact(index, &port.name)?)?;
            return Ok(Folders { model, adapter: None, _store: Some(store) });
        }
        let Some(port) = of_kind(PortType::Adapter) else {
            return Err(Failure::wrong(
                format!("`{stage}` makes no model"),
                "name a stage that makes one, or an adapter",
            ));
        };
        let adapter = view(&made.artifact(index, &port.name)?)?;
        let inputs = &workspace.pipeline.stages[index].inputs;
        let base = inputs.iter().find(|input| input.port == "model").and_then(|input| input.from.first());
        let base = base.ok_or_else(|| Failure::wrong(format!("`{stage}` makes an adapter of no model"), ""))?;
        let model = view(&made.artifact(base.stage, &base.output)?)?;
        Ok(Folders { model, adapter: Some(adapter), _store: Some(store) })
    }
}

/// What stages have made, as the pipeline is now.
struct Made<'a> {
    workspace: &'a Workspace,
    store: &'a Store,
}

impl Made<'_> {
    fn artifact(&self, stage: usize, output: &str) -> Result<Artifact, Failure> {
        let Made { workspace, store } = self;
        let name = &workspace.pipeline.stages[stage].name;
        let plan = workspace
            .with_options((*store).clone(), &[], |options| gazal_engine::plan(&workspace.pipeline, options))?;
        let planned = plan.stages.into_iter().find(|planned| planned.name == *name);
        let key = planned.filter(|planned| planned.state == PlanState::Hit).and_then(|planned| planned.key);
        let receipt = key.map(|key| store.receipt(&key)).transpose()?.flatten();
        let made = receipt.and_then(|receipt| receipt.outputs.get(output).map(|output| output.artifact));
        let help = format!("gazal-pipe run {} {name}", workspace.text.name);
        made.ok_or_else(|| Failure::wrong(format!("`{name}` has not run, or is not up to date"), &help))
    }
}

fn wrong(error: &LmError) -> Failure {
    Failure::wrong(error.to_string(), "")
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

/// How to choose tokens, spelled as `generation_config.json` spells it.
#[derive(Debug, clap::Args)]
pub(crate) struct SamplingArgs {
    /// 0 takes the most likely token.
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f64,
    /// Only the most likely tokens; 0 for all.
    #[arg(long, default_value_t = 0)]
    pub top_k: usize,
    /// Only the most likely tokens whose probabilities make this sum.
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Only tokens with this share of the most likely one's probability.
    #[arg(long, default_value_t = 0.0)]
    pub min_p: f64,
    /// Makes what was said less likely; 1 for not.
    #[arg(long, default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Every random choice follows from it.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Tokens of an answer, at most.
    #[arg(long, default_value_t = 512)]
    pub max_new_tokens: usize,
}

impl SamplingArgs {
    fn params(&self) -> gazal_lm::SamplingParams {
        gazal_lm::SamplingParams {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
        }
    }
}

/// Text that is not a line yet.
fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = write!(output, "{text}").and_then(|()| output.flush());
}

/// Seconds since 1970.
fn now() -> Option<i64> {
    let passed = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(passed.as_secs()).ok()
}
