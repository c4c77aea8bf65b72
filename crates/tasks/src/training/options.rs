//! Options that stand in the text of a question.

use crate::item::label;

/// A question and the options at its end, each beginning a line with its letter (`A. `, `A) `, `(A) ` or `A: `), the
/// first A and each the next letter. An option may have several lines. All is question where there are fewer than two.
pub(super) fn split(text: &str) -> (String, Vec<String>) {
    let lines: Vec<&str> = text.lines().collect();
    // The options are the last ones: a question may speak of A and B too.
    let begin = (0..lines.len()).rev().find(|&at| labelled(lines[at], 0).is_some());
    let options = begin.map(|begin| options(&lines[begin..])).unwrap_or_default();
    match begin {
        Some(begin) if options.len() > 1 => (lines[..begin].join("\n").trim().to_string(), options),
        _ => (text.trim().to_string(), Vec::new()),
    }
}

fn options(lines: &[&str]) -> Vec<String> {
    let mut options = Vec::<String>::new();
    for line in lines {
        match (labelled(line, options.len()), options.last_mut()) {
            (Some(option), _) => options.push(option.to_string()),
            (None, Some(option)) => *option = format!("{option}\n{line}").trim_end().to_string(),
            (None, None) => {}
        }
    }
    options
}

/// What follows the letter of an index at the beginning of a line.
fn labelled(line: &str, index: usize) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix('(').unwrap_or(line).strip_prefix(label(index))?;
    let rest = rest.strip_prefix(['.', ')', ':'])?;
    rest.starts_with(char::is_whitespace).then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_at_the_end() {
        let (question, options) =
            split("Type A. or B?\nA. of old\n\nWhich?\n\nA. one\nB) two\n  lines\n(C) three\nD: four\n");
        assert_eq!(question, "Type A. or B?\nA. of old\n\nWhich?");
        assert_eq!(options, ["one", "two\n  lines", "three", "four"]);
    }

    #[test]
    fn no_options() {
        for text in ["Which?", "A. only one", "B. one\nC. two", "A.one\nB.two", ""] {
            assert_eq!(split(text), (text.to_string(), vec![]), "{text}");
        }
    }
}
