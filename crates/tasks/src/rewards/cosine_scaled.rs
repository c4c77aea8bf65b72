//! TRL's `get_cosine_scaled_reward`, from "Demystifying Long Chain-of-Thought Reasoning in LLMs"
//! (arXiv:2502.03373, appendix C.1): short right answers are worth more than long ones, and short wrong answers
//! cost more than long ones.
//!
//! With `p = min(tokens / max_len, 1)` the reward is `a + (b − a) (1 + cos πp) / 2`, where `(a, b)` is
//! `(min_value_correct, max_value_correct)` or `(max_value_wrong, min_value_wrong)`. Without the `min`, as in
//! open-r1, a completion of twice the length is worth as much as an empty one: whoever wants exactly that says
//! `clamped = false`, and `unit = "characters"`, `max_len = 1000` for the rest of open-r1's form.

use serde::{Deserialize, Serialize};

use super::{Completion, Unit, accuracy};
use crate::Item;

/// The parameters, with TRL's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CosineScaled {
    /// The length at which the reward levels off; the longest possible completion if it is not given
    /// (TRL has no default).
    pub max_len: Option<usize>,
    pub min_value_wrong: f64,
    pub max_value_wrong: f64,
    pub min_value_correct: f64,
    pub max_value_correct: f64,
    /// Whether the reward stays as it is beyond `max_len`, or turns back.
    pub clamped: bool,
    /// What `max_len` and the length are counted in; the longest possible completion is always in tokens.
    pub unit: Unit,
}

impl CosineScaled {
    pub const DEFAULT: CosineScaled = CosineScaled {
        max_len: None,
        min_value_wrong: -1.0,
        max_value_wrong: -0.5,
        min_value_correct: 0.5,
        max_value_correct: 1.0,
        clamped: true,
        unit: Unit::Tokens,
    };

    pub(super) fn score(&self, completion: &Completion, item: &Item) -> Option<f64> {
        let right = accuracy::is_right(completion, item)?;
        Some(self.reward(completion.length(self.unit), self.max_len.unwrap_or(completion.limit), right))
    }

    /// The reward of a completion of this length.
    fn reward(&self, length: usize, max_len: usize, right: bool) -> f64 {
        let progress = length as f64 / max_len.max(1) as f64;
        let progress = if self.clamped { progress.min(1.0) } else { progress };
        let (long, short) = if right {
            (self.min_value_correct, self.max_value_correct)
        } else {
            (self.max_value_wrong, self.min_value_wrong)
        };
        long + 0.5 * (short - long) * (1.0 + (progress * std::f64::consts::PI).cos())
    }

    pub(super) fn mistake(&self) -> Option<String> {
        let values = [self.min_value_wrong, self.max_value_wrong, self.min_value_correct, self.max_value_correct];
        if self.max_len == Some(0) {
            return Some("`max_len` must be at least 1".into());
        }
        if self.max_len.is_none() && self.unit != Unit::Tokens {
            return Some("a `unit` that is not tokens needs a `max_len`".into());
        }
        values.iter().any(|value| !value.is_finite()).then(|| "a value is not a finite number".into())
    }
}

impl Default for CosineScaled {
    fn default() -> CosineScaled {
        CosineScaled::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{asked, completion};
    use super::*;
    use crate::fixture::fixture;

    #[test]
    fn cosine_agrees_with_the_fixture() {
        let file = fixture("rewards.json");
        let cases = file["cosine_max100"].as_array().unwrap();
        let cosine = CosineScaled { max_len: Some(100), ..CosineScaled::DEFAULT };
        for case in cases {
            let ids = vec![1; case[0].as_u64().unwrap() as usize];
            let text = if case[1] == true { "The answer is A." } else { "The answer is B." };
            let reward = cosine.score(&completion(text, &ids), &asked()).unwrap();
            assert!((reward - case[2].as_f64().unwrap()).abs() < 1e-9, "{case}: {reward}");
        }
        assert_eq!(cases.len(), 12);
    }

    #[test]
    fn lengths_are_measured_by_the_limit_and_clamped() {
        let lengths = [0, 250, 500, 1000, 2000];
        let right = [1.0, 0.926_777, 0.75, 0.5, 0.5];
        for (tokens, expected) in lengths.into_iter().zip(right) {
            let ids = vec![0; tokens];
            let answer = |text| Completion { limit: 1000, ..completion(text, &ids) };
            let score = |text| CosineScaled::DEFAULT.score(&answer(text), &asked()).unwrap();
            assert!((score("The answer is A.") - expected).abs() < 1e-6);
            assert!((score("The answer is B.") + expected).abs() < 1e-6);
            assert_eq!(score("<think>never ends"), score("The answer is B."));
        }
    }

    #[test]
    fn bounds_of_ones_own() {
        let cosine = CosineScaled { min_value_correct: 1.0, max_value_correct: 1.0, ..CosineScaled::DEFAULT };
        assert_eq!(cosine.reward(37, 100, true), 1.0);
        assert_eq!(cosine.reward(0, 0, true), 1.0);
    }

    #[test]
    fn open_r1_counts_characters_and_turns_back() {
        let open_r1 =
            CosineScaled { max_len: Some(1000), clamped: false, unit: Unit::Characters, ..CosineScaled::DEFAULT };
        let right = "The answer is A.";
        for (length, reward) in [(16, 0.999_684), (1000, 0.5), (1500, 0.75), (2000, 1.0)] {
            let text = format!("{}{right}", "é".repeat(length - right.len()));
            assert!((open_r1.score(&completion(&text, &[1]), &asked()).unwrap() - reward).abs() < 1e-6, "{length}");
        }
        assert_eq!((open_r1.reward(0, 1000, false), open_r1.reward(2000, 1000, false)), (-1.0, -1.0));
        assert!(CosineScaled { max_len: None, ..open_r1 }.mistake().is_some());
    }
}
