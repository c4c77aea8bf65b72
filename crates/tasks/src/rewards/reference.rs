//! A judge without a model: the tiers of [`super::judge`], told from the words of an answer.
//!
//! What a language model weighs is decided here by rules, so that the same answer earns the same everywhere and for
//! nothing: −1 without an answer behind the reasoning, or for one that repeats itself or has broken characters; −0.5 for
//! one of the item's other answers, which are known to be wrong, even beside the right one; +2 for the reference; +0.5 for
//! a synonym of it, or a large part of its words; else 0. It knows of no contradiction but those answers, cannot tell
//! sense from nonsense, and 0 stands for all that it does not know, of whatever subject.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::Completion;
use super::judge::{NO_ANSWER, Tier};
use crate::extract::{contains, named};
use crate::{Extraction, Item, answer_part, words};

/// An answer of so many words may repeat itself.
const SHORT: usize = 6;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reference {
    /// The share of the reference's pairs of neighbouring words from which on an answer is another wording of it.
    pub overlap: f64,
    /// Groups of phrases that mean the same.
    pub synonyms: Vec<Vec<String>>,
}

impl Reference {
    pub const DEFAULT: Reference = Reference { overlap: 0.5, synonyms: Vec::new() };

    /// Nothing if the item's answer is no option.
    pub(super) fn score(&self, completion: &Completion, item: &Item) -> Option<f64> {
        let reference = item.options.get(item.answer)?;
        let Some(part) = answer_part(completion.text) else { return Some(NO_ANSWER) };
        let said: Vec<String> = words(part).collect();
        if said.is_empty() || part.contains(char::REPLACEMENT_CHARACTER) || repeats(&said) {
            return Some(NO_ANSWER);
        }
        let found = match item.read(completion.text) {
            Extraction::Answer(letter) if !item.open => vec![letter],
            _ => named(&said, &item.options),
        };
        let tier = match found[..] {
            [only] if only == item.answer => Tier::Same,
            [] if self.is_other_wording(&said, reference) => Tier::Reasonable,
            [] => Tier::Beside,
            _ => Tier::Contradiction,
        };
        Some(tier.value())
    }

    fn is_other_wording(&self, said: &[String], reference: &str) -> bool {
        let phrase = |text: &String| words(text).collect::<Vec<_>>();
        let reference: Vec<String> = words(reference).collect();
        let groups = self.synonyms.iter().map(|group| group.iter().map(phrase).collect::<Vec<_>>());
        let synonym = groups.filter(|group| group.contains(&reference)).flatten().any(|other| contains(said, &other));
        let pairs = reference.windows(2);
        let all = pairs.len();
        let shared = pairs.filter(|pair| contains(said, pair)).count();
        synonym || all > 0 && shared as f64 >= self.overlap * all as f64
    }

    pub(super) fn mistake(&self) -> Option<String> {
        if !(self.overlap > 0.0 && self.overlap <= 1.0) {
            return Some(format!("`overlap` is {}, and must be above 0 and at most 1", self.overlap));
        }
        let alone = self.synonyms.iter().any(|group| group.len() < 2);
        alone.then(|| "a group of `synonyms` must have at least two phrases".into())
    }
}

impl Default for Reference {
    fn default() -> Reference {
        Reference::DEFAULT
    }
}

/// Whether less than half of the triples of words are different ones.
fn repeats(said: &[String]) -> bool {
    let triples = said.windows(3);
    let all = triples.len();
    said.len() > SHORT && 2 * triples.collect::<HashSet<_>>().len() < all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::completion;
    use super::*;
    use crate::item::tests::item;

    fn tier(text: &str) -> f64 {
        let asked = Item { open: true, ..item(&["心肌梗死", "肺栓塞", "high-dose oral steroids"]) };
        let synonyms = vec![vec!["心梗".to_string(), "心肌梗死".to_string()]];
        let judge = Reference { synonyms, ..Reference::DEFAULT };
        judge.score(&completion(text, &[]), &asked).unwrap()
    }

    #[test]
    fn every_tier_has_its_answers() {
        for (text, expected) in [
            ("<think>是肺栓塞吗？</think>诊断为心肌梗死。", 2.0),
            ("心肌梗死", 2.0),
            ("应为急性心梗。", 0.5),
            ("心肌缺血", 0.0),
            ("冠状动脉心肌梗塞", 0.5),
            ("心肌梗", 0.5),
            ("今天天气很好。", 0.0),
            ("肺栓塞。", -0.5),
            ("心肌梗死，不是肺栓塞。", -0.5),
            ("high-dose oral steroids", -0.5),
            ("<think>心肌梗死", -1.0),
            ("<think>心肌梗死</think>", -1.0),
            ("<think>x</think> 。", -1.0),
            ("心肌\u{fffd}梗死", -1.0),
            ("心肌梗死心肌梗死心肌梗死心肌梗死", -1.0),
        ] {
            assert_eq!(tier(text), expected, "{text}");
        }
    }

    #[test]
    fn letters_count_where_options_are_shown() {
        let asked = item(&["heparin", "aspirin"]);
        let score = |text: &str| Reference::DEFAULT.score(&completion(text, &[]), &asked).unwrap();
        assert_eq!([score("The answer is A."), score("The answer is B."), score("heparin")], [2.0, -0.5, 2.0]);
        assert_eq!(Reference::DEFAULT.score(&completion("A", &[]), &Item { answer: 2, ..asked }), None);
    }
}
