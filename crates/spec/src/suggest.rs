//! "Did you mean …?"

/// The candidate that `name` was most likely meant to be, if one is near enough.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = name.to_lowercase().replace('-', "_");
    let length = typed.chars().count();
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= candidate.chars().count().max(3) / 3)
        .map(|candidate| (strsim::damerau_levenshtein(&typed, &candidate.to_lowercase().replace('-', "_")), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .filter(|(distance, candidate)| *distance < name.chars().count().min(candidate.chars().count()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The help that names the nearest candidate.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// So many candidates are listed; each of ten thousand mistakes may have a hundred thousand.
const LISTED: usize = 50;

/// The nearest candidate, or a list of them where none is near: `did you mean …?` or `WHAT: a, b, c`.
pub(crate) fn one_of<'a>(name: &str, what: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match did_you_mean(name, candidates.iter().copied()) {
        Some(help) => Some(help),
        None if candidates.is_empty() => None,
        None if candidates.len() > LISTED => {
            let (first, rest) = candidates.split_at(LISTED);
            Some(format!("{what}: {} and {} more", first.join(", "), rest.len()))
        }
        None => Some(format!("{what}: {}", candidates.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let names = ["learning_rate", "lora_r", "beta"];
        assert_eq!(nearest("lerning_rate", names), Some("learning_rate"));
        assert_eq!(nearest("learning-rate", names), Some("learning_rate"));
        assert_eq!(nearest("btea", names), Some("beta"));
        assert_eq!(nearest("temperature", names), None);
        assert_eq!(nearest("a", ["b", "c"]), None);
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..LISTED + 7).map(|number| format!("stage-{number}")).collect();
        let help = one_of("x", "the stages are", names.iter().map(String::as_str)).unwrap_or_default();
        assert!(help.starts_with("the stages are: stage-0, stage-1,"), "{help}");
        assert!(help.ends_with("stage-49 and 7 more"), "{help}");
    }
}
