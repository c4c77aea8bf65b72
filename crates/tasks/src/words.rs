//! A text as comparisons see it: words without case and punctuation.

/// Lower-case words of letters and digits, in order. Chinese and Japanese set no spaces: each of their characters is a
/// word.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).flat_map(runs)
}

/// Splits letters and digits before and behind every character that is a word.
fn runs(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = if is_word(first) { first.len_utf8() } else { rest.find(is_word).unwrap_or(rest.len()) };
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word.to_lowercase())
    })
}

/// Kana and the blocks of Chinese characters (Unicode 16, chapter 18).
fn is_word(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_scripts_with_and_without_spaces() {
        let of = |text: &str| words(text).collect::<Vec<_>>().join(" ");
        assert_eq!(of("The anti-CCP, 2nd Élan!"), "the anti ccp 2nd élan");
        assert_eq!(of("痛风的首选治疗是萘普生。"), "痛 风 的 首 选 治 疗 是 萘 普 生");
        assert_eq!(of("抗CCP抗体,HLA-B27"), "抗 ccp 抗 体 hla b27");
        assert_eq!((of("ひらカタ한국어 말"), of(" 。")), ("ひ ら カ タ 한국어 말".into(), String::new()));
    }
}
