//! An entry of `reward_funcs`: a reward function with the name of its metrics and examples of what it should say.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Value, json};

use super::{Example, RewardFunc};

/// `"accuracy"`, or a table of a function's name and parameters with, if wanted, `label` and `tests`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reward {
    pub func: RewardFunc,
    /// Stands in the names of metrics for the function's name; two rewards of one function need different ones.
    pub label: Option<String>,
    pub tests: Vec<Example>,
}

impl Reward {
    /// What metrics call it.
    pub fn name(&self) -> &str {
        self.label.as_deref().unwrap_or_else(|| self.func.name())
    }

    /// The examples that do not hold, by their place, with what is wrong.
    pub fn failures(&self, limit: usize) -> Vec<(usize, String)> {
        let failure = |(at, test): (usize, &Example)| Some((at, test.failure(&self.func, limit)?));
        self.tests.iter().enumerate().filter_map(failure).collect()
    }
}

impl From<RewardFunc> for Reward {
    fn from(func: RewardFunc) -> Reward {
        Reward { func, label: None, tests: Vec::new() }
    }
}

impl<'de> Deserialize<'de> for Reward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Reward, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let mut take = |name: &str| value.as_object_mut().and_then(|table| table.remove(name));
        let label = take("label").map(serde_json::from_value).transpose();
        let tests = take("tests").map(serde_json::from_value).transpose();
        let named = |name: &'static str| move |error: serde_json::Error| de::Error::custom(format!("{name}: {error}"));
        let label = label.map_err(named("label"))?;
        let tests = tests.map_err(named("tests"))?.unwrap_or_default();
        let func = serde_json::from_value(value).map_err(de::Error::custom)?;
        Ok(Reward { func, label, tests })
    }
}

/// Without the examples, which change no result and so belong in no key.
impl Serialize for Reward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = serde_json::to_value(&self.func).map_err(ser::Error::custom)?;
        if let Some(label) = &self.label {
            let table = if written.is_string() { json!({ "name": written }) } else { written };
            written = table;
            written["label"] = json!(label);
        }
        written.serialize(serializer)
    }
}

impl JsonSchema for Reward {
    fn schema_name() -> Cow<'static, str> {
        "Reward".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (func, example) = (generator.subschema_for::<RewardFunc>(), generator.subschema_for::<Example>());
        json_schema!({
            "allOf": [func],
            "properties": { "label": { "type": "string" }, "tests": { "type": "array", "items": example } },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(value: Value) -> Reward {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_label_is_part_of_it_and_examples_are_not() {
        let tests = json!([{ "completion": "The answer is A.", "answer": "A", "expect": 1 }]);
        let reward = read(json!({ "name": "accuracy", "label": "letters", "tests": tests }));
        assert_eq!((reward.name(), reward.tests.len()), ("letters", 1));
        assert_eq!(serde_json::to_value(&reward).unwrap(), json!({ "name": "accuracy_reward", "label": "letters" }));
        assert_eq!(
            serde_json::to_value(read(json!({ "name": "accuracy", "tests": tests }))).unwrap(),
            "accuracy_reward"
        );
        assert_eq!(read(json!("cosine")).name(), "get_cosine_scaled_reward");
    }

    #[test]
    fn examples_that_fail_are_named_by_their_place() {
        let tests = json!([{ "completion": "pay", "expect": 1 }, { "completion": "no", "expect": 1 }]);
        let reward = read(json!({ "name": "regex", "pattern": "^pay$", "tests": tests }));
        assert_eq!(reward.failures(10), [(1, "`no` earns 0, not 1".to_string())]);
    }

    #[test]
    fn mistakes_say_where() {
        let error = |value: Value| serde_json::from_value::<Reward>(value).unwrap_err().to_string();
        let wrong = json!({ "name": "accuracy", "tests": [{ "completion": "x", "expected": 1 }] });
        assert!(error(wrong).contains("tests: unknown field `expected`"));
        assert!(error(json!({ "name": "accuracy", "label": 3 })).starts_with("label: "));
        assert!(error(json!({ "name": "accurcy" })).contains("unknown variant `accurcy`"));
    }
}
