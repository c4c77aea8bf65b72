//! `import-gguf`: a model from llama.cpp's one file, as a Hugging Face folder.

use std::path::PathBuf;

use gazal_lm::{import_gguf, weights::Precision};
use gazal_stage_api::{Context, Declared, InPort, JsonSchema, Kind, OutPort, PortType, StageError, Traits};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    /// The file.
    pub gguf_file: PathBuf,
    /// What the weights are written in, whatever they are quantised to in the file.
    #[serde(default)]
    pub dtype: Dtype,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Dtype {
    #[default]
    Float32,
    Bfloat16,
    Float16,
}

pub struct ImportGguf;

impl Kind for ImportGguf {
    type Params = Params;
    const NAME: &'static str = "import-gguf";
    const REVISION: u32 = 1;
    const DOC: &'static str = "A model from a GGUF file: llama, qwen2 and qwen3, with tokenizer and chat template.";
    const TRAITS: Traits = Traits { paths: &["gguf_file"], ..Traits::PLAIN };

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        Vec::new()
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("model", PortType::Model, "weights, configuration and tokenizer")]
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let precision = match params.dtype {
            Dtype::Float32 => Precision::F32,
            Dtype::Bfloat16 => Precision::Bf16,
            Dtype::Float16 => Precision::F16,
        };
        let [file] = context.paths("gguf_file") else {
            return Err(StageError::Params("gguf_file".into(), "names no file".into()));
        };
        import_gguf(file, context.output("model")?, precision).map_err(StageError::failed)
    }
}
