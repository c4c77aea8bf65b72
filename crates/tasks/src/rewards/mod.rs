//! Rewards: how good one completion is, as TRL 1.16 and open-r1 define and name them. One file and one arm each.
//!
//! A pipeline names a reward as a string, `"accuracy_reward"` (or open-r1's short name, `"accuracy"`), or as a
//! table with parameters, `{ name = "get_cosine_scaled_reward", max_len = 512 }`; what a table may say beside the
//! parameters of its function is in [`Reward`].
//!
//! A reward that cannot judge a completion is missing, which is not 0: 0 may be better than what others got.

mod accuracy;
mod cosine_scaled;
mod example;
pub mod judge;
mod named;
mod pattern;
mod reasoning_steps;
mod reference;
mod repetition_penalty;
mod soft_overlong;
mod tag_count;
mod think_format;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Value, json};

pub use cosine_scaled::CosineScaled;
pub use example::{Example, Expect};
pub use named::Reward;
pub use pattern::{Pattern, RegexReward};
pub use reference::Reference;
pub use repetition_penalty::RepetitionPenalty;
pub use soft_overlong::SoftOverlong;
pub use tag_count::TagCount;

use crate::Item;

/// What was generated for a prompt.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// The decoded ids, without special tokens that end it.
    pub text: &'a str,
    /// As sampled.
    pub ids: &'a [u32],
    /// It ended by itself. A truncated completion is judged as it stands, as in TRL; whoever masks truncated
    /// completions asks here.
    pub finished: bool,
    /// How many ids it could have had (`max_completion_length`): what lengths are measured by where a reward has
    /// no measure of its own.
    pub limit: usize,
}

/// What a length is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Ids, as TRL does.
    #[default]
    Tokens,
    /// What white space separates, as open-r1's repetition penalty does.
    Words,
    /// As open-r1's cosine reward does.
    Characters,
}

impl Completion<'_> {
    /// The length in a unit.
    pub fn length(&self, unit: Unit) -> usize {
        match unit {
            Unit::Tokens => self.ids.len(),
            Unit::Words => self.text.split_whitespace().count(),
            Unit::Characters => self.text.chars().count(),
        }
    }
}

/// A reward function with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "name")]
pub enum RewardFunc {
    /// 1 for the right letter, else 0.
    #[serde(rename = "accuracy_reward", alias = "accuracy")]
    Accuracy,
    /// 1 for one `<think>` at the start that is closed, else 0.
    #[serde(rename = "think_format_reward", alias = "format")]
    ThinkFormat,
    #[serde(rename = "get_cosine_scaled_reward", alias = "cosine")]
    CosineScaled(CosineScaled),
    #[serde(rename = "get_repetition_penalty_reward", alias = "repetition")]
    RepetitionPenalty(RepetitionPenalty),
    #[serde(rename = "get_soft_overlong_punishment", alias = "soft_overlong")]
    SoftOverlong(SoftOverlong),
    /// open-r1's: an equal share for each tag that occurs once.
    #[serde(rename = "tag_count_reward", alias = "tag_count")]
    TagCount(TagCount),
    /// open-r1's: a third for each step of reasoning that is marked as one, at most 1.
    #[serde(rename = "reasoning_steps_reward", alias = "reasoning_steps")]
    ReasoningSteps,
    /// The tiers of a judge that is no model: 2, 0.5, 0, -0.5 or -1, from the words of the answer.
    #[serde(rename = "reference_reward", alias = "reference")]
    Reference(Reference),
    /// A value for a completion that a regular expression is found in, another for all others.
    #[serde(rename = "regex_reward", alias = "regex")]
    Regex(RegexReward),
}

impl RewardFunc {
    /// Every reward that has defaults, with these.
    pub const DEFAULTS: [RewardFunc; 8] = [
        RewardFunc::Accuracy,
        RewardFunc::ThinkFormat,
        RewardFunc::CosineScaled(CosineScaled::DEFAULT),
        RewardFunc::RepetitionPenalty(RepetitionPenalty::DEFAULT),
        RewardFunc::SoftOverlong(SoftOverlong::DEFAULT),
        RewardFunc::TagCount(TagCount::DEFAULT),
        RewardFunc::ReasoningSteps,
        RewardFunc::Reference(Reference::DEFAULT),
    ];
    /// The names, and then the short names.
    const NAMES: [&str; 18] = [
        "accuracy_reward",
        "think_format_reward",
        "get_cosine_scaled_reward",
        "get_repetition_penalty_reward",
        "get_soft_overlong_punishment",
        "tag_count_reward",
        "reasoning_steps_reward",
        "reference_reward",
        "regex_reward",
        "accuracy",
        "format",
        "cosine",
        "repetition",
        "soft_overlong",
        "tag_count",
        "reasoning_steps",
        "reference",
        "regex",
    ];

    /// TRL's name or open-r1's, under which metrics are reported (`rewards/{name}/mean`).
    pub fn name(&self) -> &'static str {
        match self {
            RewardFunc::Accuracy => "accuracy_reward",
            RewardFunc::ThinkFormat => "think_format_reward",
            RewardFunc::CosineScaled(_) => "get_cosine_scaled_reward",
            RewardFunc::RepetitionPenalty(_) => "get_repetition_penalty_reward",
            RewardFunc::SoftOverlong(_) => "get_soft_overlong_punishment",
            RewardFunc::TagCount(_) => "tag_count_reward",
            RewardFunc::ReasoningSteps => "reasoning_steps_reward",
            RewardFunc::Reference(_) => "reference_reward",
            RewardFunc::Regex(_) => "regex_reward",
        }
    }

    /// The reward; nothing where this reward cannot judge, as when the item's answer is no option.
    pub fn score(&self, completion: &Completion, item: &Item) -> Option<f64> {
        match self {
            RewardFunc::Accuracy => accuracy::score(completion, item),
            RewardFunc::ThinkFormat => Some(think_format::score(completion.text)),
            RewardFunc::CosineScaled(cosine) => cosine.score(completion, item),
            RewardFunc::RepetitionPenalty(repetition) => Some(repetition.score(completion)),
            RewardFunc::SoftOverlong(overlong) => Some(overlong.score(completion)),
            RewardFunc::TagCount(tags) => Some(tags.score(completion.text)),
            RewardFunc::ReasoningSteps => reasoning_steps::score(completion.text),
            RewardFunc::Reference(reference) => reference.score(completion, item),
            RewardFunc::Regex(regex) => regex.score(completion.text),
        }
    }

    /// What is wrong with the parameters, if anything.
    fn mistake(&self) -> Option<String> {
        match self {
            RewardFunc::Accuracy | RewardFunc::ThinkFormat | RewardFunc::ReasoningSteps => None,
            RewardFunc::CosineScaled(cosine) => cosine.mistake(),
            RewardFunc::RepetitionPenalty(repetition) => repetition.mistake(),
            RewardFunc::SoftOverlong(overlong) => overlong.mistake(),
            RewardFunc::TagCount(tags) => tags.mistake(),
            RewardFunc::Reference(reference) => reference.mistake(),
            RewardFunc::Regex(regex) => regex.mistake(),
        }
    }
}

impl<'de> Deserialize<'de> for RewardFunc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RewardFunc, D::Error> {
        let table = match Value::deserialize(deserializer)? {
            Value::String(name) => json!({ "name": name }),
            table => table,
        };
        let reward = RewardFunc::deserialize(table).map_err(de::Error::custom)?;
        match reward.mistake() {
            Some(mistake) => Err(de::Error::custom(format!("{}: {mistake}", reward.name()))),
            None => Ok(reward),
        }
    }
}

/// Without parameters that have their defaults, and as the name alone where all have, so that a reward has one
/// spelling.
impl Serialize for RewardFunc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let table = |reward: &RewardFunc| RewardFunc::serialize(reward, serde_json::value::Serializer);
        let mut written = table(self).map_err(ser::Error::custom)?;
        for reward in RewardFunc::DEFAULTS.iter().filter(|reward| reward.name() == self.name()) {
            let defaults = table(reward).map_err(ser::Error::custom)?;
            if let Value::Object(fields) = &mut written {
                fields.retain(|field, value| field == "name" || defaults.get(field) != Some(value));
            }
        }
        match written {
            Value::Object(fields) if fields.len() == 1 => serializer.serialize_str(self.name()),
            table => table.serialize(serializer),
        }
    }
}

impl JsonSchema for RewardFunc {
    fn schema_name() -> Cow<'static, str> {
        "RewardFunc".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = RewardFunc::NAMES;
        json_schema!({
            "description": "A reward function of TRL or open-r1 by its name, or a table of its name and its parameters.",
            "anyOf": [
                { "enum": names },
                { "type": "object", "required": ["name"], "properties": { "name": { "enum": names } } },
            ],
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::item::tests::item;

    /// An answer of `ids` tokens to [`asked`].
    pub(crate) fn completion<'a>(text: &'a str, ids: &'a [u32]) -> Completion<'a> {
        Completion { text, ids, finished: true, limit: 100 }
    }

    /// A question of which A is the right answer.
    pub(crate) fn asked() -> Item {
        item(&["first", "second", "third"])
    }

    #[test]
    fn names_parameters_and_their_one_spelling() {
        let read = |value: Value| serde_json::from_value::<RewardFunc>(value).unwrap();
        for (reward, short) in RewardFunc::DEFAULTS.into_iter().zip(&RewardFunc::NAMES[9..]) {
            assert_eq!((read(json!(reward.name())), read(json!(short))), (reward.clone(), reward.clone()));
            assert_eq!(read(json!({ "name": short })), reward);
            assert_eq!(serde_json::to_value(&reward).unwrap(), json!(reward.name()));
            assert!(RewardFunc::NAMES.contains(&reward.name()));
        }
        let table = json!({ "name": "get_cosine_scaled_reward", "max_len": 512 });
        let cosine = read(table.clone());
        assert_eq!(cosine, RewardFunc::CosineScaled(CosineScaled { max_len: Some(512), ..CosineScaled::DEFAULT }));
        assert_eq!(serde_json::to_value(cosine).unwrap(), table);
    }

    #[test]
    fn mistakes_are_said() {
        let error = |value: Value| serde_json::from_value::<RewardFunc>(value).unwrap_err().to_string();
        assert!(
            error(json!("accurcy"))
                .starts_with("unknown variant `accurcy`, expected one of `accuracy`, `accuracy_reward`")
        );
        assert!(error(json!({ "name": "cosine", "maxlen": 5 })).contains("unknown field `maxlen`"));
        assert!(error(json!({ "name": "cosine", "max_len": 0 })).contains("get_cosine_scaled_reward: `max_len`"));
        assert!(error(json!({ "name": "repetition", "max_penalty": 0.5 })).contains("must not be positive"));
        assert!(error(json!({ "name": "repetition", "ngram_size": 0 })).contains("`ngram_size`"));
        assert!(
            error(json!({ "name": "soft_overlong", "soft_punish_cache": 9, "max_completion_len": 8 })).contains("9")
        );
        assert!(error(json!("regex")).contains("missing field `pattern`"));
        assert!(error(json!({ "name": "regex", "pattern": "(" })).contains("regular expression"));
        assert!(error(json!({ "name": "reference", "overlap": 0 })).contains("`overlap`"));
        assert!(error(json!({ "name": "reference", "synonyms": [["one"]] })).contains("two phrases"));
        assert!(error(json!({ "name": "tag_count", "tags": [] })).contains("`tags`"));
        assert!(error(json!(7)).contains("invalid type"));
    }

    #[test]
    fn an_item_without_a_valid_answer_has_no_accuracy() {
        let mut asked = asked();
        asked.answer = 3;
        let scores = RewardFunc::DEFAULTS.map(|reward| reward.score(&completion("The answer is A.", &[1]), &asked));
        assert_eq!(scores, [None, Some(0.0), None, Some(0.0), Some(0.0), Some(0.0), Some(0.0), None]);
    }

    #[test]
    fn all_rewards_agree_about_a_good_and_a_bad_completion() {
        let text = "<think>\nStep 1: first.\n</think>\nThe answer is A.";
        let good = completion(text, &[1, 2, 3, 4]);
        let bad = Completion { finished: false, ..completion("A. B. C.", &[7; 100]) };
        for reward in RewardFunc::DEFAULTS {
            assert!(reward.score(&good, &asked()) > reward.score(&bad, &asked()), "{}", reward.name());
        }
    }
}
