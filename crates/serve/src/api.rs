//! Requests and answers as OpenAI's interface has them; nothing but their shape.
//!
//! Fields that would change the answer and are not served are refused, not passed over; all others that a client may
//! send are ignored.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What both kinds of request share.
#[derive(Debug, Deserialize)]
pub(crate) struct Wishes {
    pub model: Option<String>,
    #[serde(alias = "max_completion_tokens")]
    pub max_tokens: Option<usize>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<usize>,
    pub min_p: Option<f64>,
    pub repetition_penalty: Option<f64>,
    pub seed: Option<i64>,
    pub stop: Option<Stop>,
    pub n: Option<usize>,
    #[serde(default)]
    pub stream: bool,
    pub stream_options: Option<StreamOptions>,
    /// A flag for chats, a number for completions.
    pub logprobs: Option<Value>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub logit_bias: Option<Map<String, Value>>,
    pub response_format: Option<Value>,
    pub best_of: Option<usize>,
    pub echo: Option<bool>,
    pub suffix: Option<String>,
    pub tools: Option<Vec<Value>>,
    pub tool_choice: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    pub messages: Vec<Value>,
    /// Further variables of the template, such as `enable_thinking`.
    #[serde(default)]
    pub chat_template_kwargs: Map<String, Value>,
    #[serde(flatten)]
    pub wishes: Wishes,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CompletionRequest {
    pub prompt: Prompt,
    #[serde(flatten)]
    pub wishes: Wishes,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Prompt {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub total_tokens: usize,
}

#[derive(Serialize)]
pub(crate) struct ErrorBody {
    pub error: ErrorText,
}

#[derive(Serialize)]
pub(crate) struct ErrorText {
    pub message: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub param: Option<&'static str>,
    pub code: Option<&'static str>,
}
