//! The command line behind a run, as one would type it again.

use std::path::Path;

use gazal_engine::{Header, Requested};

/// The words as one line that a shell takes apart into just these words.
pub(crate) fn line(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// `run` of the same stages with the same settings, and the store in which their results lie.
pub(crate) fn run(header: &Header, store: &Path) -> Vec<String> {
    let Requested { profiles, set, backend, targets, from, until, single } = &header.requested;
    let mut words = vec!["gazal-pipe".to_string(), "run".into(), header.file.display().to_string()];
    words.extend(targets.iter().cloned());
    let mut add = |flag: &str, value: String| words.extend([flag.to_string(), value]);
    profiles.iter().for_each(|name| add("--profile", name.clone()));
    set.iter().for_each(|(key, value)| add("--set", format!("{key}={value}")));
    for (stage, backend) in backend {
        add("--backend", stage.as_ref().map_or_else(|| backend.clone(), |stage| format!("{stage}={backend}")));
    }
    from.iter().for_each(|name| add("--from", name.clone()));
    until.iter().for_each(|name| add("--until", name.clone()));
    add("--store", store.display().to_string());
    words.extend(single.then(|| "--single".to_string()));
    words
}

fn quote(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_@%+=:,./-".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    if word.chars().any(char::is_control) {
        return format!("$'{}'", word.chars().map(escaped).collect::<String>());
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// In the form of bash, zsh and ksh for what cannot be written otherwise.
fn escaped(letter: char) -> String {
    match letter {
        '\\' | '\'' => format!("\\{letter}"),
        '\n' => "\\n".into(),
        '\t' => "\\t".into(),
        letter if letter.is_control() => {
            let mut bytes = [0; 4];
            letter.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:03o}")).collect()
        }
        letter => letter.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_gives_the_words_back() {
        let words = [
            "plain",
            "",
            "two words",
            "it's",
            "$HOME `id` \\ \"",
            "a\nb\tc",
            "\u{1b}[1m'\\x",
            "*",
            "~",
            "a;b&c|d",
            "-n",
            "日本",
        ];
        let words: Vec<String> = words.map(String::from).into();
        let script = format!("printf '%s\\0' {}", line(&words));
        let said = Command::new("bash").args(["-c", &script]).output().unwrap();
        let heard: Vec<String> =
            String::from_utf8(said.stdout).unwrap().split_terminator('\0').map(String::from).collect();
        assert_eq!(heard, words);
    }
}
