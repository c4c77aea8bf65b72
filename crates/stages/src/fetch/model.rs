//! `fetch-model`: weights, configuration and tokenizer.

use gazal_net::{RemoteFile, Repo, RepoKind};
use gazal_stage_api::{
    Context, Declared, InPort, JsonSchema, Kind, OutPort, Pin, PortType, Problem, StageError, Traits,
};
use serde::{Deserialize, Serialize};

use super::{fetch, main_branch, matches, pin, place, wrong_ids, wrong_patterns};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// A hub id, such as `Qwen/Qwen3-32B`.
    pub model_name_or_path: String,
    /// A branch, a tag or a commit. What it stands at is written into the lock file beside the pipeline, and is in the
    /// key.
    #[serde(default = "main_branch")]
    pub model_revision: String,
    /// The files to fetch.
    #[serde(default = "model_files")]
    pub allow_patterns: Vec<String>,
    /// Files among them to leave out.
    #[serde(default = "other_weights")]
    pub ignore_patterns: Vec<String>,
}

fn model_files() -> Vec<String> {
    ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "LICENSE*"].map(String::from).to_vec()
}

/// Folders in which repositories keep the same weights once more.
fn other_weights() -> Vec<String> {
    ["onnx/*", "original/*", "openvino/*", "coreml/*", "gguf/*"].map(String::from).to_vec()
}

pub struct FetchModel;

impl Kind for FetchModel {
    type Params = Params;
    const NAME: &'static str = "fetch-model";
    const REVISION: u32 = 1;
    const DOC: &'static str = "A model from the hub by its id: weights, configuration, tokenizer.";
    const TRAITS: Traits = Traits { network: true, unkeyed: &["model_revision"], ..Traits::PLAIN };

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("model", PortType::Model, "weights, configuration and tokenizer")]
    }

    fn pins(&self, params: &Params) -> Vec<Pin> {
        vec![pin(&repo(params), &params.model_revision)]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        let mut problems = wrong_ids("model_name_or_path", std::slice::from_ref(&params.model_name_or_path));
        problems.extend(wrong_patterns("allow_patterns", &params.allow_patterns));
        problems.extend(wrong_patterns("ignore_patterns", &params.ignore_patterns));
        problems
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let wanted = |files: &[RemoteFile]| choose(files, &params);
        let files = fetch(&repo(&params), wanted, context)?;
        let output = context.output("model")?;
        files.iter().try_for_each(|(name, from)| place(from, &output.join(name)))
    }
}

fn repo(params: &Params) -> Repo {
    Repo { kind: RepoKind::Model, id: params.model_name_or_path.clone() }
}

fn choose(files: &[RemoteFile], params: &Params) -> Result<Vec<RemoteFile>, StageError> {
    let is_wanted = |name: &str| matches(&params.allow_patterns, name) && !matches(&params.ignore_patterns, name);
    let chosen: Vec<RemoteFile> = files.iter().filter(|file| is_wanted(&file.name)).cloned().collect();
    let is_there = |end: &str| chosen.iter().any(|file| file.name.ends_with(end));
    for needed in ["config.json", ".safetensors"] {
        if !is_there(needed) {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).take(20).collect();
            let (id, names) = (&params.model_name_or_path, names.join(", "));
            return Err(StageError::failed(format!("`{id}` has no {needed} among the wanted files; it has {names}")));
        }
    }
    Ok(chosen)
}
