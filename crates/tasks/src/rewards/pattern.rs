//! A regular expression as a reward: open-r1's formats and what else can be seen from the text alone.
//!
//! The syntax is Python's `re`, look-around and back references included; `(?s)` lets the dot match line breaks,
//! `(?m)` lets `^` and `$` match at each line. Such expressions can take very long; one that gives up on a
//! completion has not judged it.

use fancy_regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A compiled expression, written and compared as its text.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// What is wrong with the expression.
    pub fn new(text: &str) -> Result<Pattern, String> {
        Regex::new(text).map(Pattern).map_err(|error| format!("`{text}` is no regular expression: {error}"))
    }

    /// Whether it is found anywhere; nothing if the search was given up.
    pub fn is_in(&self, text: &str) -> Option<bool> {
        self.0.is_match(text).ok()
    }

    /// How often it is found, without overlaps; nothing if the search was given up.
    pub fn count(&self, text: &str) -> Option<usize> {
        let found: Result<Vec<_>, _> = self.0.find_iter(text).collect();
        found.ok().map(|found| found.len())
    }

    /// What the expression's group holds in each match, as far as the search went.
    pub fn groups<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.captures_iter(text).map_while(Result::ok);
        found.filter_map(|captures| captures.get(1).map(|group| group.as_str()))
    }

    /// The letters of a group that holds one.
    pub(crate) fn letters(&self, text: &str) -> impl Iterator<Item = char> {
        self.groups(text).filter_map(|group| group.chars().next())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        Pattern::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegexReward {
    pub pattern: Pattern,
    /// The reward of a completion in which the pattern is found.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub value: f64,
    /// The reward of all others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub otherwise: f64,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl RegexReward {
    pub(super) fn score(&self, text: &str) -> Option<f64> {
        self.pattern.is_in(text).map(|found| if found { self.value } else { self.otherwise })
    }

    pub(super) fn mistake(&self) -> Option<String> {
        let good = self.value.is_finite() && self.otherwise.is_finite();
        (!good).then(|| "a value is not a finite number".into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn regex(pattern: &str) -> RegexReward {
        RegexReward { pattern: Pattern::new(pattern).unwrap(), value: 1.0, otherwise: -0.5 }
    }

    #[test]
    fn open_r1s_format_as_an_expression() {
        let format = regex(r"(?sm)^<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$");
        assert_eq!(format.score("<think>\na\n</think>\n<answer>\nA\n</answer>"), Some(1.0));
        assert_eq!(format.score("<think>a</think><answer>A</answer>"), Some(-0.5));
        let twice = regex(r"^<think>(?!.*<think>)");
        assert_eq!((twice.score("<think>a"), twice.score("<think>a<think>")), (Some(1.0), Some(-0.5)));
    }

    #[test]
    fn a_search_without_end_is_no_judgement() {
        assert_eq!(regex(r"^(?=(a|a?)*b\1)c").score(&"a".repeat(10_000)), None);
    }
}
