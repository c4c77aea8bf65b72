//! Examples of what a reward should say, beside its parameters in the pipeline: `check` runs them, so that a reward
//! that does not mean what its author meant is found before anything is trained on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Completion, RewardFunc};
use crate::Item;

/// How far what is found may be from what is expected: people round.
const TOLERANCE: f64 = 1e-6;

/// A completion, and what it should earn.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Example {
    pub completion: String,
    pub expect: Expect,
    /// The right option, by its letter or its text. Without one, rewards that need it are missing.
    pub answer: Option<String>,
    /// What the question offers.
    #[serde(default = "four")]
    pub options: Vec<String>,
    /// Whether the question is asked without them, to be answered in words.
    #[serde(default)]
    pub open: bool,
    /// Whether the completion ended by itself.
    #[serde(default = "yes")]
    pub finished: bool,
    /// How many tokens it has, all different; else each different word is a token.
    pub length: Option<usize>,
}

/// A number, or `"missing"` where the reward cannot judge.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Expect {
    Number(f64),
    Missing(Missing),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Missing,
}

fn four() -> Vec<String> {
    ["A", "B", "C", "D"].map(String::from).to_vec()
}

fn yes() -> bool {
    true
}

impl Example {
    /// What is wrong, if anything; `limit` is what [`Completion::limit`] would be.
    pub fn failure(&self, reward: &RewardFunc, limit: usize) -> Option<String> {
        let item = match self.item() {
            Ok(item) => item,
            Err(mistake) => return Some(mistake),
        };
        let ids = self.ids();
        let completion = Completion { text: &self.completion, ids: &ids, finished: self.finished, limit };
        let found = reward.score(&completion, &item);
        let good = match (found, self.expect) {
            (Some(found), Expect::Number(expected)) => (found - expected).abs() <= TOLERANCE,
            (None, Expect::Missing(_)) => true,
            _ => false,
        };
        (!good).then(|| format!("`{}` earns {}, not {}", self.shown(), words(found), self.expected()))
    }

    /// The completion, or its beginning.
    fn shown(&self) -> String {
        let mut shown: String = self.completion.chars().take(60).collect();
        if shown.len() < self.completion.len() {
            shown.push('…');
        }
        shown.replace('\n', "\\n")
    }

    fn expected(&self) -> String {
        match self.expect {
            Expect::Number(number) => words(Some(number)),
            Expect::Missing(_) => words(None),
        }
    }

    fn item(&self) -> Result<Item, String> {
        let named = |answer: &String| {
            let by_text = self.options.iter().position(|option| option == answer);
            let letter = || (0..self.options.len()).find(|&at| answer.chars().eq([crate::item::label(at)]));
            by_text.or_else(letter).ok_or_else(|| format!("`answer` is `{answer}`, which is no option of the example"))
        };
        let answer = self.answer.as_ref().map(named).transpose()?.unwrap_or(self.options.len());
        Ok(Item {
            id: "example".into(),
            benchmark: "example".into(),
            question: "?".into(),
            context: None,
            options: self.options.clone(),
            answer,
            cluster: "example".into(),
            open: self.open,
        })
    }

    fn ids(&self) -> Vec<u32> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if let Some(length) = self.length {
            return (0..count(length)).collect();
        }
        let mut known: Vec<&str> = Vec::new();
        let mut id = |word| {
            known.iter().position(|one| *one == word).unwrap_or_else(|| {
                known.push(word);
                known.len() - 1
            })
        };
        self.completion.split_whitespace().map(|word| count(id(word))).collect()
    }
}

fn words(reward: Option<f64>) -> String {
    reward.map_or_else(|| "nothing (a missing reward)".into(), |reward| reward.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn failure(reward: &str, example: Value) -> Option<String> {
        let reward: RewardFunc = serde_json::from_value(json!(reward)).unwrap();
        serde_json::from_value::<Example>(example).unwrap().failure(&reward, 100)
    }

    #[test]
    fn examples_that_hold_say_nothing() {
        for (reward, example) in [
            ("accuracy", json!({ "completion": "The answer is B.", "answer": "B", "expect": 1 })),
            ("accuracy", json!({ "completion": "The answer is B.", "expect": "missing" })),
            ("accuracy", json!({ "completion": "no", "options": ["yes", "no"], "answer": "no", "expect": 1.0 })),
            ("cosine", json!({ "completion": "The answer is A.", "answer": "A", "length": 25, "expect": 0.926_776_7 })),
            ("repetition", json!({ "completion": "a b c a b c", "expect": -0.25 })),
            ("soft_overlong", json!({ "completion": "", "length": 90, "finished": false, "expect": -0.5 })),
        ] {
            assert_eq!(failure(reward, example), None);
        }
    }

    #[test]
    fn one_that_does_not_hold_says_what_it_earns() {
        let told = failure("accuracy", json!({ "completion": "The answer\nis C.", "answer": "B", "expect": 1 }));
        assert_eq!(told.as_deref(), Some("`The answer\\nis C.` earns 0, not 1"));
        let told = failure("accuracy", json!({ "completion": "B", "expect": 1 })).unwrap();
        assert!(told.contains("earns nothing (a missing reward), not 1"), "{told}");
        let told = failure("accuracy", json!({ "completion": "B", "answer": "Z", "expect": 1 })).unwrap();
        assert!(told.contains("`Z`, which is no option"), "{told}");
    }

    #[test]
    fn what_is_expected_is_a_number_or_missing() {
        let wrong = json!({ "completion": "x", "expect": "none" });
        assert!(serde_json::from_value::<Example>(wrong).is_err());
    }
}
