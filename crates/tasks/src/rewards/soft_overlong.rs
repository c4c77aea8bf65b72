//! TRL's `get_soft_overlong_punishment`, from DAPO (arXiv:2503.14476, equation 13): nothing up to a length, then
//! falling to −1 at the longest one.

use serde::{Deserialize, Serialize};

use super::Completion;

/// The parameters, with TRL's names (which has no defaults).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftOverlong {
    /// The length in tokens that costs 1; the longest possible completion if it is not given.
    pub max_completion_len: Option<usize>,
    /// Over how many tokens before that the reward falls; a fifth if it is not given.
    pub soft_punish_cache: Option<usize>,
}

impl SoftOverlong {
    pub const DEFAULT: SoftOverlong = SoftOverlong { max_completion_len: None, soft_punish_cache: None };

    pub(super) fn score(&self, completion: &Completion) -> f64 {
        let tokens = completion.ids.len();
        let longest = self.max_completion_len.unwrap_or(completion.limit);
        let cache = self.soft_punish_cache.unwrap_or(longest / 5);
        let free = longest.saturating_sub(cache);
        match tokens {
            tokens if tokens <= free => 0.0,
            tokens if tokens <= longest => (free as f64 - tokens as f64) / cache as f64,
            _ => -1.0,
        }
    }

    pub(super) fn mistake(&self) -> Option<String> {
        let (longest, cache) = (self.max_completion_len?, self.soft_punish_cache?);
        (cache > longest)
            .then(|| format!("`soft_punish_cache` is {cache}, longer than `max_completion_len`, {longest}"))
    }
}

impl Default for SoftOverlong {
    fn default() -> SoftOverlong {
        SoftOverlong::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::completion;
    use super::*;
    use crate::fixture::fixture;

    #[test]
    fn overlong_agrees_with_the_fixture() {
        let file = fixture("rewards.json");
        let cases = file["soft_overlong_max100_cache20"].as_array().unwrap();
        let given = SoftOverlong { max_completion_len: Some(100), soft_punish_cache: Some(20) };
        for case in cases {
            let ids = vec![0; case[0].as_u64().unwrap() as usize];
            for overlong in [given, SoftOverlong::DEFAULT] {
                let reward = overlong.score(&completion("", &ids));
                assert!((reward - case[1].as_f64().unwrap()).abs() < 1e-9, "{case}: {reward}");
            }
        }
        assert_eq!(cases.len(), 9);
    }
}
