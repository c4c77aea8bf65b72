//! How MIRAGE reads an answer (`src/utils.py`; Xiong et al. 2024, arXiv:2402.13178).
//!
//! Its models answer in JSON, often broken, so the text after the last `"answer_choice": "` is searched: first for a
//! letter that opens it and stands alone or before another one, then for `option X` and `: X` anywhere, then for a
//! letter that opens it before a full stop, a quotation mark or a colon.

use std::sync::LazyLock;

use crate::rewards::Pattern;

const KEY: &str = "\"answer_choice\": \"";

static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let opening = |end: &str| format!(r"^\s*([A-D]){end}");
    let anywhere = [r"[Oo]ption ([A-D])", r":\s*([A-D])"].map(String::from);
    let patterns = ["$", " or", " and", "/", ","].map(opening).into_iter().chain(anywhere);
    patterns.chain([r"\.", "\"", ":"].map(opening)).filter_map(|pattern| Pattern::new(&pattern).ok()).collect()
});

/// The letter from A to D that one of the patterns finds.
pub(super) fn letter(text: &str) -> Option<char> {
    let text = text.rsplit_once(KEY).map_or(text, |(_, answer)| answer).trim();
    PATTERNS.iter().find_map(|pattern| pattern.letters(text).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_patterns_count() {
        assert_eq!(PATTERNS.len(), 10);
        for (text, expected) in [
            ("B", Some('B')),
            ("{\"step_by_step_thinking\": \"A.\", \"answer_choice\": \"C. Heparin\"}", Some('C')),
            ("B or C", Some('B')),
            ("B and C", Some('B')),
            ("C/D", Some('C')),
            ("D, A", Some('D')),
            ("It is option B", Some('B')),
            ("Answer:\nD", Some('D')),
            ("B. Since: Candida", Some('C')),
            ("B\" }", Some('B')),
            ("B: heparin", Some('B')),
            ("B) heparin", None),
            ("The answer is B.", None),
        ] {
            assert_eq!(letter(text), expected, "{text}");
        }
    }
}
