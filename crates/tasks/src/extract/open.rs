//! The answer to a question that shows no options: which of the known answers the text names.
//!
//! Texts are compared word by word ([`words`]), so case, punctuation and markup do not matter and `insulin` is not in
//! `insulinoma`. An answer within a longer one that is named too (`surgery` in `emergency surgery`) is not named.

use super::{Extraction, answer_part};
use crate::words;

/// Reads the one known answer that is named behind the reasoning. None or several of them are no answer: naming all of
/// them must not be a way to be right.
pub fn in_words(text: &str, answers: &[String]) -> Extraction {
    let Some(part) = answer_part(text) else { return Extraction::Unfinished };
    match named(&words(part).collect::<Vec<_>>(), answers)[..] {
        [only] => Extraction::Answer(only),
        _ => Extraction::Invalid,
    }
}

/// The indices of the answers that a text names.
pub(crate) fn named(text: &[String], answers: &[String]) -> Vec<usize> {
    let answers: Vec<Vec<String>> = answers.iter().map(|answer| words(answer).collect()).collect();
    let found: Vec<usize> = (0..answers.len()).filter(|&at| contains(text, &answers[at])).collect();
    let within = |at: usize| found.iter().any(|&other| other != at && contains(&answers[other], &answers[at]));
    found.iter().copied().filter(|&at| !within(at)).collect()
}

/// Whether words stand in a text, one behind the other.
pub(crate) fn contains(text: &[String], part: &[String]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Extraction {
        let answers = ["insulin", "surgery", "emergency surgery", "萘普生", "别嘌醇", "手术", "急诊手术"];
        in_words(text, &answers.map(String::from))
    }

    #[test]
    fn one_known_answer_behind_the_reasoning() {
        assert_eq!(read("<think>Insulin? No.</think>It is **Surgery**!"), Extraction::Answer(1));
        assert_eq!(read("<think>别嘌醇用于缓解期。</think>首选萘普生。"), Extraction::Answer(3));
        assert_eq!(read("Emergency surgery."), Extraction::Answer(2));
        assert_eq!(read("应当急诊手术"), Extraction::Answer(6));
        for text in ["insulinoma", "naproxen", "", "<think>x</think>", "insulin, surgery, 萘普生", "萘普生或别嘌醇"]
        {
            assert_eq!(read(text), Extraction::Invalid, "{text}");
        }
        assert_eq!(read("<think>surgery"), Extraction::Unfinished);
    }
}
