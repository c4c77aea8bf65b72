//! The rules that answers are read by: ours and those that figures were published with.
//!
//! A figure depends on the rule (`EXTRACTION.md` of this crate shows by how much), so a result names its rule, and a
//! published figure is compared with a result of the rule it was made with. The published rules see the whole text,
//! reasoning included, as their harnesses do.

use super::{Extraction, extract, huatuo, lm_eval, mirage, mmlu_pro};

/// A way to read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExtractionRule {
    /// Ours, [`extract`]: the default.
    Gazal,
    /// HuatuoGPT-o1's harness (arXiv:2412.18925), the first match of its four steps. Its published accuracy is the
    /// higher one of first and last match, [`crate::scoring::first_last_maximum`].
    HuatuoFirst,
    /// The same, the last match.
    HuatuoLast,
    /// MIRAGE (Xiong et al. 2024, arXiv:2402.13178): ten patterns on what follows `"answer_choice": "`; what none of
    /// them reads is answered with A.
    Mirage,
    /// MMLU-Pro (Wang et al. 2024, arXiv:2406.01574), its first pattern alone. lm-eval's `mmlu_pro` is the same.
    MmluPro1,
    /// MMLU-Pro's first two patterns.
    MmluPro2,
    /// MMLU-Pro's three patterns. What none of them reads its harness answers at random, which is left out here: such
    /// an answer is invalid.
    MmluPro3,
    /// lm-eval's `mmlu_flan_cot_zeroshot`, its filter `strict-match`.
    LmEvalMmluCot,
}

impl ExtractionRule {
    /// Every rule, ours first.
    pub const ALL: [ExtractionRule; 8] = [
        ExtractionRule::Gazal,
        ExtractionRule::HuatuoFirst,
        ExtractionRule::HuatuoLast,
        ExtractionRule::Mirage,
        ExtractionRule::MmluPro1,
        ExtractionRule::MmluPro2,
        ExtractionRule::MmluPro3,
        ExtractionRule::LmEvalMmluCot,
    ];

    /// As results name it.
    pub fn name(self) -> &'static str {
        match self {
            ExtractionRule::Gazal => "gazal",
            ExtractionRule::HuatuoFirst => "huatuo_first",
            ExtractionRule::HuatuoLast => "huatuo_last",
            ExtractionRule::Mirage => "mirage",
            ExtractionRule::MmluPro1 => "mmlu_pro_1",
            ExtractionRule::MmluPro2 => "mmlu_pro_2",
            ExtractionRule::MmluPro3 => "mmlu_pro_3",
            ExtractionRule::LmEvalMmluCot => "lm_eval_mmlu_cot",
        }
    }

    /// The rule of this name.
    pub fn named(name: &str) -> Option<ExtractionRule> {
        ExtractionRule::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// The answer of a text to a question with these options, as the rule's harness counts it.
    pub fn read(self, text: &str, options: &[String]) -> Extraction {
        match (self, self.find(text, options)) {
            (ExtractionRule::Mirage, Extraction::Invalid) => Extraction::Answer(0),
            (_, found) => found,
        }
    }

    /// The same without MIRAGE's answer for a text in which it finds none.
    pub fn find(self, text: &str, options: &[String]) -> Extraction {
        let letter = match self {
            ExtractionRule::Gazal => return extract(text, options),
            ExtractionRule::HuatuoFirst => huatuo::first_and_last(text, options).map(|(first, _)| first),
            ExtractionRule::HuatuoLast => huatuo::first_and_last(text, options).map(|(_, last)| last),
            ExtractionRule::Mirage => mirage::letter(text),
            ExtractionRule::MmluPro1 => mmlu_pro::letter(text, 1),
            ExtractionRule::MmluPro2 => mmlu_pro::letter(text, 2),
            ExtractionRule::MmluPro3 => mmlu_pro::letter(text, 3),
            ExtractionRule::LmEvalMmluCot => lm_eval::letter(text),
        };
        let index = letter.map(|letter| letter as usize - 'A' as usize);
        index.filter(|&index| index < options.len()).map_or(Extraction::Invalid, Extraction::Answer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::item::label;

    fn letter(rule: ExtractionRule, text: &str) -> Option<char> {
        let options = ["aspirin", "a beta blocker", "warfarin", "heparin"].map(String::from);
        rule.read(text, &options).answer().map(label)
    }

    #[test]
    fn names_are_found_again() {
        assert!(ExtractionRule::ALL.into_iter().all(|rule| ExtractionRule::named(rule.name()) == Some(rule)));
        assert_eq!(ExtractionRule::named("none"), None);
    }

    #[test]
    fn the_rules_differ_where_they_should() {
        let text = "I first thought the answer is A, but the answer is (B).";
        // In the order of ALL: ours, Huatuo's two, MIRAGE's, MMLU-Pro's three, lm-eval's.
        let read = |text: &str| ExtractionRule::ALL.map(|rule| letter(rule, text));
        let [a, b, c, d] = ['A', 'B', 'C', 'D'].map(Some);
        // lm-eval takes all that follows the first phrase, which is no letter.
        assert_eq!(read(text), [b, a, a, a, a, a, a, None]);
        assert_eq!(read("<think>The answer is A.</think>\nAnswer: C"), [c, a, a, c, a, a, a, None]);
        assert_eq!(read("Nothing to read."), [None, d, d, a, None, None, None, None]);
    }

    #[test]
    fn a_letter_beyond_the_options_is_invalid() {
        let options = ["yes", "no", "maybe"].map(String::from);
        assert_eq!(ExtractionRule::MmluPro1.read("answer is (J)", &options), Extraction::Invalid);
        assert_eq!(ExtractionRule::HuatuoLast.read("The answer is D.", &options), Extraction::Invalid);
        assert_eq!(ExtractionRule::Gazal.read("<think>", &options), Extraction::Unfinished);
    }
}
