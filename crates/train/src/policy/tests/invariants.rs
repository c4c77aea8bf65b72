//! Invariants of the losses and advantages that need no reference.

use super::super::advantages as advantages_of;
use super::*;

fn every_config() -> Vec<PolicyConfig> {
    let with = |(loss_type, importance_sampling_level)| PolicyConfig {
        loss_type,
        importance_sampling_level,
        beta: 0.05,
        max_completion_length: 8,
        ..PolicyConfig::default()
    };
    LOSS_TYPES.into_iter().flat_map(|kind| LEVELS.map(|level| (kind, level))).map(with).collect()
}

/// I1: what a step's gradient is does not depend on how its completions are cut into micro-batches. `bnpo` is
/// defined by the micro-batch, and the others' micro-batches must be of one size.
#[test]
fn i1_a_step_is_the_same_however_it_is_cut_into_micro_batches() {
    let case = Case::random(3, &[6, 2, 5, 4]);
    for config in every_config().iter().filter(|config| config.loss_type != LossType::Bnpo) {
        let whole = case.loss(config);
        for size in [1, 2] {
            let window = Window { accumulation: 4 / size, tokens: case.tokens() as f64 };
            let parts = (0..4 / size).map(|part| case.rows(&(part * size..(part + 1) * size).collect::<Vec<_>>()));
            let losses: Vec<PolicyLoss> = parts.map(|part| policy_loss(config, &part.batch(), window)).collect();
            let gradient: Vec<f64> = losses.iter().flat_map(|loss| loss.gradient.clone()).collect();
            assert_near(&gradient, &whole.gradient, 1e-14, &format!("{config:?}"));
            assert_near(&[losses.iter().map(|loss| loss.loss).sum()], &[whole.loss], 1e-14, &format!("{config:?}"));
            let mut metrics = PolicyMetrics::default();
            losses.iter().for_each(|loss| metrics.add(&loss.metrics));
            for ((name, found), (_, expected)) in metrics.named(config).iter().zip(whole.metrics.named(config)) {
                assert_near(&[*found], &[expected], 1e-12, name);
            }
        }
    }
}

/// I11: the order of a group does not matter.
#[test]
fn i11_completions_may_be_permuted() {
    let (case, order) = (Case::random(7, &[6, 2, 5, 4]), [2, 0, 3, 1]);
    for config in every_config() {
        let (straight, permuted) = (case.loss(&config), case.rows(&order).loss(&config));
        assert_near(&[permuted.loss], &[straight.loss], 1e-14, &format!("{config:?}"));
        let expected: Vec<f64> =
            order.iter().flat_map(|row| &straight.gradient[row * 6..(row + 1) * 6]).copied().collect();
        assert_near(&permuted.gradient, &expected, 1e-14, &format!("{config:?}"));
    }
    let rewards = [0.0, 2.0, 1.5, 2.0];
    let config = group_of(4, ScaleRewards::Group);
    let straight = advantages_of(&config, &[rewards.to_vec()], &[]);
    let permuted = advantages_of(&config, &[order.map(|row| rewards[row]).to_vec()], &[]);
    assert_near(&permuted, &order.map(|row| straight[row]), 1e-12, "advantages");
}

fn group_of(group_size: usize, scale_rewards: ScaleRewards) -> AdvantageConfig {
    let multi_objective_aggregation = MultiObjectiveAggregation::SumThenNormalize;
    AdvantageConfig { group_size, scale_rewards, multi_objective_aggregation }
}

/// I12: only what differs inside a group counts.
#[test]
fn i12_a_constant_added_to_the_rewards_of_a_group_changes_nothing() {
    let rewards = [0.0, 2.0, 1.5, 2.0, 1.0, 0.0, 0.0, 0.5];
    let shifted: Vec<f64> = rewards.iter().enumerate().map(|(row, reward)| reward + [5.0, -3.0][row / 4]).collect();
    for scale in [ScaleRewards::Group, ScaleRewards::None] {
        let config = group_of(4, scale);
        let [a, b] = [rewards.to_vec(), shifted.clone()].map(|rewards| advantages_of(&config, &[rewards], &[]));
        assert_near(&a, &b, 1e-12, &format!("{scale:?}"));
    }
    let gdpo = AdvantageConfig {
        multi_objective_aggregation: MultiObjectiveAggregation::NormalizeThenSum,
        ..group_of(4, ScaleRewards::Group)
    };
    let [a, b] = [rewards.to_vec(), shifted].map(|rewards| advantages_of(&gdpo, &[rewards], &[]));
    assert_near(&a, &b, 1e-9, "normalize_then_sum");
}

/// I13: a group whose rewards are all the same has no policy gradient, only that of the KL.
#[test]
fn i13_a_group_without_spread_has_no_advantage_and_no_policy_gradient() {
    let mut case = Case::random(9, &[3, 5, 2, 5]);
    case.advantages = advantages_of(&group_of(4, ScaleRewards::Group), &[vec![1.5; 4]], &[]);
    assert_eq!(case.advantages, [0.0; 4]);
    for config in every_config() {
        let without = case.loss(&PolicyConfig { beta: 0.0, ..config });
        assert!(without.gradient.iter().all(|&slope| slope == 0.0), "{config:?}");
        let with = case.loss(&config);
        assert!(with.gradient.iter().any(|&slope| slope != 0.0), "the KL still pulls in {config:?}");
    }
}

/// I14: completions that are all masked (`mask_truncated_completions`) give neither loss nor gradient.
#[test]
fn i14_a_batch_that_is_all_masked_gives_nothing() {
    let case = Case::random(4, &[3, 3]);
    let case = Case { mask: vec![false; 6], ..case };
    for config in every_config() {
        let config = PolicyConfig { entropy_coef: 0.1, top_entropy_quantile: 0.5, ..config };
        let loss = policy_loss(&config, &case.batch(), Window { accumulation: 1, tokens: 0.0 });
        assert_eq!(loss.loss, 0.0, "{config:?}");
        assert!(loss.gradient.iter().chain(&loss.entropy_gradient).all(|&slope| slope == 0.0), "{config:?}");
    }
}

/// I15: GSPO and GSPO-token have one gradient as long as the tokens of a completion weigh the same.
#[test]
fn i15_gspo_and_gspo_token_have_the_same_gradient() {
    let case = Case::random(21, &[6, 2, 5, 0]);
    for loss_type in LOSS_TYPES {
        let [sequence, token] = [ImportanceSampling::Sequence, ImportanceSampling::SequenceToken]
            .map(|importance_sampling_level| PolicyConfig {
                loss_type,
                importance_sampling_level,
                ..PolicyConfig::default()
            })
            .map(|config| case.loss(&config));
        assert_near(&sequence.gradient, &token.gradient, 1e-14, &format!("{loss_type:?}"));
        assert_eq!(sequence.loss, token.loss);
    }
}

/// I16: on policy, the gradient of a token is `−weight · Â`, which is REINFORCE with the group's mean as baseline;
/// and the loss itself is the mean advantage, turned.
#[test]
fn i16_on_policy_the_gradient_is_that_of_reinforce_with_a_group_baseline() {
    let mut case = Case::random(2, &[6, 2, 5, 4]);
    case.old = case.log_probs.clone();
    let rewards = [1.0, 0.0, 3.0, 0.0];
    case.advantages = advantages_of(&group_of(4, ScaleRewards::None), &[rewards.to_vec()], &[]);
    for level in LEVELS {
        let config = PolicyConfig { importance_sampling_level: level, epsilon_high: 2.0, ..PolicyConfig::default() };
        for loss_type in [LossType::Dapo, LossType::Cispo] {
            let loss = case.loss(&PolicyConfig { loss_type, ..config });
            let reinforce = |cell: usize| match case.mask[cell] {
                true => -(rewards[cell / 6] - 1.0) / case.tokens() as f64,
                false => 0.0,
            };
            assert_near(&loss.gradient, &(0..24).map(reinforce).collect::<Vec<_>>(), 1e-14, &format!("{level:?}"));
        }
    }
}

/// I17: TRL 1.16's normaliser of `dapo` is the tokens of the generation by the number of its steps. So the steps of a
/// generation together weigh what one step with all of it does, and each token weighs the same in any of them.
#[test]
fn i17_the_loss_of_dapo_does_not_depend_on_steps_per_generation() {
    let case = Case::random(31, &[6, 2, 5, 4]);
    let config = PolicyConfig { loss_type: LossType::Dapo, beta: 0.1, ..PolicyConfig::default() };
    let whole = case.loss(&config);
    for steps in [2, 4] {
        let window = Window { accumulation: 1, tokens: case.tokens() as f64 / steps as f64 };
        let part = |step: usize| case.rows(&(step * 4 / steps..(step + 1) * 4 / steps).collect::<Vec<_>>());
        let losses: Vec<PolicyLoss> =
            (0..steps).map(|step| policy_loss(&config, &part(step).batch(), window)).collect();
        let mean = losses.iter().map(|loss| loss.loss).sum::<f64>() / steps as f64;
        assert_near(&[mean], &[whole.loss], 1e-14, "mean of the steps' losses");
        let gradient: Vec<f64> =
            losses.iter().flat_map(|loss| &loss.gradient).map(|slope| slope / steps as f64).collect();
        assert_near(&gradient, &whole.gradient, 1e-14, "gradients");
    }
}

/// The bonus is a mean over tokens whatever the loss is normalised by (a test of TRL's).
#[test]
fn the_entropy_bonus_does_not_depend_on_the_loss_type() {
    let case = Case::random(8, &[6, 2, 5, 4]);
    let bonuses = LOSS_TYPES.map(|loss_type| {
        let config =
            PolicyConfig { loss_type, entropy_coef: 0.3, max_completion_length: 50, ..PolicyConfig::default() };
        let with = policy_loss(&config, &case.batch(), Window { accumulation: 2, tokens: 99.0 });
        let without = policy_loss(
            &PolicyConfig { entropy_coef: 0.0, ..config },
            &case.batch(),
            Window { accumulation: 2, tokens: 99.0 },
        );
        assert_near(&[without.loss - with.loss], &[with.bonus], 1e-12, "what the bonus takes off");
        with.bonus
    });
    let real = case.entropies.iter().zip(&case.mask).filter(|(_, real)| **real);
    let expected = 0.3 * real.map(|(entropy, _)| entropy).sum::<f64>() / case.tokens() as f64 / 2.0;
    assert_near(&bonuses, &[expected; 6], 1e-12, "bonus");
}
