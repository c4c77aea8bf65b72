//! TRL's `think_format_reward`: the regular expression `^<think>(?!.*<think>)(.*?)</think>.*$`, where the dot
//! matches line breaks too. Written out, it asks three plain questions.

/// 1 if the text begins with `<think>`, opens no second one and closes it, else 0.
pub(super) fn score(text: &str) -> f64 {
    let rest = text.strip_prefix("<think>");
    let good = rest.is_some_and(|rest| !rest.contains("<think>") && rest.contains("</think>"));
    f64::from(u8::from(good))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::fixture::fixture;

    #[test]
    fn format_agrees_with_the_fixture() {
        let file = fixture("rewards.json");
        let cases = file["think_format"].as_array().unwrap();
        for case in cases {
            assert_eq!(case[1], score(case[0].as_str().unwrap()), "{case}");
        }
        assert_eq!(cases.len(), 10);
    }
}
