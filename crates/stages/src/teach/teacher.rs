//! Who answers, behind one interface.

use std::path::Path;

use gazal_data::canonical;
use gazal_net::{Ask, Spent};
use gazal_stage_api::{Context, StageError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Params;
use super::local::Local;
use crate::endpoint::Endpoint;

/// The namespace of the memo.
pub const MEMO: &str = "teach";

/// A question to a teacher: the messages, and which of several answers is wanted.
#[derive(Clone, Debug)]
pub struct Wish {
    pub messages: Vec<Value>,
    /// A number of its own for each answer; another one gives another answer.
    pub seed: u32,
}

/// What a teacher said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Reasoning that the teacher tells apart is put between `<think>` and `</think>`.
    pub text: String,
    /// Whether it was cut off at its length.
    pub cut: bool,
}

/// A language model that is asked.
#[expect(clippy::large_enum_variant, reason = "there is one in a stage")]
pub enum Teacher {
    Endpoint { endpoint: Endpoint, model: String },
    Local(Local),
}

impl Teacher {
    /// # Errors
    /// No address, or a model that cannot be loaded.
    pub fn open(params: &Params, context: &Context) -> Result<Teacher, StageError> {
        match &params.model {
            Some(model) => {
                let endpoint = Endpoint::open(&params.endpoint, "endpoint.", (MEMO, "teacher"), context)?;
                Ok(Teacher::Endpoint { endpoint, model: model.clone() })
            }
            None => Local::open(context).map(Teacher::Local),
        }
    }

    /// As examples name it.
    pub fn name(&self) -> &str {
        match self {
            Teacher::Endpoint { model, .. } => model,
            Teacher::Local(local) => local.name(),
        }
    }

    /// What has been spent at an endpoint.
    pub fn spent(&self) -> Option<Spent> {
        match self {
            Teacher::Endpoint { endpoint, .. } => Some(endpoint.spent()),
            Teacher::Local(_) => None,
        }
    }

    /// An answer to each wish, or why there is none.
    ///
    /// # Errors
    /// What would stand in the way of every other question too.
    pub fn answer(
        &self,
        params: &Params,
        wishes: &[Wish],
        context: &Context,
    ) -> Result<Vec<Result<Answer, String>>, StageError> {
        match self {
            Teacher::Endpoint { endpoint, model } => {
                let asks: Vec<Ask> = wishes.iter().map(|wish| ask(params, model, wish)).collect();
                let replies = endpoint.ask(asks.iter(), context)?;
                let silence = replies.trouble.as_ref().map_or_else(|| "no answer".into(), ToString::to_string);
                let answer = |ask: &Ask| replies.to(ask).map(said).ok_or_else(|| silence.clone());
                Ok(asks.iter().map(answer).collect())
            }
            Teacher::Local(local) => Ok(local.answer(params, wishes, context)?.into_iter().map(Ok).collect()),
        }
    }
}

/// The whole question to an endpoint. `seed` is part of OpenAI's interface; where a server knows nothing of it, the answers
/// differ by chance.
fn ask(params: &Params, model: &str, wish: &Wish) -> Ask {
    json!({
        "model": model,
        "messages": wish.messages,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "max_tokens": params.max_new_tokens,
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
pub fn memo_key(teacher: &str, params: &Params, wish: &Wish) -> String {
    let mut question = ask(params, teacher, wish);
    question["local"] = true.into();
    canonical(&question)
}

/// The digest of a model's folder: of all its files, by name.
///
/// # Errors
/// A file that cannot be read.
pub fn fingerprint(folders: &[&Path]) -> Result<String, StageError> {
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
