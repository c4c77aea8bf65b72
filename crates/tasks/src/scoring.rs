//! Scoring by log-likelihood and the plain numbers that harnesses report.

use crate::{Extraction, Item};

/// The option of highest log-likelihood, the first of several equal ones; nothing if none is a number.
pub fn choose(log_likelihoods: &[f64]) -> Option<usize> {
    let numbers = log_likelihoods.iter().copied().enumerate().filter(|(_, value)| !value.is_nan());
    numbers.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(index, _)| index)
}

/// What a log-likelihood is divided by before options are compared, as lm-eval (0.4.13) names the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalization {
    /// `acc_norm`: the option's characters.
    Characters,
    /// `acc_bytes`: its bytes in UTF-8.
    Bytes,
}

/// The option of highest log-likelihood by its length, the first of several equal ones. `continuations` are those of
/// a [`crate::Prompt`]; the space before an option does not count. Where options are single letters this is
/// [`choose`].
pub fn choose_normalized(
    log_likelihoods: &[f64],
    continuations: &[String],
    normalization: Normalization,
) -> Option<usize> {
    let length = |text: &str| match normalization {
        Normalization::Characters => text.chars().count(),
        Normalization::Bytes => text.len(),
    };
    let options = continuations.iter().map(|text| text.strip_prefix(' ').unwrap_or(text));
    let scaled: Vec<f64> =
        log_likelihoods.iter().zip(options).map(|(&value, text)| value / length(text) as f64).collect();
    choose(&scaled)
}

/// The accuracy that HuatuoGPT-o1's harness reports: the higher one of reading first and last matches. It chooses its
/// rule by the result, so it is no fair estimate and stands beside another figure only.
pub fn first_last_maximum(first: &[Extraction], last: &[Extraction], answers: &[usize]) -> Option<f64> {
    let right = |found: &[Extraction]| {
        found.iter().zip(answers).filter(|(found, answer)| found.answer() == Some(**answer)).count()
    };
    let paired = first.len() == answers.len() && last.len() == answers.len() && !answers.is_empty();
    paired.then(|| right(first).max(right(last)) as f64 / answers.len() as f64)
}

/// The mean and its standard error, from the sample standard deviation; the error is 0 for a single value.
pub fn mean_stderr(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let stderr = if values.len() < 2 { 0.0 } else { (squares / (n - 1.0) / n).sqrt() };
    (!values.is_empty()).then_some((mean, stderr))
}

/// The mean of a group's metrics, weighted by how many items each has.
pub fn weighted_mean(metrics: &[(f64, usize)]) -> Option<f64> {
    let size: usize = metrics.iter().map(|&(_, size)| size).sum();
    let sum: f64 = metrics.iter().map(|&(metric, size)| metric * size as f64).sum();
    (size > 0).then(|| sum / size as f64)
}

/// The expected accuracy of guessing among each item's options.
pub fn uniform_guessing(items: &[Item]) -> Option<f64> {
    let chances: f64 = items.iter().map(|item| 1.0 / item.options.len() as f64).sum();
    (!items.is_empty()).then(|| chances / items.len() as f64)
}

/// The accuracy of always giving the letter that is right most often, and that letter.
pub fn most_frequent_answer(items: &[Item]) -> Option<(char, f64)> {
    let mut counts = std::collections::BTreeMap::new();
    for item in items {
        *counts.entry(item.answer_label()).or_insert(0_usize) += 1;
    }
    let (letter, count) = counts.into_iter().rev().max_by_key(|&(_, count)| count)?;
    Some((letter, count as f64 / items.len() as f64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;
    use crate::item::tests::item;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    #[test]
    fn choices_and_means_agree_with_the_fixture() {
        let file = crate::fixture::fixture("mcq.json");
        let cases = file["multiple_choice_scoring"].as_array().unwrap();
        for case in cases {
            let chosen = choose(&numbers(&case["lls"])).unwrap() as u64;
            assert_eq!(case["pred_first_argmax"], chosen);
            assert_eq!(case["acc"] == 1.0, case["gold"] == chosen);
        }
        let [n, correct] = ["n", "correct"].map(|name| file["mean_stderr"][name].as_u64().unwrap() as usize);
        let values: Vec<f64> = (0..n).map(|index| f64::from(u8::from(index < correct))).collect();
        let (mean, stderr) = mean_stderr(&values).unwrap();
        assert!((mean - file["mean_stderr"]["acc"].as_f64().unwrap()).abs() < 1e-12);
        assert!((stderr - file["mean_stderr"]["stderr"].as_f64().unwrap()).abs() < 1e-12);
        let group = &file["group_weight_by_size"];
        let sizes = numbers(&group["sizes"]).into_iter().map(|size| size as usize);
        let metrics: Vec<_> = numbers(&group["metrics"]).into_iter().zip(sizes).collect();
        assert!((weighted_mean(&metrics).unwrap() - group["weighted"].as_f64().unwrap()).abs() < 1e-12);
        assert_eq!(cases.len(), 4);
    }

    #[test]
    fn lengths_count_as_in_lm_eval() {
        // lm_eval 0.4.13, numpy's argmax of lls / lengths of ["é", "abc", "ab"]: characters 1, 3, 2 and bytes 2, 3, 2.
        let options = [" é", " abc", " ab"].map(String::from);
        let lls = [-2.0, -4.0, -2.4];
        assert_eq!(choose(&lls), Some(0));
        assert_eq!(choose_normalized(&lls, &options, Normalization::Characters), Some(2));
        assert_eq!(choose_normalized(&lls, &options, Normalization::Bytes), Some(0));
        let letters = [" A", " B", " C"].map(String::from);
        assert_eq!(choose_normalized(&[-3.0, -1.0, -1.0], &letters, Normalization::Characters), Some(1));
        assert_eq!(choose_normalized(&[], &[], Normalization::Bytes), None);
    }

    #[test]
    fn the_higher_of_first_and_last_matches_is_taken() {
        let [a, b, none] = [Extraction::Answer(0), Extraction::Answer(1), Extraction::Invalid];
        assert_eq!(first_last_maximum(&[a, a, none, b], &[b, b, none, a], &[0, 1, 1, 0]), Some(0.5));
        assert_eq!(first_last_maximum(&[a, a, none, b], &[b, b, none, b], &[0, 0, 1, 1]), Some(0.75));
        assert_eq!((first_last_maximum(&[], &[], &[]), first_last_maximum(&[a], &[], &[0])), (None, None));
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!((choose(&[]), choose(&[f64::NAN]), choose(&[f64::NAN, f64::NEG_INFINITY])), (None, None, Some(1)));
        assert_eq!((mean_stderr(&[]), mean_stderr(&[0.5]), weighted_mean(&[])), (None, Some((0.5, 0.0)), None));
        assert_eq!((uniform_guessing(&[]), most_frequent_answer(&[])), (None, None));
    }

    #[test]
    fn baselines() {
        let mut items = vec![item(&["a", "b"]), item(&["a", "b", "c", "d"]), item(&["a", "b", "c", "d"])];
        items[1].answer = 3;
        assert_eq!(uniform_guessing(&items), Some(1.0 / 3.0));
        assert_eq!(most_frequent_answer(&items), Some(('A', 2.0 / 3.0)));
        items[2].answer = 3;
        assert_eq!(most_frequent_answer(&items), Some(('D', 2.0 / 3.0)));
        assert_eq!(most_frequent_answer(&items[..2]), Some(('A', 0.5)));
    }
}
