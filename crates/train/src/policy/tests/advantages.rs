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
