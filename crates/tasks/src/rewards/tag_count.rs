//! open-r1's `tag_count_reward`: partial credit for the tags of a format, each of which must occur exactly once. It
//! helps a model to a format of which the whole is too rarely met by chance.

use serde::{Deserialize, Serialize};

/// With the line breaks that open-r1 asks for.
const TAGS: [&str; 4] = ["<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>"];

/// The parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagCount {
    /// Texts that are worth equal shares of 1; open-r1's four, a quarter each, if they are not given.
    pub tags: Option<Vec<String>>,
}

impl TagCount {
    pub const DEFAULT: TagCount = TagCount { tags: None };

    pub(super) fn score(&self, text: &str) -> f64 {
        match &self.tags {
            Some(tags) => share(text, tags.iter().map(String::as_str)),
            None => share(text, TAGS.into_iter()),
        }
    }

    pub(super) fn mistake(&self) -> Option<String> {
        let tags = self.tags.as_ref()?;
        let good = !tags.is_empty() && tags.iter().all(|tag| !tag.is_empty());
        (!good).then(|| "`tags` must name at least one text, none of them empty".into())
    }
}

impl Default for TagCount {
    fn default() -> TagCount {
        TagCount::DEFAULT
    }
}

fn share<'a>(text: &str, tags: impl ExactSizeIterator<Item = &'a str>) -> f64 {
    let all = tags.len();
    tags.filter(|tag| text.matches(tag).count() == 1).count() as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_for_each_tag_that_occurs_once() {
        let score = |text: &str| TagCount::DEFAULT.score(text);
        assert_eq!(score("<think>\nso\n</think>\n<answer>\nA\n</answer>"), 1.0);
        assert_eq!(score("<think>\nso\n</think> <answer>\nA\n</answer>"), 0.5, "tags stand on lines of their own");
        assert_eq!(score("<think>so</think>A"), 0.0);
        assert_eq!(score("<think>\n<think>\nso\n</think>\nA"), 0.25, "two of a tag are none");
    }

    #[test]
    fn tags_of_ones_own() {
        let tags = TagCount { tags: Some(vec!["<think>".into(), "</think>".into()]) };
        assert_eq!(tags.score("<think>so</think>A"), 1.0);
        assert_eq!(tags.score("<think>so"), 0.5);
    }
}
