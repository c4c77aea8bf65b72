//! How MMLU-Pro's harness reads an answer (`evaluate_from_local.py`; Wang et al. 2024, arXiv:2406.01574): a letter
//! from A to J after `answer is`, else after `answer:`, else the last that stands alone.

use std::sync::LazyLock;

use crate::rewards::Pattern;

static ANNOUNCED: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let patterns = [r"answer is \(?([A-J])", r".*[aA]nswer:\s*([A-J])"];
    patterns.iter().filter_map(|pattern| Pattern::new(pattern).ok()).collect()
});

static STANDING: LazyLock<Option<Pattern>> = LazyLock::new(|| Pattern::new(r"\b([A-J])\b").ok());

/// The letter that the first of `levels` (1 to 3) patterns finds that finds any.
pub(super) fn letter(text: &str, levels: usize) -> Option<char> {
    let announced = ANNOUNCED.iter().take(levels).find_map(|pattern| pattern.letters(text).next());
    announced.or_else(|| STANDING.as_ref().filter(|_| levels > 2)?.letters(text).last())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_pattern_is_lm_eval_s_and_agrees_with_the_fixture() {
        let file = crate::fixture::fixture("mcq.json");
        let cases = file["mmlu_pro_extract"].as_array().unwrap();
        for case in cases {
            let found = letter(case["text"].as_str().unwrap(), 1);
            assert_eq!(json!(found.map_or("[invalid]".into(), String::from)), case["extracted"], "{case}");
        }
        assert_eq!(cases.len(), 6);
    }

    #[test]
    fn each_level_reads_more() {
        let levels = |text: &str| [1, 2, 3].map(|levels| letter(text, levels));
        let [b, c] = ['B', 'C'].map(Some);
        assert_eq!(levels("The answer is B. Answer: C"), [b, b, b]);
        // In the first line that has one, the last.
        assert_eq!(levels("Answer: A or Answer: B\nAnswer: C"), [None, b, b]);
        assert_eq!(levels("It is A, no,\nC\nVitamin Z."), [None, None, c]);
        assert_eq!(levels("Aspirin"), [None; 3]);
    }
}
