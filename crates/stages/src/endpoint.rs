//! A language model behind an endpoint: what it is asked, what it costs, and what it has said before.
//!
//! Every reply is kept in the memo the moment it comes, under the whole request but for the server's address. So a
//! second run, a run that asks some of the same, and a run after a kill pay for nothing twice, and `offline` replays what
//! is there. What a stage has spent it keeps beside its checkpoints, so that a budget is the stage's and not an attempt's.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gazal_net::{Ask, Chat, ChatConfig, ChatError, Reply, Spent};
use gazal_stage_api::{Asks, Context, JsonSchema, Memo, Problem, StageError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::defaults;

/// Seconds that any request may take.
const LONGEST: f64 = 86_400.0;

/// How a server is asked. Nothing of it is in a key: it decides whether and how fast there is an answer, not which.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Reach {
    /// Up to `/chat/completions` [default: `/v1` of the stage's service].
    pub base_url: Option<String>,
    /// The environment variable that holds the key.
    pub api_key_env: Option<String>,
    /// Seconds for one request.
    pub timeout: f64,
    /// Attempts after the first one that a busy server is worth.
    pub max_retries: u32,
    /// Requests at once.
    pub max_concurrency: usize,
    pub requests_per_minute: Option<f64>,
    /// Requests of this stage in all; then it fails, to be gone on with.
    pub max_calls: Option<u64>,
    /// Tokens of this stage in all; as `max_calls`.
    pub max_total_tokens: Option<u64>,
    /// What a million tokens cost, of questions and of answers.
    pub price: Option<Price>,
    /// Money of this stage in all, in the currency of `price`; as `max_calls`.
    pub max_cost: Option<f64>,
    /// Ask nobody: what the memo does not have fails the stage.
    pub offline: bool,
}

impl Default for Reach {
    fn default() -> Reach {
        Reach {
            base_url: None,
            api_key_env: None,
            timeout: defaults::minute(),
            max_retries: defaults::retries(),
            max_concurrency: defaults::batch(),
            requests_per_minute: None,
            max_calls: None,
            max_total_tokens: None,
            price: None,
            max_cost: None,
            offline: false,
        }
    }
}

/// For a million tokens, in any currency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct Price {
    pub input: f64,
    pub output: f64,
}

impl Price {
    pub fn of(self, spent: Spent) -> f64 {
        spent.cost([self.input, self.output])
    }
}

impl Reach {
    /// Mistakes, with `field` before the names of the parameters.
    pub fn problems(&self, field: &str) -> Vec<Problem> {
        let [timeout, concurrency, rate, cost] =
            ["timeout", "max_concurrency", "requests_per_minute", "max_cost"].map(|name| format!("{field}{name}"));
        defaults::check_positive(&[
            (&timeout, self.timeout),
            (&concurrency, self.max_concurrency as f64),
            (&rate, self.requests_per_minute.unwrap_or(1.0)),
            (&cost, self.max_cost.unwrap_or(1.0)),
        ])
    }

    /// What so many questions take at most, of `[read, written]` tokens each.
    pub fn foresee(&self, requests: u64, [read, written]: [u64; 2]) -> Asks {
        let [prompt_tokens, written] = [read, written].map(|each| each.saturating_mul(requests));
        let spent = Spent { calls: requests, tokens: prompt_tokens.saturating_add(written), prompt_tokens };
        Asks {
            requests,
            tokens: spent.tokens,
            cost: self.price.map(|price| price.of(spent)),
            max_cost: self.max_cost,
            seconds: self.requests_per_minute.map(|rate| requests as f64 / rate * 60.0),
        }
    }

    fn config(&self, field: &str, context: &Context) -> Result<ChatConfig, StageError> {
        let served = || context.service.as_ref().map(|url| format!("{url}/v1"));
        let base_url = self.base_url.clone().or_else(served).ok_or_else(|| {
            let message = "is not given: name the server's address, or a `service` of this stage".to_string();
            StageError::Params(format!("{field}base_url"), message)
        })?;
        let key = self.api_key_env.as_ref().filter(|_| !self.offline);
        Ok(ChatConfig {
            base_url,
            key: key.map(|variable| context.secret(variable)).transpose()?,
            timeout: Duration::from_secs_f64(self.timeout.min(LONGEST)),
            max_retries: self.max_retries,
            max_concurrency: self.max_concurrency,
            requests_per_minute: self.requests_per_minute,
            max_calls: self.max_calls,
            max_total_tokens: self.max_total_tokens,
            price: self.price.map(|price| [price.input, price.output]),
            max_cost: self.max_cost,
        })
    }
}

/// Who is asked.
pub struct Endpoint {
    chat: Chat,
    /// The namespace of the memo.
    memo: &'static str,
    offline: bool,
    /// What was spent, for the next attempt at this stage.
    account: PathBuf,
}

/// What is known of some questions.
#[derive(Default)]
pub struct Replies {
    known: HashMap<String, Reply>,
    /// Why questions stay open.
    pub trouble: Option<ChatError>,
}

impl Replies {
    pub fn to(&self, ask: &Ask) -> Option<&Reply> {
        self.known.get(&ask.to_string())
    }
}

impl Endpoint {
    /// `field` is what stands before the names of the parameters; `account` names the file of what was spent.
    ///
    /// # Errors
    /// No address, or a key that is not set.
    pub fn open(
        reach: &Reach,
        field: &str,
        (memo, account): (&'static str, &str),
        context: &Context,
    ) -> Result<Endpoint, StageError> {
        let wrong = |error: ChatError| StageError::Params(format!("{field}base_url"), error.to_string());
        let account = context.wip().join(account).with_extension("json");
        let spent = fs::read(&account).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let chat = Chat::new(reach.config(field, context)?, spent).map_err(wrong)?;
        Ok(Endpoint { chat, memo, offline: reach.offline, account })
    }

    /// What this stage has spent.
    pub fn spent(&self) -> Spent {
        self.chat.spent()
    }

    /// Replies from the memo, and from the server where that has none.
    ///
    /// # Errors
    /// With a remedy: what stands in the way of every other question too, or `offline` and something is not known.
    pub fn ask<'a>(&self, asks: impl Iterator<Item = &'a Ask>, context: &Context) -> Result<Replies, StageError> {
        let memo = context.memo(self.memo)?;
        let (mut replies, open) = recall(&memo, asks)?;
        if open.is_empty() {
            return Ok(replies);
        }
        if self.offline {
            let what = format!("`offline` is set, and the memo lacks {} answers", open.len());
            return Err(StageError::failed(format!("{what}: run once without it")));
        }
        let mut kept = Ok(());
        self.chat.ask_all(&open, context.cancellation(), &mut |at, outcome| match outcome {
            Ok(reply) => {
                let question = open[at].to_string();
                let put = memo.put(question.as_bytes(), json!(reply).to_string().as_bytes());
                kept = std::mem::replace(&mut kept, Ok(())).and(put).and(self.write_account());
                replies.known.insert(question, reply);
            }
            // What was not asked any more says less than why.
            Err(error) if replies.trouble.as_ref().is_none_or(|trouble| !trouble.is_lasting()) => {
                replies.trouble = Some(error);
            }
            Err(_) => {}
        });
        kept?;
        match &replies.trouble {
            _ if context.cancelled() => Err(StageError::Cancelled),
            Some(trouble) if trouble.is_lasting() => Err(refused(trouble)),
            _ => Ok(replies),
        }
    }

    /// By a new file in the place of the old one: a kill leaves one of them.
    fn write_account(&self) -> Result<(), StageError> {
        let draft = self.account.with_extension("tmp");
        fs::write(&draft, json!(self.chat.spent()).to_string()).map_err(StageError::io(&draft))?;
        fs::rename(&draft, &self.account).map_err(StageError::io(&self.account))
    }
}

/// What the memo knows, and the questions that stay open: each once, in the order in which they came up.
fn recall<'a>(memo: &Memo, asks: impl Iterator<Item = &'a Ask>) -> Result<(Replies, Vec<Ask>), StageError> {
    let (mut replies, mut open, mut seen) = (Replies::default(), Vec::new(), HashSet::new());
    for ask in asks {
        let question = ask.to_string();
        if !seen.insert(question.clone()) {
            continue;
        }
        let kept = memo.get(question.as_bytes())?;
        match kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            Some(reply) => drop(replies.known.insert(question, reply)),
            None => open.push(ask.clone()),
        }
    }
    Ok((replies, open))
}

fn refused(trouble: &ChatError) -> StageError {
    let remedy = match trouble {
        ChatError::Denied(_) => "set the variable that `api_key_env` names to a key that may use it",
        ChatError::Spent(_) => "raise it and run again: the stage goes on where it stopped",
        _ => "check `base_url`, `model` and `max_tokens`",
    };
    StageError::failed(format!("{trouble}; {remedy}"))
}
