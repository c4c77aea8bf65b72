//! `train-tokenizer`: byte-level BPE on the text that the model will see.

use gazal_lm::train_bpe;
use gazal_stage_api::{
    Context, Declared, Forecast, Foresight, InPort, JsonSchema, Kind, OutPort, PortType, Problem, StageError, Traits,
};
use serde::{Deserialize, Serialize};

use crate::forecast;
use crate::rows::{PromptCompletion, Text, read_split};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Params {
    pub vocab_size: usize,
}

pub struct TrainTokenizer;

/// Bytes, special tokens and the two thinking tags.
const SMALLEST: usize = 256 + 5;

impl Kind for TrainTokenizer {
    type Params = Params;
    const NAME: &'static str = "train-tokenizer";
    const REVISION: u32 = 1;
    const DOC: &'static str = "Trains a byte-level BPE tokenizer (the `tokenizers` crate).";
    const TRAITS: Traits = Traits::PLAIN;

    fn inputs(&self, _: &Params, _: &Declared) -> Vec<InPort> {
        vec![InPort::many("dataset", PortType::Dataset, "`text`, or `prompt` and `completion`")]
    }

    fn outputs(&self, _: &Params, _: &Declared) -> Vec<OutPort> {
        vec![OutPort::value("tokenizer", PortType::Tokenizer, "`tokenizer.json`, `tokenizer_config.json`")]
    }

    fn validate(&self, params: &Params) -> Vec<Problem> {
        if params.vocab_size <= SMALLEST {
            return vec![Problem::new("vocab_size", format!("must be above {SMALLEST}: every byte is a token"))];
        }
        Vec::new()
    }

    fn forecast(&self, params: &Params, _: &Foresight) -> Forecast {
        Forecast { outputs: forecast::tokenizer(params.vocab_size), ..Forecast::default() }
    }

    fn run(&self, params: Params, context: &mut Context) -> Result<(), StageError> {
        let folders = context.inputs("dataset").to_vec();
        let mut texts = Vec::new();
        for folder in &folders {
            match read_split::<Text>(&[folder], "train") {
                Ok(rows) => texts.extend(rows.into_iter().map(|row| row.text)),
                Err(_) => {
                    let rows = read_split::<PromptCompletion>(&[folder], "train")?;
                    texts.extend(rows.into_iter().map(|row| row.prompt + &row.completion));
                }
            }
        }
        train_bpe(&texts, params.vocab_size, context.output("tokenizer")?).map_err(StageError::failed)
    }
}
