//! `reward_funcs` of `grpo`: rewards that are checked here, and two that ask others: a program (`exec`) and a language
//! model (`judge`).
//!
//! What decides a verdict is in the key (a program and its `sources`; a judge's model, template and sampling). What
//! only decides whether and how fast there is one is not: time limits, an endpoint's address, budgets. That is sound
//! because reaching a limit fails the stage and never changes a reward.

use std::borrow::Cow;
use std::collections::BTreeSet;

use gazal_stage_api::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use gazal_stage_api::{JsonSchema as DeriveSchema, Problem};
use gazal_tasks::rewards::judge::Template;
use gazal_tasks::{Reward, RewardFunc};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use crate::defaults;
use crate::endpoint::Reach;
use crate::examples::failing_examples;

/// The parameter that the kind declares as paths.
pub const SOURCES: &str = "reward_funcs[].sources";

/// An entry of `reward_funcs`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum RewardParams {
    Checked(Reward),
    Asked(Asked),
}

/// A reward that somebody else is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, DeriveSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
#[schemars(crate = "gazal_stage_api::schemars")]
pub enum Asked {
    Exec(ExecReward),
    Judge(JudgeReward),
}

/// A program that gets a JSON line for each completion (`prompt`, `completion`, `completion_length`, `finished`, and
/// the row's columns) and writes one for each, `{"reward": 0.5}` or, where it cannot judge, `{"reward": null}`. It runs
/// in a folder of its own with nothing in it but its sources, and sees no environment but `PATH`.
#[derive(Clone, Debug, Serialize, Deserialize, DeriveSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct ExecReward {
    /// What metrics call it [default: exec].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Patterns of the files that it consists of, relative to the pipeline file; hashed into the key.
    #[serde(default, skip_serializing)]
    pub sources: Vec<String>,
    /// Names of environment variables that it may see; their values are not part of the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds that it may take for the completions of a step; then the stage fails.
    #[serde(default = "defaults::minute", skip_serializing)]
    pub timeout: f64,
}

/// A language model behind OpenAI's interface that grades what follows `</think>`: 2, 0.5, 0, -0.5 or -1.
#[derive(Clone, Debug, Serialize, Deserialize, DeriveSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "gazal_stage_api::schemars")]
pub struct JudgeReward {
    /// What metrics call it [default: judge].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// By its id, which stands for it in the key and in the memo.
    pub model: String,
    /// What it is asked, with places for `{question}`, `{reference}` and `{answer}`.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(with = "String")]
    pub prompt_template: Template,
    #[serde(default, skip_serializing_if = "is_default")]
    pub temperature: f64,
    /// Of its reply, its own reasoning included.
    #[serde(default = "reply", skip_serializing_if = "is_reply")]
    pub max_tokens: u32,
    /// Up to `/chat/completions` [default: `/v1` of the stage's service].
    #[serde(default, skip_serializing)]
    pub base_url: Option<String>,
    /// The environment variable that holds the key.
    #[serde(default, skip_serializing)]
    pub api_key_env: Option<String>,
    /// Seconds for one request.
    #[serde(default = "defaults::minute", skip_serializing)]
    pub timeout: f64,
    /// Attempts after the first one that a busy server is worth.
    #[serde(default = "defaults::retries", skip_serializing)]
    pub max_retries: u32,
    /// Requests at once.
    #[serde(default = "defaults::batch", skip_serializing)]
    pub max_concurrency: usize,
    #[serde(default, skip_serializing)]
    pub requests_per_minute: Option<f64>,
    /// Requests of this stage in all; then it fails, to be gone on with.
    #[serde(default, skip_serializing)]
    pub max_calls: Option<u64>,
    /// Tokens of this stage in all; as `max_calls`.
    #[serde(default, skip_serializing)]
    pub max_total_tokens: Option<u64>,
    /// Ask nobody: what the memo does not have fails the stage.
    #[serde(default, skip_serializing)]
    pub offline: bool,
}

fn reply() -> u32 {
    1024
}

fn is_reply(tokens: &u32) -> bool {
    *tokens == reply()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl RewardParams {
    /// What metrics call it: `rewards/{name}/mean`.
    pub fn name(&self) -> &str {
        match self {
            RewardParams::Checked(reward) => reward.name(),
            RewardParams::Asked(Asked::Exec(exec)) => exec.label.as_deref().unwrap_or("exec"),
            RewardParams::Asked(Asked::Judge(judge)) => judge.label.as_deref().unwrap_or("judge"),
        }
    }

    pub fn judge(&self) -> Option<&JudgeReward> {
        match self {
            RewardParams::Asked(Asked::Judge(judge)) => Some(judge),
            _ => None,
        }
    }

    fn problems(&self, field: &str, limit: usize) -> Vec<Problem> {
        match self {
            RewardParams::Checked(reward) => failing_examples(field, reward, limit),
            RewardParams::Asked(Asked::Exec(exec)) => exec.problems(field),
            RewardParams::Asked(Asked::Judge(judge)) => judge.problems(field),
        }
    }
}

impl From<RewardFunc> for RewardParams {
    fn from(func: RewardFunc) -> RewardParams {
        RewardParams::Checked(func.into())
    }
}

/// Gazal-R1's four.
pub fn gazal() -> Vec<RewardParams> {
    defaults::reward_funcs().into_iter().map(RewardParams::Checked).collect()
}

/// All that is wrong with the rewards, examples that do not hold included; `limit` is the longest completion.
pub fn problems(rewards: &[RewardParams], limit: usize) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for (at, reward) in rewards.iter().enumerate() {
        let field = format!("reward_funcs[{at}]");
        if !names.insert(reward.name()) {
            let problem = Problem::new(&field, format!("a second reward is called `{}`", reward.name()));
            problems.push(problem.with_help("give it a `label` of its own: metrics are named by it"));
        }
        problems.extend(reward.problems(&field, limit));
    }
    problems
}

impl ExecReward {
    fn problems(&self, field: &str) -> Vec<Problem> {
        let mut problems = defaults::check_positive(&[(&format!("{field}.timeout"), self.timeout)]);
        if self.command.first().is_none_or(String::is_empty) {
            let problem = Problem::new(&format!("{field}.command"), "names no program");
            problems.push(problem.with_help("e.g. command = [\"python3\", \"reward.py\"], sources = [\"reward.py\"]"));
        }
        problems
    }
}

impl JudgeReward {
    /// How its server is asked.
    pub fn reach(&self) -> Reach {
        Reach {
            base_url: self.base_url.clone(),
            api_key_env: self.api_key_env.clone(),
            timeout: self.timeout,
            max_retries: self.max_retries,
            max_concurrency: self.max_concurrency,
            requests_per_minute: self.requests_per_minute,
            max_calls: self.max_calls,
            max_total_tokens: self.max_total_tokens,
            offline: self.offline,
            ..Reach::default()
        }
    }

    fn problems(&self, field: &str) -> Vec<Problem> {
        let mut problems = self.reach().problems(&format!("{field}."));
        if self.model.is_empty() {
            problems.push(Problem::new(&format!("{field}.model"), "names no model"));
        }
        problems
    }
}

impl<'de> Deserialize<'de> for RewardParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RewardParams, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let name = value.as_str().or_else(|| value.get("name")?.as_str()).unwrap_or_default();
        if !matches!(name, "exec" | "judge") {
            return serde_json::from_value(value).map(RewardParams::Checked).map_err(de::Error::custom);
        }
        if value.get("tests").is_some() {
            return Err(de::Error::custom(format!("`{name}` takes no `tests`: a check asks nobody")));
        }
        let table = if value.is_string() { json!({ "name": value }) } else { value };
        serde_json::from_value(table).map(RewardParams::Asked).map_err(de::Error::custom)
    }
}

impl JsonSchema for RewardParams {
    fn schema_name() -> Cow<'static, str> {
        "RewardParams".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (checked, asked) = (generator.subschema_for::<Reward>(), generator.subschema_for::<Asked>());
        json_schema!({ "anyOf": [checked, asked] })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(value: Value) -> RewardParams {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_cannot_change_a_verdict_is_in_no_key() {
        let judge = json!({ "name": "judge", "model": "m", "base_url": "http://a/v1", "api_key_env": "KEY",
            "timeout": 5, "max_retries": 1, "max_concurrency": 2, "requests_per_minute": 6, "max_calls": 7,
            "max_total_tokens": 8, "offline": true, "temperature": 0.0, "max_tokens": 1024 });
        assert_eq!(serde_json::to_value(read(judge)).unwrap(), json!({ "name": "judge", "model": "m" }));
        let other = json!({ "name": "judge", "model": "m", "prompt_template": "{answer}?", "temperature": 0.5 });
        assert_eq!(serde_json::to_value(read(other.clone())).unwrap(), other);
        let exec = json!({ "name": "exec", "command": ["a"], "sources": ["*.py"], "timeout": 3.0, "env": ["X"] });
        let written = json!({ "name": "exec", "command": ["a"], "env": ["X"] });
        assert_eq!(serde_json::to_value(read(exec)).unwrap(), written, "digests stand for the sources");
        assert_eq!(serde_json::to_value(read(json!("cosine"))).unwrap(), json!("get_cosine_scaled_reward"));
    }

    #[test]
    fn mistakes_name_their_place() {
        let rewards = [
            json!("accuracy"),
            json!({ "name": "accuracy", "tests": [{ "completion": "B", "answer": "A", "expect": 1 }] }),
            json!({ "name": "exec", "command": [], "timeout": 0 }),
            json!({ "name": "judge", "model": "", "requests_per_minute": 0 }),
        ];
        let found = problems(&rewards.map(read), 100);
        let fields: Vec<&str> = found.iter().map(|problem| problem.field.as_str()).collect();
        let expected = [
            "reward_funcs[1]",
            "reward_funcs[1].tests[0]",
            "reward_funcs[2].timeout",
            "reward_funcs[2].command",
            "reward_funcs[3].requests_per_minute",
            "reward_funcs[3].model",
        ];
        assert_eq!(fields, expected);
        assert_eq!(found[1].message, "accuracy_reward: `B` earns 0, not 1");
        let error = |value: Value| serde_json::from_value::<RewardParams>(value).unwrap_err().to_string();
        assert!(error(json!("judge")).contains("missing field `model`"));
        assert!(error(json!({ "name": "judge", "model": "m", "tests": [] })).contains("takes no `tests`"));
        assert!(error(json!({ "name": "judge", "model": "m", "prompt_template": "x" })).contains("{answer}"));
        assert!(error(json!("accurcy")).contains("unknown variant"));
    }
}
