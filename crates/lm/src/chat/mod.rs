//! Chat templates: conversations as the text that a model was trained on.
//!
//! A template is a Jinja program that comes with the model. It runs here in `minijinja`, set up as transformers sets
//! Jinja2 up, so that both write the same text: the same whitespace rules, Python's string methods, `tojson`,
//! `raise_exception`, `strftime_now`, `break` and `continue`. `{% generation %}` marks what the assistant says.

mod files;
mod generation;
mod json;
mod python;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Jinja};
use minijinja::{AutoEscape, Environment, Error};
use serde_json::{Map, Value};

use crate::LmError;
pub(crate) use files::{Templates, load, more_files};
use generation::Markers;

const NAME: &str = "template";

/// What a template sees beside the messages.
#[derive(Clone, Debug, Default)]
pub struct ChatOptions {
    /// Whether the text ends where the assistant begins.
    pub add_generation_prompt: bool,
    /// Qwen3's switch; without a value the template decides.
    pub enable_thinking: Option<bool>,
    /// Functions that the assistant may call, as JSON schemas.
    pub tools: Vec<Value>,
    /// Texts to answer from, objects with `title` and `text`.
    pub documents: Vec<Value>,
    /// What `strftime_now` says: seconds since 1970 on a clock that shows local time. Templates that ask for the date
    /// fail without it.
    pub now: Option<i64>,
    /// Further variables (`chat_template_kwargs`); they go before the tokenizer's.
    pub variables: Map<String, Value>,
}

/// A compiled template with the special tokens that it may name.
#[derive(Clone)]
pub struct ChatTemplate {
    /// Where it comes from, for messages.
    origin: String,
    environment: Environment<'static>,
    /// `bos_token`, `eos_token`, ...
    tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Compiles `source`; `origin` is what messages call it, `tokens` are `bos_token`, `eos_token` and so on.
    ///
    /// # Errors
    /// [`LmError::Chat`] naming `origin` and the line that is no Jinja.
    pub fn new(origin: &str, source: &str, tokens: BTreeMap<String, String>) -> Result<ChatTemplate, LmError> {
        let failed = |error: Error| LmError::Chat { template: origin.into(), message: describe(&error) };
        let mut environment = environment().map_err(failed)?;
        environment.add_template_owned(NAME, generation::rewrite(source)).map_err(failed)?;
        Ok(ChatTemplate { origin: origin.into(), environment, tokens })
    }

    /// The text of a conversation: objects with `role`, `content` and what else the template reads.
    ///
    /// # Errors
    /// [`LmError::Chat`] with what the template raised.
    pub fn render(&self, messages: &[Value], options: &ChatOptions) -> Result<String, LmError> {
        self.write(messages, options, None)
    }

    /// The text, and in it the bytes that the assistant says: what `{% generation %}` surrounds. A template without
    /// that tag has none.
    ///
    /// # Errors
    /// [`LmError::Chat`] with what the template raised, or when it does not write out what the tag surrounds as it is.
    pub fn render_spans(
        &self,
        messages: &[Value],
        options: &ChatOptions,
    ) -> Result<(String, Vec<Range<usize>>), LmError> {
        let plain = self.write(messages, options, None)?;
        let markers = Markers::absent_from(&plain);
        let marked = self.write(messages, options, Some(&markers))?;
        let (text, spans) = markers.take_out(&marked);
        match text == plain {
            true => Ok((text, spans)),
            false => {
                Err(self.error("does not write what is between `{% generation %}` and `{% endgeneration %}` as it is"))
            }
        }
    }

    pub(crate) fn error(&self, message: &str) -> LmError {
        LmError::Chat { template: self.origin.clone(), message: message.into() }
    }

    fn write(&self, messages: &[Value], options: &ChatOptions, markers: Option<&Markers>) -> Result<String, LmError> {
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render(self.context(messages, options, markers)));
        rendered.map_err(|error| self.error(&describe(&error)))
    }

    fn context(&self, messages: &[Value], options: &ChatOptions, markers: Option<&Markers>) -> Jinja {
        let list = |values: &[Value]| (!values.is_empty()).then(|| serde(values));
        let messages: Vec<Value> = messages.iter().map(with_reasoning).collect();
        let mut context = BTreeMap::from([
            ("messages".to_string(), serde(&messages)),
            ("add_generation_prompt".into(), Jinja::from(options.add_generation_prompt)),
            ("tools".into(), Jinja::from(list(&options.tools))),
            ("documents".into(), Jinja::from(list(&options.documents))),
            ("strftime_now".into(), python::strftime_now(options.now)),
            (generation::NAME.into(), Jinja::from(markers.map(Markers::value))),
        ]);
        context.extend(self.tokens.iter().map(|(name, token)| (name.clone(), Jinja::from(token.as_str()))));
        context.extend(options.enable_thinking.map(|value| ("enable_thinking".to_string(), Jinja::from(value))));
        context.extend(options.variables.iter().map(|(name, value)| (name.clone(), serde(value))));
        Jinja::from(context)
    }
}

fn serde<T: serde::Serialize + ?Sized>(value: &T) -> Jinja {
    Jinja::from(Serde(value))
}

/// Instructions that a rendering may take: far more than long conversations do, and seconds of a template that never ends.
const STEPS: u64 = 100_000_000;

/// Jinja2 as transformers sets it up.
fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(STEPS));
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(python::write);
    environment.add_filter("string", python::string);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter(generation::NAME, generation::filter);
    environment.add_function("raise_exception", python::raise_exception);
    environment.add_test("iterable", python::is_iterable);
    environment.add_test("sequence", python::is_sequence);
    Ok(environment)
}

/// Reasoning under the three names that templates read it by, as transformers does.
fn with_reasoning(message: &Value) -> Value {
    let Value::Object(fields) = message else { return message.clone() };
    let names = ["reasoning_content", "thinking", "reasoning"];
    let reasoning = names.iter().find_map(|&name| fields.get(name).filter(|value| !value.is_null()));
    let Some(reasoning) = reasoning else { return message.clone() };
    let mut all = fields.clone();
    all.entry("thinking").or_insert_with(|| reasoning.clone());
    all.insert("reasoning_content".into(), reasoning.clone());
    Value::Object(all)
}

/// The message of an error with its line and what caused it.
fn describe(error: &Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    message
}
