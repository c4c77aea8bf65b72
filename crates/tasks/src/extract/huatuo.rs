//! How HuatuoGPT-o1's harness reads an answer (`evaluation/scorer.py`; Chen et al. 2024, arXiv:2412.18925).
//!
//! In what follows the last `## Final Response` four steps are tried, of which the last always answers: a capital
//! after `answer is`, whatever it begins (`answer is Aspirin` is A); an option's letter that no word characters
//! touch, but not an article (`a` before a space); an option's words anywhere; the option that is most similar to
//! the whole text. Each of the first three may match at several places.

use std::sync::LazyLock;

use super::similarity::ratio;
use crate::item::label;
use crate::rewards::Pattern;

const RESPONSE: &str = "## Final Response\n\n";

/// More options than this its letters do not have.
const MOST: usize = 14;

static ANNOUNCED: LazyLock<Option<Pattern>> = LazyLock::new(|| Pattern::new(r"answer is\s*([A-N])").ok());

/// `STANDING[n]` finds one of the first `n` letters. Chinese characters part words without spaces.
static STANDING: LazyLock<Vec<Option<Pattern>>> = LazyLock::new(|| {
    let chinese = r"\x{4e00}-\x{9fff}";
    let pattern = |last| format!(r"(?:^|\W|[{chinese}])(?![aA] )([A-{last}])(?:\W|[{chinese}]|$)");
    (0..=MOST).map(|count| Pattern::new(&pattern(label(count.saturating_sub(1)))).ok()).collect()
});

/// The first and the last letter that the text answers; nothing only where there are no options.
pub(super) fn first_and_last(text: &str, options: &[String]) -> Option<(char, char)> {
    let text = text.rsplit_once(RESPONSE).map_or(text, |(_, response)| response);
    let standing = STANDING.get(options.len()).and_then(Option::as_ref);
    let lower = text.to_lowercase();
    let options: Vec<String> = options.iter().map(|option| option.to_lowercase()).collect();
    let matched = || [ANNOUNCED.as_ref(), standing].into_iter().flatten().find_map(|pattern| ends(pattern, text));
    let index = |(first, last)| (label(first), label(last));
    matched().or_else(|| named(&lower, &options).map(index)).or_else(|| {
        let similar = most_similar(&lower, &options)?;
        Some(index((similar, similar)))
    })
}

fn ends(pattern: &Pattern, text: &str) -> Option<(char, char)> {
    let mut letters = pattern.letters(text);
    let first = letters.next()?;
    Some((first, letters.last().unwrap_or(first)))
}

/// The options whose words stand in the text: that whose first place is the latest, as the harness sorts them, and
/// that whose last place is. Of options at one place it is the first.
fn named(text: &str, options: &[String]) -> Option<(usize, usize)> {
    let latest = |find: fn(&str, &str) -> Option<usize>| {
        let places = options.iter().enumerate().filter_map(|(index, option)| Some((find(text, option)?, index)));
        places.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, index)| index)
    };
    Some((latest(|text, option| text.find(option))?, latest(|text, option| text.rfind(option))?))
}

/// The option most like the text, the last of equal ones.
fn most_similar(text: &str, options: &[String]) -> Option<usize> {
    let ratios = options.iter().map(|option| ratio(option, text)).enumerate();
    ratios.reduce(|best, next| if next.1 >= best.1 { next } else { best }).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn both(text: &str) -> (char, char) {
        first_and_last(text, &["Aspirin", "A beta blocker", "Heparin", "Warfarin"].map(String::from)).unwrap()
    }

    #[test]
    fn the_steps_in_their_order() {
        assert_eq!(both("The answer is B. No, the answer is C."), ('B', 'C'));
        assert_eq!(both("B or C. The answer is D."), ('D', 'D'));
        assert_eq!(both("The answer is\n Aspirin"), ('A', 'A'));
        assert_eq!(both("Not (B) but *C*."), ('B', 'C'));
        assert_eq!(both("选B。不，C是对的"), ('B', 'C'));
        assert_eq!(both("A patient takes D"), ('D', 'D'));
        assert_eq!(both("answer is B\n## Final Response\n\nanswer is C"), ('C', 'C'));
    }

    #[test]
    fn words_and_likeness() {
        assert_eq!(both("aspirin, then heparin, then aspirin again"), ('C', 'A'));
        assert_eq!(both("it must be wafarin"), ('D', 'D'));
        assert_eq!(first_and_last("anything", &[]), None);
    }
}
