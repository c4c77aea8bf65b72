//! Several answers to one question: pass@k and maj@k.
//!
//! Both are expectations over all subsets of k of the n answers that were generated, so that every answer counts
//! and nothing is drawn; with k = n it is what these n answers give. Their mean over questions is the metric, and
//! [`scores`] gives them to [`crate::stats::Bootstrap`] for its interval.
//!
//! pass@k is the unbiased estimator of Chen et al. (2021, arXiv:2107.03374, equation 1), as a product that does not
//! overflow. maj@k (Wang et al. 2022, arXiv:2203.11171) lets the answers of a subset vote. An invalid answer has no
//! vote; options with equally many votes share the win, so a tie of the right one with another counts a half; a
//! subset without any vote is wrong.

use std::collections::BTreeMap;

use libm::lgamma;

use crate::stats::Score;

/// The answers to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    pub id: String,
    pub cluster: String,
    /// The index of the right option.
    pub right: usize,
    /// An option each, or nothing where it is invalid or unfinished.
    pub answers: Vec<Option<usize>>,
}

/// What k answers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtK {
    /// That one of them is right.
    Pass,
    /// That most of them are.
    Majority,
}

/// The chance that one of `k` of `n` answers is right, of which `right` are; nothing unless 1 ≤ k ≤ n and right ≤ n.
pub fn pass_at_k(n: usize, right: usize, k: usize) -> Option<f64> {
    let wrong = n.checked_sub(right)?;
    let missed: f64 = (wrong + 1..=n).map(|drawn| 1.0 - k as f64 / drawn as f64).product();
    (1..=n).contains(&k).then_some(if k > wrong { 1.0 } else { 1.0 - missed })
}

/// The chance that the right option wins the vote of `k` of these answers; nothing unless there are as many.
pub fn maj_at_k(answers: &[Option<usize>], right: usize, k: usize) -> Option<f64> {
    let mut counts = BTreeMap::<usize, usize>::new();
    answers.iter().flatten().for_each(|option| *counts.entry(*option).or_default() += 1);
    let own = counts.remove(&right).unwrap_or(0);
    let others: Vec<usize> = counts.into_values().collect();
    let invalid = answers.len() - own - others.iter().sum::<usize>();
    let wins = (1..=own.min(k)).map(|votes| wins_with(votes, own, &others, invalid, k));
    (1..=answers.len()).contains(&k).then(|| wins.sum::<f64>().clamp(0.0, 1.0))
}

/// The chance that the right option, given by `own` answers, has so many votes in a subset and wins, counting 1/(t+1)
/// where t others have as many. Groups of answers are drawn one after the other, each from what remains.
fn wins_with(votes: usize, own: usize, others: &[usize], invalid: usize, k: usize) -> f64 {
    let mut remaining = own + others.iter().sum::<usize>() + invalid;
    // By votes still to draw and ties.
    let mut chances = BTreeMap::from([((k - votes, 0_u32), hypergeometric((remaining, own), k, votes))]);
    remaining -= own;
    for &other in others {
        let mut next = BTreeMap::<(usize, u32), f64>::new();
        for ((open, ties), chance) in chances {
            for drawn in 0..=other.min(votes).min(open) {
                let tie = u32::from(drawn == votes);
                let drawn_chance = chance * hypergeometric((remaining, other), open, drawn);
                *next.entry((open - drawn, ties + tie)).or_default() += drawn_chance;
            }
        }
        chances = next;
        remaining -= other;
    }
    // What is still open is drawn from the invalid answers.
    let ends = chances.into_iter().filter(|((open, _), _)| *open <= invalid);
    ends.map(|((_, ties), chance)| chance / f64::from(ties + 1)).sum()
}

/// The chance of `found` of a group among `k` drawn of all.
fn hypergeometric((all, group): (usize, usize), k: usize, found: usize) -> f64 {
    let ways = || Some(ln_choose(group, found)? + ln_choose(all - group, k - found)? - ln_choose(all, k)?);
    ways().map_or(0.0, f64::exp)
}

/// The logarithm of the number of ways to choose `k` of `n`, if there are any.
fn ln_choose(n: usize, k: usize) -> Option<f64> {
    let ln_factorial = |value: usize| lgamma(value as f64 + 1.0);
    Some(ln_factorial(n) - ln_factorial(k) - ln_factorial(n.checked_sub(k)?))
}

/// The metric of each question; nothing where a question has fewer than `k` answers.
pub fn scores(questions: &[Attempts], at_k: AtK, k: usize) -> Option<Vec<Score>> {
    let value = |question: &Attempts| match at_k {
        AtK::Majority => maj_at_k(&question.answers, question.right, k),
        AtK::Pass => {
            let right = question.answers.iter().filter(|answer| **answer == Some(question.right)).count();
            pass_at_k(question.answers.len(), right, k)
        }
    };
    let score = |question: &Attempts| {
        Some(Score { id: question.id.clone(), cluster: question.cluster.clone(), value: value(question)? })
    };
    questions.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::stats::Bootstrap;

    #[test]
    fn pass_at_k_by_hand() {
        // 1 − C(n−c, k) / C(n, k).
        assert!((pass_at_k(5, 2, 2).unwrap() - (1.0 - 3.0 / 10.0)).abs() < 1e-12);
        assert!((pass_at_k(10, 3, 4).unwrap() - (1.0 - 35.0 / 210.0)).abs() < 1e-12);
        assert_eq!((pass_at_k(4, 1, 4), pass_at_k(4, 0, 4), pass_at_k(4, 4, 1)), (Some(1.0), Some(0.0), Some(1.0)));
        assert!((pass_at_k(200_000, 100, 1).unwrap() - 0.0005).abs() < 1e-12);
        assert_eq!(
            (pass_at_k(4, 1, 5), pass_at_k(4, 1, 0), pass_at_k(4, 5, 1), pass_at_k(0, 0, 0)),
            (None, None, None, None)
        );
    }

    /// All subsets, voted one by one.
    fn counted(answers: &[Option<usize>], right: usize, k: usize) -> f64 {
        let subsets = (0_u32..1 << answers.len()).filter(|subset| subset.count_ones() as usize == k);
        let (sum, count) = subsets.fold((0.0, 0.0), |(sum, count), subset| {
            let mut votes = [0; 6];
            let drawn = answers.iter().enumerate().filter(|(index, _)| subset >> index & 1 == 1);
            drawn.filter_map(|(_, answer)| *answer).for_each(|option| votes[option] += 1);
            let most = votes.iter().max().copied().unwrap();
            let winners = votes.iter().filter(|count| **count == most).count();
            let won = most > 0 && votes[right] == most;
            (sum + if won { 1.0 / winners as f64 } else { 0.0 }, count + 1.0)
        });
        sum / count
    }

    #[test]
    fn maj_at_k_is_the_mean_over_all_subsets() {
        let [a, b, c, n] = [Some(0), Some(1), Some(2), None];
        let cases = [
            vec![a, a, b, b, c, n, n],
            vec![a, b, c, Some(3), Some(4), Some(5)],
            vec![a, a, a, a, b, b, b, n, c, c],
            vec![n, n, n],
            vec![b, b, b],
        ];
        for answers in &cases {
            for (k, right) in (1..=answers.len()).flat_map(|k| [(k, 0), (k, 1), (k, 5)]) {
                let found = maj_at_k(answers, right, k).unwrap();
                assert!((found - counted(answers, right, k)).abs() < 1e-12, "{answers:?} {right} {k}: {found}");
            }
        }
        // By hand: of A, A, B any two: AA once, AB twice, a tie; all three: A.
        assert!((maj_at_k(&[a, a, b], 0, 2).unwrap() - (1.0 + 0.5 + 0.5) / 3.0).abs() < 1e-12);
        assert_eq!(
            (maj_at_k(&[a, b], 0, 2), maj_at_k(&[n, a], 0, 2), maj_at_k(&[n, n], 0, 2)),
            (Some(0.5), Some(1.0), Some(0.0))
        );
        assert_eq!((maj_at_k(&[a], 0, 2), maj_at_k(&[a], 0, 0), maj_at_k(&[], 0, 0)), (None, None, None));
    }

    #[test]
    fn thousands_of_answers_do_not_overflow() {
        let answers: Vec<_> = (0..3_000).map(|index| (index % 10 != 9).then_some(index % 3)).collect();
        let [first, second, third] = [0, 1, 2].map(|right| maj_at_k(&answers, right, 25).unwrap());
        assert!((first + second + third - 1.0).abs() < 1e-9, "{first} {second} {third}");
    }

    #[test]
    fn scores_have_an_interval() {
        let question = |index: usize| Attempts {
            id: index.to_string(),
            cluster: (index % 10).to_string(),
            right: 0,
            answers: vec![Some(index % 2), Some(0), None, Some(1)],
        };
        let questions: Vec<Attempts> = (0..40).map(question).collect();
        let interval = |at_k, k| Bootstrap::default().mean(&[&scores(&questions, at_k, k).unwrap()]).unwrap();
        // Half of the questions have 2 right of 4, half have 1: pass@1 3/8; pass@4 1; maj@4 (A A B: 1, A B B: 0).
        assert!((interval(AtK::Pass, 1).mean - 0.375).abs() < 1e-12);
        assert_eq!((interval(AtK::Pass, 4).mean, interval(AtK::Majority, 4).mean), (1.0, 0.5));
        assert!(interval(AtK::Majority, 4).low < 0.4 && scores(&questions, AtK::Pass, 5).is_none());
    }
}
