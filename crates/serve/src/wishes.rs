//! From what a client wishes to what the model is asked for, or a refusal that names the field.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use gazal_lm::SamplingParams;
use serde_json::Value;

use crate::ServeConfig;
use crate::api::{Stop, Wishes};

/// A refusal: the field and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub field: &'static str,
    pub why: String,
}

/// What every completion of a request is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    pub sampling: SamplingParams,
    pub max_new_tokens: Option<usize>,
    pub stops: Vec<String>,
    pub seed: u64,
    /// Completions of each prompt.
    pub n: usize,
    pub log_probs: bool,
}

impl Asked {
    pub fn read(wishes: &Wishes, config: &ServeConfig) -> Result<Asked, Refusal> {
        refuse_others(wishes)?;
        let standard = SamplingParams::default();
        let sampling = SamplingParams {
            temperature: within("temperature", wishes.temperature, 0.0..=100.0)?.unwrap_or(standard.temperature),
            top_p: within("top_p", wishes.top_p, 0.0..=1.0)?.unwrap_or(standard.top_p),
            top_k: wishes.top_k.unwrap_or(standard.top_k),
            min_p: within("min_p", wishes.min_p, 0.0..=1.0)?.unwrap_or(standard.min_p),
            repetition_penalty: within("repetition_penalty", wishes.repetition_penalty, 0.01..=100.0)?
                .unwrap_or(standard.repetition_penalty),
        };
        let n = wishes.n.unwrap_or(1);
        if n == 0 || n > config.max_n {
            return Err(refusal("n", format!("must be from 1 to {}", config.max_n)));
        }
        if wishes.max_tokens == Some(0) {
            return Err(refusal("max_tokens", "must be 1 or more"));
        }
        let stops = match &wishes.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Many(stops)) => stops.clone(),
        };
        Ok(Asked {
            sampling,
            max_new_tokens: wishes.max_tokens,
            stops,
            seed: wishes.seed.map_or_else(random, i64::cast_unsigned),
            n,
            log_probs: matches!(&wishes.logprobs, Some(Value::Bool(true) | Value::Number(_))),
        })
    }
}

/// Fields that would change the answer, and that this server does not know how to obey.
fn refuse_others(wishes: &Wishes) -> Result<(), Refusal> {
    let is_zero = |value: Option<f64>| value.is_none_or(|value| value == 0.0);
    let is_text = |value: &Value| value.get("type").and_then(Value::as_str) == Some("text");
    let refused = [
        ("presence_penalty", !is_zero(wishes.presence_penalty)),
        ("frequency_penalty", !is_zero(wishes.frequency_penalty)),
        ("logit_bias", wishes.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty())),
        ("response_format", wishes.response_format.as_ref().is_some_and(|format| !is_text(format))),
        ("best_of", wishes.best_of.is_some_and(|best| best != wishes.n.unwrap_or(1))),
        ("echo", wishes.echo == Some(true)),
        ("suffix", wishes.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty())),
        ("tool_choice", wishes.tool_choice.as_ref().is_some_and(|choice| choice != "auto" && choice != "none")),
    ];
    match refused.into_iter().find(|(_, refused)| *refused) {
        Some((field, _)) => Err(refusal(field, "is not served here")),
        None => Ok(()),
    }
}

fn within(
    field: &'static str,
    value: Option<f64>,
    range: std::ops::RangeInclusive<f64>,
) -> Result<Option<f64>, Refusal> {
    match value {
        Some(value) if !range.contains(&value) => {
            Err(refusal(field, format!("must be from {} to {}", range.start(), range.end())))
        }
        value => Ok(value),
    }
}

pub(crate) fn refusal(field: &'static str, why: impl Into<String>) -> Refusal {
    Refusal { field, why: why.into() }
}

/// A number that nobody chose.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use serde_json::json;

    use super::*;

    fn read(wishes: Value) -> Result<Asked, Refusal> {
        let config = ServeConfig {
            name: "m".into(),
            max_model_len: 100,
            max_batch: 4,
            max_queue: 4,
            max_body: 1000,
            max_n: 4,
            api_key: None,
        };
        Asked::read(&serde_json::from_value(wishes).unwrap(), &config)
    }

    #[test]
    fn wishes_are_read_or_refused_by_their_field() {
        let asked = read(json!({"temperature": 0, "stop": "x", "max_completion_tokens": 5, "seed": -1, "user": "me"}));
        let asked = asked.unwrap();
        assert_eq!((asked.sampling.temperature, asked.max_new_tokens, asked.seed), (0.0, Some(5), u64::MAX));
        assert_eq!((asked.stops, asked.n), (vec!["x".to_string()], 1));
        for (wishes, field) in [
            (json!({"n": 5}), "n"),
            (json!({"temperature": -1}), "temperature"),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"logit_bias": {"5": 1}}), "logit_bias"),
            (json!({"response_format": {"type": "json_object"}}), "response_format"),
            (json!({"frequency_penalty": 0.5}), "frequency_penalty"),
        ] {
            assert_eq!(read(wishes).unwrap_err().field, field);
        }
        assert!(read(json!({"logit_bias": {}, "response_format": {"type": "text"}, "presence_penalty": 0})).is_ok());
    }
}
