#![allow(clippy::unwrap_used)]

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
    let other = Bootstrap { seed: 1, resamples: 501, ..bootstrap }.mean(&[&ordered]).unwrap();
    assert_ne!((interval.low, interval.high), (other.low, other.high));
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
