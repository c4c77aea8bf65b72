//! Routes, limits, and answers: whole, or as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use gazal_lm::{ChatOptions, Tokenizer};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::ServeConfig;
use crate::api::{ChatRequest, CompletionRequest, ErrorBody, ErrorText, Prompt, Usage, Wishes};
use crate::engine::{Job, Told, Wanted};
use crate::wishes::{Asked, Refusal, refusal};

/// What all requests share.
pub(crate) struct Door {
    tokenizer: Tokenizer,
    jobs: SyncSender<Job>,
    config: ServeConfig,
    asked: AtomicU64,
    since: u64,
}

impl Door {
    pub fn new(tokenizer: Tokenizer, jobs: SyncSender<Job>, config: ServeConfig) -> Door {
        Door { tokenizer, jobs, config, asked: AtomicU64::new(0), since: now() }
    }
}

pub(crate) fn router(door: Door) -> Router {
    let door = Arc::new(door);
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(complete))
        .layer(middleware::from_fn_with_state(door.clone(), check_key))
        .route("/health", get(|| async { "ok" }))
        .layer(DefaultBodyLimit::max(door.config.max_body))
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, None, "there is no such path") })
        .with_state(door)
}

/// An answer that is none.
struct Failure {
    status: StatusCode,
    field: Option<&'static str>,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, field: Option<&'static str>, message: impl Into<String>) -> Failure {
        Failure { status, field, message: message.into() }
    }

    fn bad(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, None, message)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let message = format!("`{}` {}", refusal.field, refusal.why);
        Failure::new(StatusCode::BAD_REQUEST, Some(refusal.field), message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (kind, code) = match self.status {
            StatusCode::UNAUTHORIZED => ("authentication_error", Some("invalid_api_key")),
            StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", Some("queue_full")),
            status if status.is_server_error() => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        let error = ErrorText { message: self.message, kind, param: self.field, code };
        let mut response = (self.status, Json(ErrorBody { error })).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

async fn check_key(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    match &door.config.api_key {
        Some(key) if !shows(request.headers(), key) => {
            Failure::new(StatusCode::UNAUTHORIZED, None, "the API key is missing or wrong").into_response()
        }
        _ => next.run(request).await,
    }
}

/// Compares digests, whose time says nothing of the key.
fn shows(headers: &HeaderMap, key: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    given.is_some_and(|given| blake3::hash(given.as_bytes()) == blake3::hash(key.as_bytes()))
}

async fn models(State(door): State<Arc<Door>>) -> Json<Value> {
    let Door { config, since, .. } = &*door;
    let model = json!({
        "id": config.name, "object": "model", "created": since, "owned_by": "gazal-pipe",
        "max_model_len": config.max_model_len,
    });
    Json(json!({"object": "list", "data": [model]}))
}

async fn chat(State(door): State<Arc<Door>>, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let request: ChatRequest = read(body)?;
    let asked = Asked::read(&request.wishes, &door.config)?;
    let prompt = chat_prompt(&door, request.messages, request.chat_template_kwargs, &request.wishes)?;
    answer(&door, Form::Chat, vec![prompt], &asked, &request.wishes).await
}

/// The ids of a conversation, with the beginning of the answer.
fn chat_prompt(
    door: &Door,
    messages: Vec<Value>,
    variables: Map<String, Value>,
    wishes: &Wishes,
) -> Result<Vec<u32>, Failure> {
    if messages.is_empty() {
        return Err(refusal("messages", "must hold at least one message").into());
    }
    let messages: Vec<Value> = messages.into_iter().map(joined).collect();
    let options = ChatOptions {
        add_generation_prompt: true,
        tools: wishes.tools.clone().unwrap_or_default(),
        variables,
        now: Some(now().cast_signed()),
        ..ChatOptions::default()
    };
    door.tokenizer.encode_chat(&messages, &options).map_err(|error| Failure::bad(error.to_string()))
}

/// A message whose content is a list of texts, with one text: templates of text models know no lists.
fn joined(mut message: Value) -> Value {
    if let Some(Value::Array(parts)) = message.get("content") {
        let texts: Option<Vec<&str>> = parts.iter().map(|part| part.get("text")?.as_str()).collect();
        if let Some(texts) = texts {
            message["content"] = texts.concat().into();
        }
    }
    message
}

async fn complete(State(door): State<Arc<Door>>, body: Result<Bytes, BytesRejection>) -> Result<Response, Failure> {
    let request: CompletionRequest = read(body)?;
    let asked = Asked::read(&request.wishes, &door.config)?;
    let encode = |text: &String| door.tokenizer.encode(text).map_err(|error| Failure::bad(error.to_string()));
    let prompts = match &request.prompt {
        Prompt::Ids(ids) if ids.iter().all(|&id| (id as usize) < door.tokenizer.vocab_size()) => vec![ids.clone()],
        Prompt::Ids(_) => return Err(refusal("prompt", "has ids that the model does not know").into()),
        Prompt::Text(text) => vec![encode(text)?],
        Prompt::Texts(texts) => texts.iter().map(encode).collect::<Result<_, _>>()?,
    };
    answer(&door, Form::Completion, prompts, &asked, &request.wishes).await
}

fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Failure> {
    let body = body.map_err(|rejection| Failure::new(rejection.status(), None, rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| Failure::bad(format!("the request cannot be read: {error}")))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Chat,
    Completion,
}

/// A request whose completions are on their way.
struct Answer {
    door: Arc<Door>,
    form: Form,
    id: String,
    created: u64,
    log_probs: bool,
    told: UnboundedReceiver<Told>,
    /// Completions under way.
    open: usize,
    usage: Usage,
}

async fn answer(
    door: &Arc<Door>,
    form: Form,
    prompts: Vec<Vec<u32>>,
    asked: &Asked,
    wishes: &Wishes,
) -> Result<Response, Failure> {
    if let Some(model) = wishes.model.as_ref().filter(|model| **model != door.config.name) {
        let message = format!("there is no model `{model}`; this is `{}`", door.config.name);
        return Err(Failure::new(StatusCode::NOT_FOUND, Some("model"), message));
    }
    let (reply, told) = unbounded_channel();
    let mut open = 0;
    for prompt in &prompts {
        let wanted = (0..asked.n).map(|_| {
            open += 1;
            Ok(Wanted {
                sampling: asked.sampling.clone(),
                max_new_tokens: room(door, prompt, asked)?,
                seed: asked.seed.wrapping_add(open as u64 - 1),
                stops: asked.stops.clone(),
                index: open - 1,
                reply: reply.clone(),
            })
        });
        let job = Job { prompt: prompt.clone(), wanted: wanted.collect::<Result<_, Failure>>()? };
        door.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Failure::new(StatusCode::TOO_MANY_REQUESTS, None, "too many requests wait"),
            TrySendError::Disconnected(_) => Failure::new(StatusCode::SERVICE_UNAVAILABLE, None, "the model is gone"),
        })?;
    }
    drop(reply);
    let number = door.asked.fetch_add(1, Ordering::Relaxed);
    let prefix = if form == Form::Chat { "chatcmpl" } else { "cmpl" };
    let usage = Usage { prompt_tokens: prompts.iter().map(Vec::len).sum(), ..Usage::default() };
    let answer = Answer {
        door: door.clone(),
        form,
        id: format!("{prefix}-{:x}-{number}", door.since),
        created: now(),
        log_probs: asked.log_probs,
        told,
        open,
        usage,
    };
    if wishes.stream {
        return Ok(answer.stream(wishes.stream_options.unwrap_or_default().include_usage));
    }
    answer.whole(open).await
}

/// How many tokens a completion may have.
fn room(door: &Door, prompt: &[u32], asked: &Asked) -> Result<usize, Failure> {
    let longest = door.config.max_model_len;
    let left = longest.saturating_sub(prompt.len());
    let count = prompt.len();
    match asked.max_new_tokens {
        _ if prompt.is_empty() => Err(Failure::bad("the prompt has no tokens")),
        _ if left == 0 => Err(Failure::bad(format!("the prompt has {count} tokens, the model takes {longest}"))),
        Some(wanted) if wanted > left => {
            let why = format!("{wanted} and the prompt's {count} are more than the model's {longest} tokens");
            Err(refusal("max_tokens", why).into())
        }
        Some(wanted) => Ok(wanted),
        None => Ok(left),
    }
}

impl Answer {
    /// The next word; `None` when all has been said, an error when the model has gone.
    async fn next(&mut self) -> Result<Option<Told>, Failure> {
        if self.open == 0 {
            return Ok(None);
        }
        let gone = || Failure::new(StatusCode::INTERNAL_SERVER_ERROR, None, "the model has ended");
        let told = self.told.recv().await.ok_or_else(gone)?;
        self.open -= usize::from(told.end.is_some());
        self.usage.completion_tokens += usize::from(told.token.is_some());
        self.usage.total_tokens = self.usage.prompt_tokens + self.usage.completion_tokens;
        Ok(Some(told))
    }

    async fn whole(mut self, completions: usize) -> Result<Response, Failure> {
        let mut texts = vec![String::new(); completions];
        let mut tokens = vec![Vec::new(); completions];
        let mut ends = vec![None; completions];
        while let Some(told) = self.next().await? {
            texts[told.index] += &told.text;
            tokens[told.index].extend(told.token);
            ends[told.index] = told.end.or(ends[told.index]);
        }
        let choices: Vec<Value> = (0..completions)
            .map(|index| {
                let log_probs = self.log_probs(&tokens[index]);
                let mut choice = json!({"index": index, "logprobs": log_probs, "finish_reason": ends[index]});
                match self.form {
                    Form::Chat => choice["message"] = json!({"role": "assistant", "content": texts[index]}),
                    Form::Completion => choice["text"] = texts[index].as_str().into(),
                }
                choice
            })
            .collect();
        let object = if self.form == Form::Chat { "chat.completion" } else { "text_completion" };
        let mut body = self.envelope(object, &choices);
        body["usage"] = json!(self.usage);
        Ok(Json(body).into_response())
    }

    fn stream(self, include_usage: bool) -> Response {
        let begun: Vec<Value> = match self.form {
            Form::Chat => (0..self.open)
                .map(|index| {
                    let delta = json!({"role": "assistant", "content": ""});
                    json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null})
                })
                .collect(),
            Form::Completion => Vec::new(),
        };
        let first = (!begun.is_empty()).then(|| self.chunk(&begun));
        let state = Streaming { answer: self, first, include_usage, done: false };
        let events = stream::unfold(state, |mut state| async move {
            let event = state.next().await?;
            Some((Ok::<_, Infallible>(event), state))
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
    }

    fn chunk(&self, choices: &[Value]) -> Value {
        let object = if self.form == Form::Chat { "chat.completion.chunk" } else { "text_completion" };
        self.envelope(object, choices)
    }

    fn envelope(&self, object: &str, choices: &[Value]) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.door.config.name,
            "choices": choices,
        })
    }

    fn choice(&self, told: &Told) -> Value {
        let tokens: Vec<(u32, f32)> = told.token.into_iter().collect();
        let mut choice = json!({
            "index": told.index, "logprobs": self.log_probs(&tokens), "finish_reason": told.end,
        });
        match self.form {
            Form::Chat if told.text.is_empty() => choice["delta"] = json!({}),
            Form::Chat => choice["delta"] = json!({"content": told.text}),
            Form::Completion => choice["text"] = told.text.as_str().into(),
        }
        choice
    }

    /// As each form has them; null where they were not asked for.
    fn log_probs(&self, tokens: &[(u32, f32)]) -> Value {
        if !self.log_probs {
            return Value::Null;
        }
        let text = |id: u32| self.door.tokenizer.decode(&[id]).unwrap_or_default();
        match self.form {
            Form::Chat => {
                let one = |&(id, log_prob): &(u32, f32)| {
                    let token = text(id);
                    json!({"token": token, "logprob": log_prob, "bytes": token.as_bytes(), "top_logprobs": []})
                };
                json!({"content": tokens.iter().map(one).collect::<Vec<_>>()})
            }
            Form::Completion => json!({
                "tokens": tokens.iter().map(|(id, _)| text(*id)).collect::<Vec<_>>(),
                "token_logprobs": tokens.iter().map(|(_, log_prob)| *log_prob).collect::<Vec<_>>(),
            }),
        }
    }
}

/// An answer that is told as it comes.
struct Streaming {
    answer: Answer,
    first: Option<Value>,
    include_usage: bool,
    done: bool,
}

impl Streaming {
    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(event(&first));
        }
        if self.done {
            return None;
        }
        loop {
            match self.answer.next().await {
                // A token within a character tells nothing yet.
                Ok(Some(told)) if told.text.is_empty() && told.end.is_none() && !self.answer.log_probs => {}
                Ok(Some(told)) => return Some(event(&self.answer.chunk(&[self.answer.choice(&told)]))),
                Ok(None) if self.include_usage => {
                    self.include_usage = false;
                    let mut last = self.answer.chunk(&[]);
                    last["usage"] = json!(self.answer.usage);
                    return Some(event(&last));
                }
                Ok(None) => {
                    self.done = true;
                    return Some(Event::default().data("[DONE]"));
                }
                Err(failure) => {
                    self.done = true;
                    return Some(event(&json!({"error": {"message": failure.message, "type": "server_error"}})));
                }
            }
        }
    }
}

fn event(value: &Value) -> Event {
    Event::default().data(value.to_string())
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}
