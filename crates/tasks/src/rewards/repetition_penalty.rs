//! TRL's `get_repetition_penalty_reward`, from "Demystifying Long Chain-of-Thought Reasoning in LLMs"
//! (arXiv:2502.03373, appendix C.2): `(1 − distinct / all n-grams) · max_penalty`, over token ids, or over lower-case words as open-r1 counts them
//! (`unit = "words"`).

use std::collections::HashSet;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::{Completion, Unit};

/// The parameters, with TRL's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepetitionPenalty {
    /// How many units an n-gram has.
    pub ngram_size: usize,
    /// The reward of a completion that only repeats itself; not positive.
    pub max_penalty: f64,
    pub unit: Unit,
}

impl RepetitionPenalty {
    pub const DEFAULT: RepetitionPenalty = RepetitionPenalty { ngram_size: 3, max_penalty: -1.0, unit: Unit::Tokens };

    /// The reward; 0 for a completion that is shorter than an n-gram.
    pub(super) fn score(&self, completion: &Completion) -> f64 {
        let text = || completion.text.to_lowercase();
        match self.unit {
            Unit::Tokens => self.of(completion.ids),
            Unit::Words => self.of(&text().split_whitespace().collect::<Vec<_>>()),
            Unit::Characters => self.of(&text().chars().collect::<Vec<_>>()),
        }
    }

    fn of<T: Eq + Hash>(&self, units: &[T]) -> f64 {
        let ngrams = units.windows(self.ngram_size.max(1));
        let all = ngrams.len();
        if all == 0 {
            return 0.0;
        }
        let distinct = ngrams.collect::<HashSet<_>>().len();
        (1.0 - distinct as f64 / all as f64) * self.max_penalty
    }

    pub(super) fn mistake(&self) -> Option<String> {
        if self.ngram_size == 0 {
            return Some("`ngram_size` must be at least 1".into());
        }
        let good = self.max_penalty.is_finite() && self.max_penalty <= 0.0;
        (!good).then(|| format!("`max_penalty` is {}, and must not be positive", self.max_penalty))
    }
}

impl Default for RepetitionPenalty {
    fn default() -> RepetitionPenalty {
        RepetitionPenalty::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::completion;
    use super::*;
    use crate::fixture::fixture;

    #[test]
    fn repetition_agrees_with_the_fixture() {
        let file = fixture("rewards.json");
        let mut count = 0;
        for group in file["repetition"].as_array().unwrap() {
            let penalty = RepetitionPenalty {
                ngram_size: group["ngram"].as_u64().unwrap() as usize,
                max_penalty: group["max_penalty"].as_f64().unwrap(),
                unit: Unit::Tokens,
            };
            for (ids, reward) in group["ids"].as_array().unwrap().iter().zip(group["reward"].as_array().unwrap()) {
                let ids: Vec<u32> = serde_json::from_value(ids.clone()).unwrap();
                assert!((penalty.of(&ids) - reward.as_f64().unwrap()).abs() < 1e-9, "{ids:?}");
                count += 1;
            }
        }
        assert_eq!(count, 36);
    }

    #[test]
    fn cases_of_trl_and_of_the_recipe() {
        let score = |ngram_size, ids: &[u32]| RepetitionPenalty { ngram_size, ..RepetitionPenalty::DEFAULT }.of(ids);
        assert_eq!(score(2, &[5; 5]), -0.75);
        assert!((score(2, &[1, 2, 1, 2, 1, 2]) + 0.6).abs() < 1e-12);
        assert_eq!(score(3, &[1, 2, 3, 1, 2, 3]), -0.25);
        assert_eq!(score(3, &[1, 1]), 0.0);
        let text = "The cat sat on the cat sat on the mat";
        let words = RepetitionPenalty { unit: Unit::Words, ..RepetitionPenalty::DEFAULT };
        assert_eq!(words.score(&completion(text, &[])), -0.375);
        assert_eq!(score(3, &[1, 2, 3, 4, 1, 2, 3, 4, 1, 5]), -0.375);
        assert_eq!(words.score(&completion("", &[])), 0.0);
    }
}
