//! TRL's `accuracy_reward` for questions with options: instead of comparing mathematics it compares letters, or words
//! where the options are not shown.

use super::Completion;
use crate::Item;

/// 1 if the option read from the completion is the right one, else 0: also for no option and for reasoning that
/// never ends. Nothing if the item's answer is no option.
pub(super) fn score(completion: &Completion, item: &Item) -> Option<f64> {
    is_right(completion, item).map(|right| f64::from(u8::from(right)))
}

/// Whether the completion gives the item's answer.
pub(super) fn is_right(completion: &Completion, item: &Item) -> Option<bool> {
    (item.answer < item.options.len()).then(|| item.read(completion.text).answer() == Some(item.answer))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{asked, completion};
    use super::*;

    fn reward(text: &str) -> Option<f64> {
        score(&completion(text, &[]), &asked())
    }

    #[test]
    fn only_the_right_letter_in_the_answer_part_counts() {
        assert_eq!(reward("<think>B?</think>The answer is A."), Some(1.0));
        assert_eq!(reward("<think>A.</think>The answer is B."), Some(0.0));
        assert_eq!(reward("<think>The answer is A."), Some(0.0));
        assert_eq!(reward("<think>The answer is A.</think>"), Some(0.0));
    }

    #[test]
    fn naming_every_letter_earns_nothing() {
        assert_eq!(reward("A. B. C. D."), Some(0.0));
        assert_eq!(reward("The answer is A or B."), Some(0.0));
        assert_eq!(reward("The answer is A. The answer is B. The answer is C."), Some(0.0));
    }
}
