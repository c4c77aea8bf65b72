//! How lm-eval's `mmlu_flan_cot_zeroshot` reads an answer (0.4.13, filter `strict-match`): what follows the first
//! `answer is `, `The answer: ` or `The final answer: `, to the last character but one of the line, must be one
//! letter but for punctuation and case. Its other filter, `flexible-extract`, also searches for the words of options
//! and is not here.

use std::sync::LazyLock;

use crate::rewards::Pattern;

static ANSWER: LazyLock<Option<Pattern>> =
    LazyLock::new(|| Pattern::new(r"(?:answer is |The answer: |The final answer: )(.*)(?=.)").ok());

pub(super) fn letter(text: &str) -> Option<char> {
    let found = ANSWER.as_ref()?.groups(text).next()?;
    let mut rest = found.trim().chars().filter(|c| !c.is_ascii_punctuation());
    let letter = rest.next().filter(char::is_ascii_alphabetic)?;
    rest.next().is_none().then_some(letter.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_and_nothing_else() {
        assert_eq!(letter("The answer is (B)."), Some('B'));
        assert_eq!(letter("so the answer is (b)\nThe answer is (C)."), Some('B'));
        assert_eq!(letter("The final answer: **D**"), Some('D'));
        assert_eq!(letter("The answer is (B) heparin."), None);
        // The last character is never part of it.
        assert_eq!(letter("The answer is B"), None);
        assert_eq!(letter("Answer: B"), None);
    }
}
