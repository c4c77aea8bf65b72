//! A model behind OpenAI's interface (`POST /chat/completions`), asked one question at a time or many side by side.
//!
//! It costs money or patience, so what may be asked of it is limited: requests at once, a minute, and in all, and the
//! tokens that they take. The key is sent to that server alone, redirections are not followed, and no message of this
//! module has it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, StatusCode};
use url::Url;

use crate::client::{CONNECT, LONGEST_PAUSE, Miss, Trouble, asked_for, patiently, rest};

/// Between asking whether to stop.
const TICK: Duration = Duration::from_millis(20);
/// Bytes of an answer; what is longer is no answer to a question asked here.
const LARGEST: u64 = 16 << 20;
/// Bytes of a token, where a server does not say how many it took.
const TOKEN: u64 = 4;

/// How a server is asked.
#[derive(Clone)]
pub struct ChatConfig {
    /// Up to `/chat/completions`: `https://api.openai.com/v1`.
    pub base_url: String,
    pub key: Option<String>,
    /// For one request, its answer included.
    pub timeout: Duration,
    /// Attempts after the first one that a busy or unreachable server is worth.
    pub max_retries: u32,
    /// Requests at once.
    pub max_concurrency: usize,
    /// At least one: a pause is a minute at most.
    pub requests_per_minute: Option<f64>,
    /// Requests in all, repeated ones too.
    pub max_calls: Option<u64>,
    /// Tokens in all. No request is sent once they are spent; those that are under way may go beyond.
    pub max_total_tokens: Option<u64>,
    /// Of a million tokens of questions and of answers.
    pub price: Option<[f64; 2]>,
    /// Money in all, as `price` counts it; as `max_total_tokens`. Without a price nothing costs anything.
    pub max_cost: Option<f64>,
}

/// The body of a request, and so the whole question: the model, its messages, how it samples.
pub type Ask = Value;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Empty where the server answered without a text.
    pub text: String,
    /// What the server tells apart as the model's reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Of question and answer.
    pub tokens: u64,
    /// Of the question.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Whether it ends where `max_tokens` cut it off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Requests and tokens so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    pub calls: u64,
    /// Of questions and answers.
    pub tokens: u64,
    /// Of questions.
    #[serde(default)]
    pub prompt_tokens: u64,
}

impl Spent {
    /// Money, at the price of a million tokens of questions and of answers.
    pub fn cost(self, [input, output]: [f64; 2]) -> f64 {
        let answers = self.tokens.saturating_sub(self.prompt_tokens);
        (self.prompt_tokens as f64 * input + answers as f64 * output) / 1e6
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    #[error("`{0}` is no URL of a server")]
    Url(String),
    #[error("the server refuses the key: {0}")]
    Denied(StatusCode),
    #[error("the server answers {status}: {message}")]
    Refused { status: StatusCode, message: String },
    #[error("no answer: {0}")]
    Unreachable(String),
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
    #[error("{0}")]
    Spent(String),
    #[error("stopped")]
    Cancelled,
}

impl ChatError {
    /// Whether every other question would meet the same, until a person changes something. A question that the server
    /// finds wrong may be so alone: too long for the model, or caught by a filter.
    pub fn is_lasting(&self) -> bool {
        match self {
            ChatError::Url(_) | ChatError::Denied(_) | ChatError::Spent(_) => true,
            ChatError::Refused { status, .. } => !matches!(status.as_u16(), 400 | 413 | 422),
            ChatError::Unreachable(_) | ChatError::Unreadable(_) | ChatError::Cancelled => false,
        }
    }
}

/// A server.
pub struct Chat {
    agent: Agent,
    url: Url,
    config: ChatConfig,
    /// When the next request may be sent.
    next: Mutex<Instant>,
    spent: Mutex<Spent>,
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    /// As DeepSeek, vLLM and SGLang name it.
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    total_tokens: u64,
    #[serde(default)]
    prompt_tokens: u64,
}

impl Chat {
    /// `spent` is what an earlier attempt at the same work has spent.
    ///
    /// # Errors
    /// A `base_url` that is none.
    pub fn new(config: ChatConfig, spent: Spent) -> Result<Chat, ChatError> {
        let wrong = || ChatError::Url(config.base_url.clone());
        let mut url = Url::parse(&config.base_url).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(["chat", "completions"]);
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT.min(config.timeout)))
            .timeout_global(Some(config.timeout))
            .user_agent(concat!("gazal-pipe/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Ok(Chat { agent, url, config, next: Mutex::new(Instant::now()), spent: Mutex::new(spent) })
    }

    pub fn spent(&self) -> Spent {
        *lock(&self.spent)
    }

    /// Asks all questions, as many at once as may be; `heard` is told each outcome as it comes, by the question's
    /// index, in no order, and no further question is sent in an answer's place before it was told: who keeps answers as
    /// they come loses none but those under way. Once something lasting is in the way no further question is sent.
    /// Returns when none is under way any more.
    pub fn ask_all(
        &self,
        questions: &[Ask],
        cancelled: &dyn Fn() -> bool,
        heard: &mut dyn FnMut(usize, Result<Reply, ChatError>),
    ) {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, outcomes) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..self.config.max_concurrency.clamp(1, questions.len().max(1)) {
                let (sender, next, stop) = (sender.clone(), &next, &stop);
                scope.spawn(move || {
                    while let Some(at) = Some(next.fetch_add(1, Ordering::SeqCst)).filter(|at| *at < questions.len()) {
                        let outcome = self.ask(&questions[at], &|| stop.load(Ordering::SeqCst));
                        if outcome.as_ref().is_err_and(ChatError::is_lasting) {
                            stop.store(true, Ordering::SeqCst);
                        }
                        let (told, was_told) = mpsc::sync_channel(1);
                        let _ = sender.send((at, outcome, told));
                        let _ = was_told.recv();
                    }
                });
            }
            drop(sender);
            loop {
                match outcomes.recv_timeout(TICK) {
                    Ok((at, outcome, told)) => {
                        heard(at, outcome);
                        let _ = told.send(());
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
                if cancelled() {
                    stop.store(true, Ordering::SeqCst);
                }
            }
        });
    }

    /// Asks one question, until there is an answer or a reason to give up.
    ///
    /// # Errors
    /// [`ChatError`].
    pub fn ask(&self, question: &Ask, cancelled: &dyn Fn() -> bool) -> Result<Reply, ChatError> {
        let attempts = self.config.max_retries.saturating_add(1);
        let answer =
            patiently(attempts, cancelled, || self.once(question, cancelled)).map_err(|trouble| match trouble {
                Trouble::Status(status) => ChatError::Refused { status, message: String::new() },
                Trouble::Unreachable(why) => ChatError::Unreachable(why),
                Trouble::Spent(what) => ChatError::Spent(what),
                Trouble::Cancelled => ChatError::Cancelled,
            })?;
        let (status, text) = (answer.status(), answer.into_body());
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ChatError::Denied(status)),
            status if !status.is_success() => Err(ChatError::Refused { status, message: self.shown(&text) }),
            _ => self.read(question, &text),
        }
    }

    /// One request, in its turn.
    fn once(&self, question: &Ask, cancelled: &dyn Fn() -> bool) -> Result<Response<String>, Miss> {
        self.wait_for_turn(cancelled);
        if cancelled() {
            return Err(Miss::Final(Trouble::Cancelled));
        }
        self.spend_call().map_err(|what| Miss::Final(Trouble::Spent(what)))?;
        let mut request = self.agent.post(self.url.as_str()).header("Content-Type", "application/json");
        if let Some(key) = &self.config.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let worth = |error: ureq::Error| Miss::Worth(self.shown(&error.to_string()));
        let (parts, mut body) = request.send(question.to_string()).map_err(worth)?.into_parts();
        if let Some(pause) = asked_for(&parts.headers) {
            self.hold_back(pause.min(LONGEST_PAUSE));
        }
        let text = body.with_config().limit(LARGEST).read_to_string().map_err(worth)?;
        Ok(Response::from_parts(parts, text))
    }

    fn read(&self, question: &Ask, text: &str) -> Result<Reply, ChatError> {
        let unreadable = |error: &dyn std::fmt::Display| ChatError::Unreadable(self.shown(&error.to_string()));
        let answer: Answer = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
        let choice = answer.choices.into_iter().next().ok_or_else(|| unreadable(&"it has no choice"))?;
        let content = choice.message.content.unwrap_or_default();
        let reasoning = choice.message.reasoning_content.filter(|reasoning| !reasoning.is_empty());
        let guess = || {
            let said = content.len() + reasoning.as_ref().map_or(0, String::len);
            let [prompt, said] = [question.to_string().len(), said].map(|bytes| bytes as u64 / TOKEN);
            Usage { total_tokens: prompt + said, prompt_tokens: prompt }
        };
        let Usage { total_tokens: tokens, prompt_tokens } = answer.usage.unwrap_or_else(guess);
        let mut spent = lock(&self.spent);
        spent.tokens += tokens;
        spent.prompt_tokens += prompt_tokens;
        let cut = choice.finish_reason.as_deref() == Some("length");
        Ok(Reply { text: content, reasoning, tokens, prompt_tokens, cut })
    }

    fn wait_for_turn(&self, cancelled: &dyn Fn() -> bool) {
        let turn = {
            let mut next = lock(&self.next);
            let turn = (*next).max(Instant::now());
            let seconds =
                self.config.requests_per_minute.map(|rate| (60.0 / rate).clamp(0.0, LONGEST_PAUSE.as_secs_f64()));
            let between = seconds.map(Duration::from_secs_f64);
            *next = turn + between.unwrap_or_default();
            turn
        };
        rest(turn.saturating_duration_since(Instant::now()), cancelled);
    }

    /// A server that asks to be left alone is left alone by all.
    fn hold_back(&self, pause: Duration) {
        let mut next = lock(&self.next);
        *next = (*next).max(Instant::now() + pause);
    }

    fn spend_call(&self) -> Result<(), String> {
        let mut spent = lock(&self.spent);
        if self.config.max_calls.is_some_and(|most| spent.calls >= most) {
            return Err(format!("`max_calls` is spent: {} requests", spent.calls));
        }
        if self.config.max_total_tokens.is_some_and(|most| spent.tokens >= most) {
            return Err(format!("`max_total_tokens` is spent: {} tokens", spent.tokens));
        }
        let cost = self.config.price.map_or(0.0, |price| spent.cost(price));
        if self.config.max_cost.is_some_and(|most| cost >= most) {
            return Err(format!("`max_cost` is spent: {cost:.2}"));
        }
        spent.calls += 1;
        Ok(())
    }

    /// The beginning of what a server or a library says, without the key.
    fn shown(&self, text: &str) -> String {
        let clean = match &self.config.key {
            Some(key) => text.replace(key.as_str(), "…"),
            None => text.to_string(),
        };
        clean.chars().take(300).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
