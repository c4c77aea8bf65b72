#![allow(clippy::unwrap_used)]

use super::bootstrap::quantile;
use super::random::{draw, mix};
use super::*;

/// Question `i` of cluster `i % clusters`, with the score that the function gives.
fn scores(count: usize, clusters: usize, value: impl Fn(usize) -> f64) -> Vec<Score> {
    let score = |index: usize| Score {
        id: format!("q{index}"),
        cluster: format!("c{}", index % clusters),
        value: value(index),
    };
    (0..count).map(score).collect()
}

fn coin(index: usize) -> f64 {
    (mix(index as u64) & 1) as f64
}

#[test]
fn independent_questions_have_the_binomial_interval() {
    let scores = scores(400, 400, coin);
    let interval = Bootstrap::default().mean(&[&scores]).unwrap();
    let successes = scores.iter().filter(|score| score.value == 1.0).count();
    let exact = wilson(successes, 400).unwrap();
    assert_eq!((interval.mean, interval.items, interval.clusters), (exact.mean, 400, 400));
    assert!((interval.low - exact.low).abs() < 0.006, "{interval:?} {exact:?}");
    assert!((interval.high - exact.high).abs() < 0.006, "{interval:?} {exact:?}");
}

#[test]
fn questions_that_stand_and_fall_together_have_a_wider_one() {
    let alone = Bootstrap::default().mean(&[&scores(1000, 1000, |index| coin(index % 50))]).unwrap();
    let together = Bootstrap::default().mean(&[&scores(1000, 50, |index| coin(index % 50))]).unwrap();
    assert_eq!(alone.mean, together.mean);
    // Twenty copies of each fact: the width grows by the root of 20.
    let ratio = (together.high - together.low) / (alone.high - alone.low);
    assert!((ratio - 20_f64.sqrt()).abs() < 0.4, "{ratio}");
}

#[test]
fn the_resample_does_not_depend_on_the_order_and_the_seed_matters() {
    let ordered = scores(60, 20, coin);
    let mut reversed = ordered.clone();
    reversed.reverse();
    let bootstrap = Bootstrap { resamples: 500, ..Bootstrap::default() };
    let interval = bootstrap.mean(&[&ordered]).unwrap();
    assert_eq!(interval, bootstrap.mean(&[&reversed]).unwrap());
    assert_eq!(interval.mean, bootstrap.mean(&[&ordered]).unwrap().mean);
    let varied = scores(60, 20, |index| (index as f64).sqrt());
    let [one, other] = [0, 1].map(|seed| Bootstrap { seed, ..bootstrap }.mean(&[&varied]).unwrap());
    assert_ne!((one.low, one.high), (other.low, other.high));
}

#[test]
fn a_paired_difference_is_narrower_than_an_unpaired_one() {
    let left = scores(300, 100, coin);
    // Right where the left is, and at every tenth question besides.
    let right = scores(300, 100, |index| if index % 10 == 0 { 1.0 } else { coin(index) });
    let gain = Bootstrap::default().difference(&[(&left, &right)]).unwrap();
    let (mean_left, mean_right) = (wilson(150, 300).unwrap(), wilson(165, 300).unwrap());
    assert!(gain.is_above(0.0) && gain.mean > 0.0 && gain.items == 300, "{gain:?}");
    assert!(gain.high - gain.low < (mean_left.high - mean_left.low).min(mean_right.high - mean_right.low));
    let loss = Bootstrap::default().difference(&[(&right, &left)]).unwrap();
    assert!((loss.mean + gain.mean).abs() < 1e-12 && (loss.low + gain.high).abs() < 1e-12);
    let none = Bootstrap::default().difference(&[(&left, &left)]).unwrap();
    assert_eq!((none.mean, none.low, none.high), (0.0, 0.0, 0.0));
    assert!(none.contains(0.0) && !none.is_above(0.0));
}

#[test]
fn groups_are_pooled_as_the_mean_of_their_means() {
    let small = scores(10, 10, |_| 1.0);
    let large = scores(90, 10, |_| 0.0);
    let pooled = Bootstrap::default().mean(&[&small, &large]).unwrap();
    assert_eq!((pooled.mean, pooled.low, pooled.high), (0.5, 0.5, 0.5));
    assert_eq!((pooled.items, pooled.clusters), (100, 10));
}

#[test]
fn seeds_that_agree_do_not_narrow_the_interval_and_clusters_are_drawn_jointly() {
    let scores = scores(200, 50, |index| coin(index % 50));
    let one = Bootstrap::default().mean(&[&scores]).unwrap();
    let three = Bootstrap::default().mean(&[&scores, &scores, &scores]).unwrap();
    assert!((one.low - three.low).abs() < 1e-12 && (one.high - three.high).abs() < 1e-12);
}

#[test]
fn a_group_without_a_cluster_in_the_resample_is_left_out() {
    let mut lone = scores(1, 1, |_| 1.0);
    lone[0].cluster = "z".into();
    let wide = scores(40, 3, |_| 0.0);
    let interval = Bootstrap::default().mean(&[&lone, &wide]).unwrap();
    assert_eq!(interval.mean, 0.5);
    assert!(interval.low == 0.0 && interval.high <= 1.0);
}

#[test]
fn mistakes_are_errors() {
    let bootstrap = Bootstrap { resamples: 10, ..Bootstrap::default() };
    let good = scores(4, 2, coin);
    assert_eq!(bootstrap.mean(&[]), Err(StatsError::Empty));
    assert_eq!(bootstrap.mean(&[&good, &[]]), Err(StatsError::Empty));
    assert_eq!(bootstrap.difference(&[(&[], &[])]), Err(StatsError::Empty));
    assert_eq!(bootstrap.mean(&[&scores(1, 1, |_| f64::NAN)]), Err(StatsError::NotFinite("q0".into())));
    let twice = [good.clone(), good[..1].to_vec()].concat();
    assert_eq!(bootstrap.mean(&[&twice]), Err(StatsError::Twice("q0".into())));
    assert_eq!(bootstrap.difference(&[(&good, &twice)]), Err(StatsError::Twice("q0".into())));
    assert_eq!(bootstrap.difference(&[(&twice, &good)]), Err(StatsError::Twice("q0".into())));
    assert_eq!(bootstrap.difference(&[(&good, &good[..3])]), Err(StatsError::Unpaired("q3".into())));
    assert_eq!(bootstrap.difference(&[(&good[1..], &good)]), Err(StatsError::Unpaired("q0".into())));
    let mut moved = good.clone();
    moved[2].cluster = "elsewhere".into();
    assert_eq!(bootstrap.difference(&[(&good, &moved)]), Err(StatsError::Unpaired("q2".into())));
}

#[test]
fn wilson_has_its_known_values() {
    let half = wilson(5, 10).unwrap();
    assert!((half.low - 0.236_593).abs() < 1e-6 && (half.high - 0.763_407).abs() < 1e-6, "{half:?}");
    let none = wilson(0, 20).unwrap();
    assert!(none.low == 0.0 && (none.high - 0.161_125).abs() < 1e-6, "{none:?}");
    assert_eq!(wilson(20, 20).unwrap().high, 1.0);
    assert_eq!((wilson(0, 0), wilson(3, 2)), (None, None));
}

#[test]
fn quantiles_are_interpolated() {
    assert_eq!([0.0, 0.25, 0.5, 1.0].map(|share| quantile(&[1.0, 2.0, 4.0], share)), [1.0, 1.5, 2.0, 4.0]);
    assert!(quantile(&[], 0.5).is_nan());
}

#[test]
fn every_cluster_is_drawn_as_often() {
    let mut total = vec![0_u32; 7];
    for resample in 0..10_000 {
        let mut times = vec![0; 7];
        draw(&mut times, mix(resample));
        assert_eq!(times.iter().sum::<u32>(), 7);
        total.iter_mut().zip(times).for_each(|(total, times)| *total += times);
    }
    // 10,000 each; the standard deviation is 93.
    assert!(total.iter().all(|count| (9_500..10_500).contains(count)), "{total:?}");
}

#[test]
fn few_clusters_have_students_tails() {
    // Symmetric values: the expanded interval is near the t interval, the percentile interval is narrower.
    let few = scores(8, 8, |index| index as f64 - 3.5);
    let expanded = Bootstrap { resamples: 40_000, ..Bootstrap::default() }.mean(&[&few]).unwrap();
    let percentile = Bootstrap { resamples: 40_000, tails: Tails::Percentile, ..Bootstrap::default() };
    let percentile = percentile.mean(&[&few]).unwrap();
    // Mean 0, sample deviation √6, t with 7 degrees of freedom 2.364624: half the width is 2.048.
    assert!((expanded.high - 2.048).abs() < 0.15 && (expanded.low + 2.048).abs() < 0.15, "{expanded:?}");
    assert!(percentile.high < 1.7 && percentile.low > -1.7, "{percentile:?}");
}

#[test]
fn exact_intervals_have_their_known_values() {
    // scipy's binomtest(8, 8).proportion_ci(0.95, "exact"): 0.025 to the power of 1/8.
    let all = clopper_pearson(8, 8, 0.95).unwrap();
    assert!((all.low - 0.025_f64.powf(0.125)).abs() < 1e-9 && all.high == 1.0, "{all:?}");
    // Clopper and Pearson (1934) of 5 in 10.
    let half = clopper_pearson(5, 10, 0.95).unwrap();
    assert!((half.low - 0.187_086).abs() < 1e-6 && (half.high - 0.812_914).abs() < 1e-6, "{half:?}");
    assert_eq!((clopper_pearson(0, 0, 0.95), clopper_pearson(3, 2, 0.95)), (None, None));
}

#[test]
fn an_accuracy_counts_effective_questions() {
    let alone = accuracy(&scores(100, 100, coin), 0.95).unwrap().unwrap();
    let successes = scores(100, 100, coin).iter().filter(|score| score.value == 1.0).count();
    let exact = clopper_pearson(successes, 100, 0.95).unwrap();
    assert_eq!((alone.low, alone.high, alone.clusters), (exact.low, exact.high, 100));
    // Twenty copies of 50 facts are about as good as 50 questions.
    let copies = accuracy(&scores(1000, 50, |index| coin(index % 50)), 0.95).unwrap().unwrap();
    let fifty = accuracy(&scores(50, 50, coin), 0.95).unwrap().unwrap();
    assert!((copies.low - fifty.low).abs() < 0.01 && (copies.high - fifty.high).abs() < 0.01, "{copies:?} {fifty:?}");
    // All right: 4 clusters count as 4 questions.
    let all = accuracy(&scores(40, 4, |_| 1.0), 0.95).unwrap().unwrap();
    assert!((all.low - 0.025_f64.powf(0.25)).abs() < 1e-9, "{all:?}");
    assert_eq!(accuracy(&scores(4, 2, |_| 0.5), 0.95), Ok(None));
    assert_eq!(accuracy(&[], 0.95), Err(StatsError::Empty));
}

/// How many of `runs` experiments with eight questions, of which each has one winner with a chance of 40% and either
/// side is as good, are called a difference by a function of both sides.
fn false_findings(runs: u64, found: impl Fn(&[Score], &[Score]) -> bool) -> usize {
    let experiment = |run: u64| {
        let chance = |index: usize| (mix(mix(run).wrapping_add(index as u64)) >> 11) as f64 / (1_u64 << 53) as f64;
        let left = scores(8, 8, |index| f64::from(u8::from(chance(index) < 0.2)));
        let right = scores(8, 8, |index| f64::from(u8::from((0.2..0.4).contains(&chance(index)))));
        found(&left, &right)
    };
    (0..runs).filter(|&run| experiment(run)).count()
}

#[test]
fn eight_questions_without_a_difference_are_seldom_called_one() {
    let bootstrap = Bootstrap { resamples: 400, tails: Tails::Percentile, ..Bootstrap::default() };
    let by_percentiles =
        false_findings(600, |left, right| !bootstrap.difference(&[(left, right)]).unwrap().contains(0.0));
    let by_comparison = false_findings(600, |left, right| {
        let compared = Comparison::of(&[(left, right)], &bootstrap).unwrap();
        compared.verdict(compared.test.p, 0.05) != Verdict::WithinNoise
    });
    // 5% of 600 are 30, with a standard deviation of 5.
    assert!(by_comparison <= 30, "{by_comparison}");
    assert!(by_percentiles > 45, "{by_percentiles}");
}
