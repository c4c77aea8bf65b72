//! The schedules against what transformers 5.23 gives for a rate of 2, 10 steps of warm-up and 100 in all, and the
//! plateau against PyTorch 2.15.

use super::*;

/// The steps that the tables below are of.
const STEPS: [u64; 10] = [0, 3, 10, 11, 37, 60, 80, 95, 99, 100];

fn assert_table(kind: SchedulerType, args: SchedulerArgs, expected: [f64; 10]) {
    let schedule = Schedule { kind, learning_rate: 2.0, warmup_steps: 10, total_steps: 100, args };
    for (step, expected) in STEPS.into_iter().zip(expected) {
        let found = schedule.rate(step);
        assert!((found - expected).abs() < 1e-14, "{kind:?} {args:?} at {step}: {found} is not {expected}");
    }
}

#[test]
fn constant_linear_and_cosine_are_those_of_transformers() {
    let none = SchedulerArgs::default();
    assert_table(SchedulerType::Constant, none, [2.0; 10]);
    assert_table(SchedulerType::ConstantWithWarmup, none, [0.0, 0.6, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
    let linear = [
        0.0,
        0.6,
        2.0,
        1.977_777_777_777_777_9,
        1.4,
        0.888_888_888_888_888_8,
        0.444_444_444_444_444_4,
        0.111_111_111_111_111_1,
        0.022_222_222_222_222_223,
        0.0,
    ];
    assert_table(SchedulerType::Linear, none, linear);
    let cosine = [
        0.0,
        0.6,
        2.0,
        1.999_390_827_019_095_9,
        1.587_785_252_292_473_1,
        0.826_351_822_333_069_7,
        0.233_955_556_881_022_1,
        0.015_192_246_987_791_98,
        0.000_609_172_980_904_237_9,
        0.0,
    ];
    assert_table(SchedulerType::Cosine, none, cosine);
}

#[test]
fn cosine_with_min_lr_is_that_of_transformers() {
    let by_lr = [
        0.0,
        0.6,
        2.0,
        1.999_543_120_264_322,
        1.690_838_939_219_354_8,
        1.119_763_866_749_802_2,
        0.675_466_667_660_766_6,
        0.511_394_185_240_844,
        0.500_456_879_735_678_2,
        0.5,
    ];
    assert_table(SchedulerType::CosineWithMinLr, SchedulerArgs { min_lr: Some(0.5), ..Default::default() }, by_lr);
    let by_rate = [
        0.0,
        0.6,
        2.0,
        1.999_451_744_317_186_2,
        1.629_006_727_063_225_8,
        0.943_716_640_099_762_7,
        0.410_560_001_192_919_9,
        0.213_673_022_289_012_8,
        0.200_548_255_682_813_8,
        0.2,
    ];
    let rate = SchedulerArgs { min_lr_rate: Some(0.1), ..Default::default() };
    assert_table(SchedulerType::CosineWithMinLr, rate, by_rate);
}

#[test]
fn warmup_stable_decay_is_that_of_transformers() {
    let decay = SchedulerArgs { num_decay_steps: Some(30), ..Default::default() };
    let cosine = [0.0, 0.6, 2.0, 2.0, 2.0, 2.0, 1.5, 0.133_974_596_215_561_3, 0.005_478_104_631_726_71, 0.0];
    assert_table(SchedulerType::WarmupStableDecay, decay, cosine);
    let linear = [0.2, 0.74, 2.0, 2.0, 2.0, 2.0, 1.4, 0.5, 0.26, 0.2];
    let args = SchedulerArgs { decay_type: Some(DecayType::Linear), min_lr_ratio: Some(0.1), ..decay };
    assert_table(SchedulerType::WarmupStableDecay, args, linear);
    let root =
        [0.0, 0.6, 2.0, 2.0, 2.0, 2.0, 0.845_299_461_620_748_5, 0.174_258_141_649_446_2, 0.033_615_839_499_649_97, 0.0];
    let args = SchedulerArgs { decay_type: Some(DecayType::OneMinusSqrt), ..decay };
    assert_table(SchedulerType::WarmupStableDecay, args, root);
}

/// The rates after each of these losses; also when the state was written down and read again in between.
fn plateau_rates(args: SchedulerArgs, losses: &[f64]) -> Vec<f64> {
    let kind = SchedulerType::ReduceLrOnPlateau;
    let schedule = Schedule { kind, learning_rate: 1.0, warmup_steps: 0, total_steps: 100, args };
    let first = Plateau::new(&schedule).into_iter();
    let mut states: Vec<Plateau> = first.collect();
    for &loss in losses {
        let written = states.last().and_then(|state| serde_json::to_string(state).ok()).unwrap_or_default();
        let Ok(mut state) = serde_json::from_str::<Plateau>(&written) else { return Vec::new() };
        state.observe(&schedule, loss);
        states.push(state);
    }
    states.into_iter().skip(1).map(|state| state.rate).collect()
}

#[test]
fn a_plateau_lowers_the_rate_as_in_pytorch() {
    let losses = [1.0, 0.9, 0.95, 0.899_95, 0.91, 0.92, 0.93, 0.94, 0.8, 0.8, 0.8, 0.8, 0.7];
    let expected = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125];
    let args = SchedulerArgs { factor: Some(0.5), patience: Some(2), ..Default::default() };
    assert_eq!(plateau_rates(args, &losses), expected);
    let flat = plateau_rates(SchedulerArgs::default(), &[1.0; 25]);
    assert_eq!((flat[10], flat[11], flat[21]), (1.0, 0.1, 0.1));
    assert!((flat[22] - 0.01).abs() < 1e-15 && (flat[24] - 0.01).abs() < 1e-15);
}

#[test]
fn other_schedules_have_no_plateau_and_arguments_of_others_are_found() {
    let schedule = Schedule {
        kind: SchedulerType::Cosine,
        learning_rate: 1.0,
        warmup_steps: 0,
        total_steps: 1,
        args: SchedulerArgs { min_lr: Some(0.1), ..Default::default() },
    };
    assert_eq!(Plateau::new(&schedule), None);
    assert_eq!(schedule.args.unused(schedule.kind), ["min_lr"]);
    assert!(schedule.args.unused(SchedulerType::CosineWithMinLr).is_empty());
}

#[test]
fn a_warm_up_ratio_is_rounded_up() {
    assert_eq!(Schedule::warmup_of(0.03, 101), 4);
    assert_eq!(Schedule::warmup_of(0.0, 101), 0);
}
