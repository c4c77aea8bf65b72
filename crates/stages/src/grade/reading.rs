//! The parts of a completion, and what a reply says.

use gazal_tasks::{Extraction, Item, Pattern};

/// How a grade is read from a reply.
#[derive(Clone, Debug)]
pub enum Reading {
    /// The number in the group of the expression's last match.
    Number(Pattern),
    /// Whether it is the row's answer.
    Regenerated,
}

/// A number that an expression finds last.
pub fn number(pattern: &Pattern, reply: &str) -> Option<f64> {
    pattern.groups(reply).last()?.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// Whether a reply names the right option.
pub fn right_option(item: &Item, reply: &str) -> Option<bool> {
    match item.read(reply) {
        Extraction::Answer(found) => Some(found == item.answer),
        Extraction::Invalid | Extraction::Unfinished => None,
    }
}

/// What a reply to "do both say the same" says.
pub fn same(reply: &str) -> Option<bool> {
    let last = reply.to_lowercase();
    let said = last.rsplit_once("same:")?.1.trim_start_matches([' ', '*', '"']);
    [("yes", true), ("no", false)].into_iter().find(|(word, _)| said.starts_with(word)).map(|(_, same)| same)
}

/// The reasoning without its conclusion, and what comes after it.
pub fn parts(completion: &str) -> (String, String) {
    let text = completion.trim();
    let (reasoning, after) = match text.split_once("</think>") {
        Some((reasoning, after)) => (reasoning.trim_start().trim_start_matches("<think>"), after),
        None => (text, ""),
    };
    let lines: Vec<&str> = reasoning.trim().lines().collect();
    let end = lines.iter().skip(1).position(|line| concludes(line)).map_or(lines.len(), |at| at + 1);
    (lines[..end].join("\n").trim_end().to_string(), after.trim().to_string())
}

/// How lines begin that say the answer.
const CONCLUSIONS: [&str; 6] =
    ["conclusion", "in conclusion", "final answer", "the answer is", "answer:", "therefore, the answer"];

/// Whether a line of reasoning, behind marks of Markdown and `Step k:`, says what it comes to.
fn concludes(line: &str) -> bool {
    let marks = |c: char| c.is_whitespace() || "#*->_".contains(c);
    let text = line.trim_start_matches(marks).to_lowercase();
    let step = text.strip_prefix("step ").and_then(|rest| rest.split_once(':'));
    let text = match step {
        Some((number, rest)) if number.parse::<u32>().is_ok() => rest.trim_start_matches(marks),
        _ => &text,
    };
    CONCLUSIONS.iter().any(|beginning| text.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_conclusion_is_cut_off() {
        let text = "<think>\nStep 1: fever.\nStep 2: it is gout.\nStep 3: **The answer is** B.\nmore\n</think>\n\nThe answer is B.";
        let (reasoning, conclusion) = parts(text);
        assert_eq!(
            (reasoning.as_str(), conclusion.as_str()),
            ("Step 1: fever.\nStep 2: it is gout.", "The answer is B.")
        );
        assert_eq!(
            parts("### Conclusion: gout"),
            ("### Conclusion: gout".into(), String::new()),
            "nothing else is there"
        );
        assert_eq!(parts("Fever.\n### Conclusion:\ngout").0, "Fever.");
        assert_eq!(parts("Fever.\nStep one: the answer is near").0, "Fever.\nStep one: the answer is near");
    }

    #[test]
    fn replies_are_read_from_their_end() {
        let rating = Pattern::new(r"Rating:\W*([1-5])").unwrap();
        assert_eq!(number(&rating, "Rating: 2 would be harsh.\n**Rating:** 4"), Some(4.0));
        assert_eq!(number(&rating, "Rating: none"), None);
        assert_eq!(
            (same("Same: no. Wait.\nSame: **Yes**"), same("same:\"no\""), same("yes")),
            (Some(true), Some(false), None)
        );
        let item: Item = serde_json::from_value(serde_json::json!({
            "id": "1", "benchmark": "medqa", "question": "Which?", "options": ["one", "two"], "answer": 1
        }))
        .unwrap();
        assert_eq!(
            (right_option(&item, "The answer is B."), right_option(&item, "The answer is A.")),
            (Some(true), Some(false))
        );
        assert_eq!(right_option(&item, "Neither."), None);
    }
}
