//! Means and deviations with missing values, and what they do to advantages.

use super::super::advantages as advantages_of;
use super::*;

fn config(scale_rewards: ScaleRewards) -> AdvantageConfig {
    let multi_objective_aggregation = MultiObjectiveAggregation::SumThenNormalize;
    AdvantageConfig { group_size: 4, scale_rewards, multi_objective_aggregation }
}

const GAP: f64 = f64::NAN;

#[test]
fn means_and_deviations_leave_out_what_is_missing() {
    assert_eq!(mean(&[1.0, GAP, 3.0]), 2.0);
    assert_eq!(deviation(&[1.0, GAP, 3.0]), 2.0_f64.sqrt());
    assert_eq!(deviation(&[5.0, GAP]), 0.0);
    assert!(mean(&[GAP]).is_nan() && mean(&[]).is_nan());
}

#[test]
fn a_total_is_of_the_rewards_that_are_there() {
    let sums = totals(&[vec![1.0, GAP, GAP], vec![0.5, 2.0, GAP]], &[1.0, 0.5]);
    assert_eq!(sums[..2], [1.25, 1.0]);
    assert!(sums[2].is_nan(), "no reward is not a reward of 0");
    assert_eq!(totals(&[vec![1.0], vec![2.0]], &[]), [3.0], "a weight that is not given is 1");
}

#[test]
fn a_completion_without_rewards_does_not_change_its_group() {
    for scale in [ScaleRewards::Group, ScaleRewards::Batch, ScaleRewards::None] {
        let with = advantages_of(&config(scale), &[vec![1.0, 0.0, GAP, 3.0]], &[]);
        let without = advantages_of(&AdvantageConfig { group_size: 3, ..config(scale) }, &[vec![1.0, 0.0, 3.0]], &[]);
        assert_eq!(with[2], 0.0);
        assert_eq!([with[0], with[1], with[3]], without[..]);
    }
}

#[test]
fn a_group_without_rewards_or_with_one_does_not_train() {
    let found = advantages_of(&config(ScaleRewards::Group), &[vec![GAP, GAP, GAP, GAP, GAP, 7.0, GAP, GAP]], &[]);
    assert_eq!(found, [0.0; 8]);
}

/// All groups of a batch at once are what each of them is by the formula, alone.
#[test]
fn groups_do_not_see_one_another() {
    for (groups, size) in [(1, 2), (5, 4), (16, 8)] {
        let mut numbers = Numbers(groups as u64);
        let rewards: Vec<f64> = (0..groups * size).map(|_| (4.0 * numbers.next()).floor() / 2.0).collect();
        for scale in [ScaleRewards::Group, ScaleRewards::None] {
            let config = AdvantageConfig { group_size: size, ..config(scale) };
            let found = advantages_of(&config, std::slice::from_ref(&rewards), &[]);
            let alone = rewards.chunks(size).flat_map(|group| {
                let mean = group.iter().sum::<f64>() / size as f64;
                let squares: f64 = group.iter().map(|reward| (reward - mean) * (reward - mean)).sum();
                let divisor =
                    if scale == ScaleRewards::None { 1.0 } else { (squares / (size as f64 - 1.0)).sqrt() + 1e-4 };
                group.iter().map(move |reward| (reward - mean) / divisor)
            });
            assert_near(&found, &alone.collect::<Vec<_>>(), 1e-12, &format!("{groups} groups of {size}, {scale:?}"));
        }
    }
}

/// I13 to the bit: of eight rewards of 0.1 the sum is not eight times that, and signs of such rests would be whole steps of
/// some optimizers.
#[test]
fn i13_equal_rewards_have_no_spread_whatever_their_sum_is_rounded_to() {
    assert_ne!([0.1; 8].iter().sum::<f64>() / 8.0, 0.1);
    for (reward, size) in [(0.1, 8), (0.7, 8), (2.1, 16), (1.0 / 3.0, 16), (0.1, 3)] {
        let mut rewards = vec![reward; size];
        assert_eq!((mean(&rewards), deviation(&rewards)), (reward, 0.0));
        rewards.push(GAP);
        // A second group, for the deviation of the batch.
        rewards.extend((0..=size).map(|at| at as f64));
        for scale in [ScaleRewards::Group, ScaleRewards::Batch, ScaleRewards::None] {
            let config = AdvantageConfig { group_size: size + 1, ..config(scale) };
            let found = advantages_of(&config, std::slice::from_ref(&rewards), &[]);
            assert!(found[..=size].iter().all(|advantage| *advantage == 0.0), "{size} times {reward}: {found:?}");
            assert!(found[size + 1] < 0.0 && found[2 * size + 1] > 0.0);
        }
    }
}
