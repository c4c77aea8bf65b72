//! open-r1's `reasoning_steps_reward`: `min(1, marks / 3)`, where a mark is `Step 1:`, a number that the text begins
//! with, a bullet, or `First,`, `Second,`, `Next,`, `Finally,`. Whoever trains on it should watch accuracy: marks
//! cost nothing.

use std::sync::LazyLock;

use super::Pattern;

/// As open-r1's expression is read by Python: without `re.MULTILINE`, `^` is the beginning of the text alone.
static MARK: LazyLock<Option<Pattern>> =
    LazyLock::new(|| Pattern::new(r"Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,").ok());
/// Marks that are worth 1.
const ENOUGH: f64 = 3.0;

pub(super) fn score(text: &str) -> Option<f64> {
    let marks = MARK.as_ref()?.count(text)?;
    Some((marks as f64 / ENOUGH).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_for_each_mark_up_to_one() {
        assert_eq!(score(""), Some(0.0));
        assert_eq!(score("Step 1: look.\nStep 2: think."), Some(2.0 / 3.0));
        assert_eq!(score("1. look\n2. think\n- so\n* it"), Some(1.0), "2. does not begin the text");
        assert_eq!(score("1. look\n2. think"), Some(1.0 / 3.0));
        assert_eq!(score("First, Second, Next, Finally, done"), Some(1.0));
        assert_eq!(score("Step one: first, second"), Some(0.0));
    }
}
