//! A language model that is asked about rows: one behind an endpoint, or the model of an earlier stage.
//!
//! Every answer is kept in the memo under all that it follows from: the model, the question, how it samples.

mod local;
pub mod wording;

use std::path::Path;

use gazal_data::{canonical, row_digest};
use gazal_net::{Ask, Spent};
use gazal_stage_api::{Context, Forecast, InPort, PortType, Problem, StageError, Traits};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Reach};
use crate::{defaults, forecast};
use local::Local;

/// How a model is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The namespace of the memo.
    pub memo: &'static str,
    /// The model's id at the endpoint; without it the model at the port `model` answers.
    pub model: Option<&'a str>,
    pub endpoint: &'a Reach,
    pub temperature: f64,
    pub top_p: f64,
    pub max_new_tokens: usize,
    /// Rows that a model of an earlier stage answers side by side.
    pub batch_size: usize,
}

/// Rows that are asked about side by side.
pub const AT_ONCE: usize = 256;

/// Of kinds that ask, with parameters that are named as [`Asking`]'s.
pub const TRAITS: Traits =
    Traits { network: true, memo: true, secrets: true, unkeyed: &["endpoint", "batch_size"], ..defaults::LEARNING };

impl Asking<'_> {
    /// The ports that say who is asked, where it is no endpoint.
    pub fn ports(&self, doc: &'static str) -> Vec<InPort> {
        match self.model {
            Some(_) => Vec::new(),
            None => vec![
                InPort::one("model", PortType::Model, doc),
                InPort::optional("adapter", PortType::Adapter, "a PEFT folder for it"),
            ],
        }
    }

    /// Mistakes in the parameters.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = defaults::check_positive(&[
            ("max_new_tokens", self.max_new_tokens as f64),
            ("batch_size", self.batch_size as f64),
        ]);
        problems.extend(self.endpoint.problems("endpoint."));
        problems.extend(defaults::check_share("top_p", self.top_p));
        if self.temperature.is_nan() || self.temperature < 0.0 {
            problems.push(Problem::new("temperature", "must be 0 or more"));
        }
        problems
    }

    /// What so many questions of so many tokens take, and the `rows` of the output `dataset`.
    pub fn forecast(&self, requests: u64, read: u64, rows: u64) -> Forecast {
        let asks = self.endpoint.foresee(requests, [read, self.max_new_tokens as u64]);
        Forecast {
            work: Some(requests as f64),
            asks: self.model.is_some().then_some(asks),
            outputs: forecast::dataset(rows),
            ..Forecast::default()
        }
    }
}

/// A question: the messages, and which of several answers is wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    pub messages: Vec<Value>,
    /// A number of its own for each answer; another one gives another answer.
    pub seed: u32,
}

impl Wish {
    /// With the number that belongs to `of`.
    pub fn new(messages: Vec<Value>, of: &Value) -> Wish {
        let [a, b, c, d, ..] = *row_digest(of).as_bytes();
        // Some servers take no number that is negative as one of 32 bits.
        Wish { messages, seed: u32::from_le_bytes([a, b, c, d]) >> 1 }
    }
}

/// What the model said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Reasoning that the teacher tells apart is put between `<think>` and `</think>`.
    pub text: String,
    /// Whether it was cut off at its length.
    pub cut: bool,
}

/// A language model that is asked.
pub struct Respondent<'a> {
    asking: Asking<'a>,
    model: Model,
}

#[expect(clippy::large_enum_variant, reason = "there is one in a stage")]
enum Model {
    Endpoint { endpoint: Endpoint, name: String },
    Local(Local),
}

impl<'a> Respondent<'a> {
    /// # Errors
    /// No address, or a model that cannot be loaded.
    pub fn open(asking: Asking<'a>, context: &Context) -> Result<Respondent<'a>, StageError> {
        let model = match asking.model {
            Some(model) => {
                let endpoint = Endpoint::open(asking.endpoint, "endpoint.", (asking.memo, asking.memo), context)?;
                Model::Endpoint { endpoint, name: model.to_string() }
            }
            None => Model::Local(Local::open(context)?),
        };
        Ok(Respondent { asking, model })
    }

    /// As rows name it.
    pub fn name(&self) -> &str {
        match &self.model {
            Model::Endpoint { name, .. } => name,
            Model::Local(local) => local.name(),
        }
    }

    /// What has been spent at an endpoint.
    pub fn spent(&self) -> Option<Spent> {
        match &self.model {
            Model::Endpoint { endpoint, .. } => Some(endpoint.spent()),
            Model::Local(_) => None,
        }
    }

    /// Money, where the price is known.
    pub fn cost(&self) -> f64 {
        self.asking.endpoint.price.zip(self.spent()).map_or(0.0, |(price, spent)| price.of(spent))
    }

    /// An answer to each wish, or why there is none.
    ///
    /// # Errors
    /// What would stand in the way of every other question too.
    pub fn answer(&self, wishes: &[Wish], context: &Context) -> Result<Vec<Result<Answer, String>>, StageError> {
        match &self.model {
            Model::Endpoint { endpoint, name } => {
                let asks: Vec<Ask> = wishes.iter().map(|wish| ask(&self.asking, name, wish)).collect();
                let replies = endpoint.ask(asks.iter(), context)?;
                let silence = replies.trouble.as_ref().map_or_else(|| "no answer".into(), ToString::to_string);
                let answer = |ask: &Ask| replies.to(ask).map(said).ok_or_else(|| silence.clone());
                Ok(asks.iter().map(answer).collect())
            }
            Model::Local(local) => Ok(local.answer(&self.asking, wishes, context)?.into_iter().map(Ok).collect()),
        }
    }
}

/// The whole question to an endpoint. `seed` is part of OpenAI's interface; where a server knows nothing of it, the answers
/// differ by chance.
fn ask(asking: &Asking, model: &str, wish: &Wish) -> Ask {
    json!({
        "model": model,
        "messages": wish.messages,
        "temperature": asking.temperature,
        "top_p": asking.top_p,
        "max_tokens": asking.max_new_tokens,
        "seed": wish.seed,
    })
}

fn said(reply: &gazal_net::Reply) -> Answer {
    let text = match &reply.reasoning {
        Some(reasoning) => format!("<think>\n{}\n</think>\n\n{}", reasoning.trim(), reply.text.trim_start()),
        None => reply.text.clone(),
    };
    Answer { text, cut: reply.cut }
}

/// What a local model's answer is kept under.
fn memo_key(asking: &Asking, model: &str, wish: &Wish) -> String {
    let mut question = ask(asking, model, wish);
    question["local"] = true.into();
    canonical(&question)
}

/// The digest of a model's folder: of all its files, by name.
///
/// # Errors
/// A file that cannot be read.
fn fingerprint(folders: &[&Path]) -> Result<String, StageError> {
    let mut hasher = blake3::Hasher::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).map_err(StageError::io(folder))?;
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().as_encoded_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
            let content = std::fs::File::open(&file).and_then(|content| {
                let size = content.metadata()?.len();
                Ok((size, blake3::Hasher::new().update_reader(content)?.finalize()))
            });
            let (size, digest) = content.map_err(StageError::io(&file))?;
            hasher.update(&size.to_le_bytes()).update(digest.as_bytes());
        }
    }
    Ok(hasher.finalize().to_hex()[..32].to_string())
}
