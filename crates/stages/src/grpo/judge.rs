//! A language model as a reward: what it is asked, what it costs, and what it has said before.
//!
//! Every reply is kept in the memo the moment it comes, under the whole request but for the server's address. So a
//! second run, a run with another learning rate that samples the same texts, and a run after a kill pay for nothing
//! twice, and `offline` replays what is there.
//!
//! A reply that is no tier, a question that the server finds wrong, or silence after all attempts is a missing reward.
//! The first is kept as well, since
//! asking again would be asking until the judge says something else; the second is not. Three things fail the stage
//! instead, since going on would train on something else than the file says: a server that refuses us, a budget that is
//! spent, and a step of which not one answer could be judged. The stage goes on from its checkpoint.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gazal_net::{Ask, Chat, ChatConfig, ChatError, Reply};
use gazal_stage_api::{Context, Level, Memo, StageError};
use gazal_tasks::rewards::judge::{NO_ANSWER, tier};
use gazal_tasks::{Item, answer_part};
use serde_json::json;

use super::rewards::JudgeReward;
use super::scoring::Scored;

/// The namespace of the memo.
const MEMO: &str = "judge";
/// Seconds that any request may take.
const LONGEST: f64 = 86_400.0;

pub struct Judge {
    params: JudgeReward,
    name: String,
    chat: Chat,
    /// What was spent, for the next attempt at this stage.
    account: PathBuf,
}

impl Judge {
    /// # Errors
    /// No address, or a key that is not set.
    pub fn open(params: &JudgeReward, name: &str, at: usize, context: &Context) -> Result<Judge, StageError> {
        let wrong = |error: ChatError| StageError::Params(format!("reward_funcs[{at}].base_url"), error.to_string());
        let account = context.wip().join(format!("judge-{at}.json"));
        let spent = fs::read(&account).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let chat = Chat::new(config(params, at, context)?, spent).map_err(wrong)?;
        Ok(Judge { params: params.clone(), name: name.into(), chat, account })
    }

    /// The tiers, NaN where there is none.
    ///
    /// # Errors
    /// See the module.
    pub fn score(&self, rows: &[Scored], context: &mut Context) -> Result<Vec<f64>, StageError> {
        let asks: Vec<Option<Ask>> = rows.iter().map(|row| self.ask(row)).collect();
        let mut replies = Replies::recall(&context.memo(MEMO)?, asks.iter().flatten())?;
        if !replies.open.is_empty() {
            self.complete(&mut replies, context)?;
        }
        let verdict = |ask: &Option<Ask>| match ask {
            None => NO_ANSWER,
            Some(ask) => replies.known.get(&ask.to_string()).and_then(|reply| tier(&reply.text)).unwrap_or(f64::NAN),
        };
        let verdicts: Vec<f64> = asks.iter().map(verdict).collect();
        let missing = verdicts.iter().filter(|verdict| verdict.is_nan()).count();
        if missing > 0 {
            let why = replies.trouble.as_ref().map_or_else(|| "its reply is no tier".into(), ToString::to_string);
            let text = format!("reward `{}`: {missing} of {} could not be judged: {why}", self.name, verdicts.len());
            if replies.trouble.is_some() && missing == verdicts.len() {
                return Err(StageError::failed(text + "; the stage goes on from its checkpoint when it answers"));
            }
            context.say(Level::Warning, text);
        }
        Ok(verdicts)
    }

    /// What the judge is asked about a completion; nothing where it has no answer.
    fn ask(&self, row: &Scored) -> Option<Ask> {
        let answer = answer_part(row.completion.text)?.trim();
        let prompt =
            self.params.prompt_template.fill(row.question.prompt.trim(), &reference(&row.question.item), answer);
        (!answer.is_empty()).then(|| {
            json!({
                "model": self.params.model,
                "messages": [{ "role": "user", "content": prompt }],
                "temperature": self.params.temperature,
                "max_tokens": self.params.max_tokens,
            })
        })
    }

    /// Asks what is not known, and keeps each reply.
    fn complete(&self, replies: &mut Replies, context: &Context) -> Result<(), StageError> {
        let open = std::mem::take(&mut replies.open);
        if self.params.offline {
            let (name, model, count) = (&self.name, &self.params.model, open.len());
            let what = format!("`offline` is set, and the memo lacks {count} verdicts of `{model}`");
            return Err(StageError::failed(format!("reward `{name}`: {what}: run once without it")));
        }
        let memo = context.memo(MEMO)?;
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
            Some(trouble) if trouble.is_lasting() => Err(self.refused(trouble)),
            _ => Ok(()),
        }
    }

    fn refused(&self, trouble: &ChatError) -> StageError {
        let remedy = match trouble {
            ChatError::Denied(_) => "set the variable that `api_key_env` names to a key that may use it",
            ChatError::Spent(_) => "raise it and run again: the stage goes on from its checkpoint",
            _ => "check `base_url`, `model` and `max_tokens`",
        };
        StageError::failed(format!("reward `{}`: {trouble}; {remedy}", self.name))
    }

    /// By a new file in the place of the old one: a kill leaves one of them.
    fn write_account(&self) -> Result<(), StageError> {
        let draft = self.account.with_extension("tmp");
        fs::write(&draft, json!(self.chat.spent()).to_string()).map_err(StageError::io(&draft))?;
        fs::rename(&draft, &self.account).map_err(StageError::io(&self.account))
    }
}

fn config(params: &JudgeReward, at: usize, context: &Context) -> Result<ChatConfig, StageError> {
    let served = || context.service.as_ref().map(|url| format!("{url}/v1"));
    let base_url = params.base_url.clone().or_else(served).ok_or_else(|| {
        let message = "is not given: name the judge's address, or a `service` of this stage".to_string();
        StageError::Params(format!("reward_funcs[{at}].base_url"), message)
    })?;
    let key = params.api_key_env.as_ref().filter(|_| !params.offline);
    Ok(ChatConfig {
        base_url,
        key: key.map(|variable| context.secret(variable)).transpose()?,
        timeout: Duration::from_secs_f64(params.timeout.min(LONGEST)),
        max_retries: params.max_retries,
        max_concurrency: params.max_concurrency,
        requests_per_minute: params.requests_per_minute,
        max_calls: params.max_calls,
        max_total_tokens: params.max_total_tokens,
    })
}

/// The right answer as the judge reads it.
fn reference(item: &Item) -> String {
    format!("{}. {}", item.answer_label(), item.options.get(item.answer).map_or("", String::as_str))
}

/// What is known of a step's questions.
struct Replies {
    known: HashMap<String, Reply>,
    /// Each once, in the order in which they came up.
    open: Vec<Ask>,
    /// Why questions stay open.
    trouble: Option<ChatError>,
}

impl Replies {
    fn recall<'a>(memo: &Memo, asks: impl Iterator<Item = &'a Ask>) -> Result<Replies, StageError> {
        let mut replies = Replies { known: HashMap::new(), open: Vec::new(), trouble: None };
        for ask in asks {
            let question = ask.to_string();
            if replies.known.contains_key(&question) || replies.open.contains(ask) {
                continue;
            }
            let kept = memo.get(question.as_bytes())?;
            match kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                Some(reply) => drop(replies.known.insert(question, reply)),
                None => replies.open.push(ask.clone()),
            }
        }
        Ok(replies)
    }
}
