//! The answer in a generated text.
//!
//! Reasoning is left out first: everything through the last `</think>`. In what remains, the patterns of
//! [`PATTERNS`] are tried in order, and within a pattern the *last* match counts, since a model that corrects
//! itself means what it says last. (lm-eval takes the first match, HuatuoGPT-o1 the better of both.)
//!
//! Guards against answers that only look right: a letter must stand alone (`Aspirin` is no `A`), be a capital
//! among the question's own letters, and not be one of a list (`A or B`, `A, C`). Where no phrase announces the
//! answer, a letter must open a line, as an option is quoted, and be the only one that does.
//!
//! The rules that figures were published with are in [`ExtractionRule`], to be reported beside ours.

mod huatuo;
mod lm_eval;
mod mirage;
mod mmlu_pro;
mod open;
mod rule;
mod similarity;

pub use open::in_words;
pub(crate) use open::{contains, named};
pub use rule::ExtractionRule;

use crate::item::label;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// What a generated text answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extraction {
    /// The index of an option.
    Answer(usize),
    /// There is an answer part, but no option can be read from it.
    Invalid,
    /// The reasoning was never closed.
    Unfinished,
}

impl Extraction {
    /// The index of the option, if there is one.
    pub fn answer(self) -> Option<usize> {
        match self {
            Extraction::Answer(index) => Some(index),
            Extraction::Invalid | Extraction::Unfinished => None,
        }
    }
}

/// A way to say an answer.
enum Pattern {
    /// One of these phrases (lower case), directly followed by an option.
    Phrase(&'static [&'static str]),
    /// An option at the beginning of a line.
    Line,
}

/// In order; the first that matches decides.
const PATTERNS: [Pattern; 4] = [
    Pattern::Phrase(&["answer is", "answer should be", "answer would be"]),
    Pattern::Phrase(&["answer:", "answer**:", "answer\":", "answer_choice\":", "answer choice:"]),
    Pattern::Phrase(&["final answer", "correct option is", "correct choice is"]),
    Pattern::Line,
];

/// Reads the answer to a question with these options. Options that are all of yes, no and maybe may be given by
/// their word as well as by their letter.
pub fn extract(text: &str, options: &[String]) -> Extraction {
    let Some(part) = answer_part(text) else { return Extraction::Unfinished };
    let choices = Choices { options, spoken: options.iter().all(|option| is_decision(option)) };
    let lower = part.to_ascii_lowercase();
    let found = PATTERNS.iter().find_map(|pattern| match pattern {
        Pattern::Phrase(phrases) => last_announced(part, &lower, phrases, &choices),
        Pattern::Line => only_line(part, &choices),
    });
    found.map_or(Extraction::Invalid, Extraction::Answer)
}

/// What follows the reasoning: the text after the last `</think>`, all of it where there is no reasoning, and
/// nothing where reasoning is still open at the end.
pub fn answer_part(text: &str) -> Option<&str> {
    let part = text.rfind(CLOSE).map_or(text, |at| &text[at + CLOSE.len()..]);
    (!part.contains(OPEN)).then_some(part)
}

fn is_decision(option: &str) -> bool {
    ["yes", "no", "maybe"].iter().any(|word| option.trim().eq_ignore_ascii_case(word))
}

/// The option after the last place where one of the phrases is followed by one. `lower` is `part` in lower case.
fn last_announced(part: &str, lower: &str, phrases: &[&str], choices: &Choices) -> Option<usize> {
    let places = phrases.iter().flat_map(|phrase| lower.match_indices(phrase).map(|(at, found)| at + found.len()));
    places.filter_map(|end| Some((end, choices.announced(&part[end..])?))).max().map(|(_, index)| index)
}

/// The option that opens lines, if only one does.
fn only_line(part: &str, choices: &Choices) -> Option<usize> {
    let mut found = part.lines().filter_map(|line| choices.opening(line));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// The options of a question, as letters and, if `spoken`, as words.
struct Choices<'a> {
    options: &'a [String],
    spoken: bool,
}

impl Choices<'_> {
    /// The option named by a word, exactly.
    fn named(&self, word: &str) -> Option<usize> {
        let mut indices = 0..self.options.len();
        let letter = indices.clone().find(|&index| word.chars().eq([label(index)]));
        let spoken = || indices.find(|&index| self.spoken && self.options[index].trim().eq_ignore_ascii_case(word));
        letter.or_else(spoken)
    }

    /// The option that directly follows a phrase, if it is not the first of several.
    fn announced(&self, rest: &str) -> Option<usize> {
        let (word, after) = first_word(strip_lead(rest));
        self.named(word).filter(|_| !self.goes_on(after))
    }

    /// Whether what follows an option joins another one to it.
    fn goes_on(&self, after: &str) -> bool {
        let after = after.trim_start_matches(|c: char| ")]*\"'".contains(c)).trim_start();
        let joined = [",", "/", "&", "+", "or ", "and "].iter().find_map(|join| after.strip_prefix(join));
        joined.is_some_and(|rest| {
            let rest = rest.trim_start();
            let (word, _) = first_word(strip_lead(rest.strip_prefix("or ").unwrap_or(rest)));
            self.named(word).is_some()
        })
    }

    /// The option that a line is or begins with: `B`, `**B**`, `(B) text`, `B. text`, but not `B. C. D.`.
    fn opening(&self, line: &str) -> Option<usize> {
        let (word, after) = first_word(strip_lead(line));
        let index = self.named(word)?;
        let closed = after.trim_end().is_empty() || after.starts_with(|c: char| ".):,*]\"'".contains(c));
        let labels = (0..self.options.len()).filter(|&other| other != index).map(label);
        let lists = self.goes_on(after) || labels.into_iter().any(|other| lists_label(after, other));
        (closed && !lists).then_some(index)
    }
}

/// Whether a text has a further option's label in it: `C.` or `C)` after punctuation, so not `vitamin C.`
fn lists_label(text: &str, letter: char) -> bool {
    text.match_indices(letter).any(|(at, found)| {
        let before = text[..at].trim_end().chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && matches!(after, Some('.' | ')'))
    })
}

/// Drops what stands between a phrase and its option: punctuation, markup, `option`.
fn strip_lead(mut text: &str) -> &str {
    const WORDS: [&str; 8] = ["option ", "Option ", "choice ", "Choice ", "letter ", "boxed{", "text{", "textbf{"];
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || "*_`:-–=([{\"'$\\>".contains(c));
        match WORDS.iter().find_map(|word| text.strip_prefix(word)) {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

/// The letters and digits that a text begins with, and the rest.
fn first_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("option number {index}")).collect()
    }

    fn letter(text: &str) -> Option<char> {
        extract(text, &options(5)).answer().map(label)
    }

    fn decision(text: &str) -> Option<String> {
        let options = ["yes", "no", "maybe"].map(String::from);
        extract(text, &options).answer().map(|index| options[index].clone())
    }

    #[test]
    fn the_part_after_the_last_think_counts() {
        assert_eq!(letter("<think>The answer is A.</think>The answer is B."), Some('B'));
        assert_eq!(letter("The answer is A.</think> no</think>\nThe answer is C."), Some('C'));
        assert_eq!(letter("The answer is D."), Some('D'));
        let four = options(4);
        assert_eq!(extract("<think>The answer is A.", &four), Extraction::Unfinished);
        assert_eq!(extract("<think>a</think>The answer is A. <think>But", &four), Extraction::Unfinished);
        assert_eq!(extract("<think>The answer is A.</think>", &four), Extraction::Invalid);
        assert_eq!(extract("", &four), Extraction::Invalid);
    }

    #[test]
    fn phrases_in_their_order_and_the_last_of_each() {
        assert_eq!(letter("I first thought the answer is A, but the answer is (B)."), Some('B'));
        assert_eq!(letter("Answer: D\nThe answer is C.\nAnswer: E"), Some('C'));
        assert_eq!(letter("Answer: D\n**Answer**: E"), Some('E'));
        assert_eq!(letter("Final answer\n\n**C**"), Some('C'));
        assert_eq!(letter("Final Answer: B"), Some('B'));
        assert_eq!(letter("The answer is B.\n\nA. is wrong"), Some('B'));
    }

    #[test]
    fn markup_around_the_letter() {
        for text in [
            "The answer is C",
            "the ANSWER IS: **C**",
            "The answer is option C.",
            "The answer is (C) option number 2",
            "The answer is $\\boxed{C}$.",
            "The answer is \\boxed{\\text{C}}",
            "The answer is \n\n\"C\"",
            "The answer is C because it is.",
            "{\"step_by_step_thinking\": \"x\", \"answer_choice\": \"C. option number 2\"}",
        ] {
            assert_eq!(letter(text), Some('C'), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_letter() {
        for text in [
            "The answer is Aspirin",
            "The answer is a beta blocker",
            "The answer is K.",
            "The answer is F.",
            "The answer is not A",
            "The answer is A or B.",
            "The answer is A, C and D",
            "The answer is (A) / (B)",
            "The patient has hepatitis B.",
            "A patient needs vitamin D",
            "A. B. C. D.",
            "A, B, C",
            "A) first, B) second",
            "A. first\nB. second",
            "É",
        ] {
            assert_eq!(extract(text, &options(5)), Extraction::Invalid, "{text}");
        }
    }

    #[test]
    fn a_line_that_opens_with_one_option() {
        assert_eq!(letter("B"), Some('B'));
        assert_eq!(letter("\n **B**\n"), Some('B'));
        assert_eq!(letter("(B) it is"), Some('B'));
        assert_eq!(letter("It must be this one.\nC. Vitamin D.\nC"), Some('C'));
        assert_eq!(letter("- B) option number 1, since A is wrong"), Some('B'));
    }

    #[test]
    fn decisions_by_word_and_by_letter() {
        assert_eq!(decision("<think>no</think>The answer is yes.").as_deref(), Some("yes"));
        assert_eq!(decision("The answer is C.").as_deref(), Some("maybe"));
        assert_eq!(decision("Answer: **No**").as_deref(), Some("no"));
        assert_eq!(decision("The answer is B. no").as_deref(), Some("no"));
        assert_eq!(decision("Maybe.").as_deref(), Some("maybe"));
        assert_eq!(decision("Yes, it does.").as_deref(), Some("yes"));
        assert_eq!(decision("The answer is yes or no."), None);
        assert_eq!(decision("Nobody knows."), None);
        assert_eq!(letter("The answer is yes."), None);
    }
}
