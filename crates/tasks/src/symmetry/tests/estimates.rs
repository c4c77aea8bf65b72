//! Targets, rates and their intervals, beside what numpy gives for the same runs.

use super::super::*;

fn run(family: Family, n: u32, samples: usize, seed: u64, best_val_accuracy: f64) -> Run {
    Run { family, cell: Cell { n, samples, noise: 0.0, seed }, best_val_accuracy, anomaly: None }
}

/// The index of the least number of samples that is enough, by the index of n and the seed.
type Need<'a> = &'a dyn Fn(usize, u64) -> usize;

/// Runs on the whole grid that reach the target with as many samples as are needed.
fn study(families: &[(Family, Need)]) -> Study {
    let mut runs = Vec::new();
    for (family, need) in families {
        for (size, n) in EXPLORATORY.n_groups.into_iter().enumerate() {
            for (level, samples) in EXPLORATORY.n_train_grid.into_iter().enumerate() {
                for seed in 0..5 {
                    let accuracy = if level >= need(size, seed) { 0.8 } else { 0.79 };
                    runs.push(run(*family, n, samples, seed, accuracy));
                }
            }
        }
    }
    Study::new(runs).unwrap()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

/// The study needs three seeds of five, of which any may fail.
#[test]
fn three_seeds_of_five_are_enough() {
    let best = |accuracies: [f64; 5]| {
        let low = (0..5).map(|seed| run(Family::Vanilla, 3, 50, seed, 0.6));
        let high = (0..5).zip(accuracies).map(|(seed, accuracy)| run(Family::Vanilla, 3, 200, seed, accuracy));
        Study::new(low.chain(high).collect()).unwrap().targets(&Rule::default())[0].samples
    };
    assert_eq!(best([0.8, 0.79, 0.9, 0.5, 0.8]), Some(200));
    assert_eq!(best([0.8, 0.79, 0.9, 0.5, 0.79]), None);
}

/// y = 0, 1, 1, 2, 3, 3, 4 over n = 1, 2, 3, 4, 6, 8, 12.
#[test]
fn a_rate_and_its_interval_are_numpy_s() {
    let saved = [0, 1, 1, 2, 3, 3, 4];
    let study = study(&[(Family::Vanilla, &|_, _| 7), (Family::Equivariant, &|size, _| 7 - saved[size])]);
    let rate = study.rate(PRIMARY, 0.0, &Plan::default()).unwrap();
    close(rate.slope, 1.1277411334523326);
    let spread = rate.spread.unwrap();
    close(spread.low, 0.9646343221702631);
    close(spread.high, 1.4751979421396346);
    // Four resamples are of two n with the same y. The study's programs would count two of these slopes as rising and
    // two as falling, as rounding went, which makes 0.0004.
    assert_eq!((spread.p, spread.kept, spread.resamples), (0.0008, 10_000, 10_000));
    // Without a baseline the slope is that of the samples needed, which fall.
    let alone = study.rate(Contrast::alone(Family::Equivariant), 0.0, &Plan::default()).unwrap();
    close(alone.slope, -1.1277411334523326);
}

#[test]
fn both_levels_are_resampled_as_numpy_does() {
    let vanilla = [1, 2, 2, 3, 4, 5, 5];
    let equivariant = [1, 1, 2, 2, 2, 3, 3];
    let turn = |size: usize, step: u64, seed: u64, of: u64| {
        ((step * seed + u64::from(EXPLORATORY.n_groups[size])) % of) as usize
    };
    let study = study(&[
        (Family::Vanilla, &|size, seed| vanilla[size] + turn(size, 2, seed, 3)),
        (Family::Equivariant, &|size, seed| equivariant[size] + turn(size, 1, seed, 4)),
    ]);
    let plan = Plan { resamples: 1000, ..Plan::default() };
    let single = study.rate(PRIMARY, 0.0, &plan).unwrap();
    close(single.slope, 0.703596489855571);
    let spread = single.spread.unwrap();
    close(spread.low, 0.2670326912384905);
    close(spread.high, 1.5939229810416344);
    assert_eq!((spread.p, spread.kept), (0.012, 1000));
    let spread = study.two_level_rate(PRIMARY, 0.0, &plan).unwrap().spread.unwrap();
    close(spread.low, -0.18401039077907339);
    close(spread.high, 2.082800811768989);
    close(spread.p, 0.08442211055276382);
    assert_eq!(spread.kept, 995);
    close(spread.discarded(), 0.005);
}

#[test]
fn sizes_that_one_family_never_learns_are_left_out() {
    let study = study(&[
        (Family::Vanilla, &|size, _| if size < 4 { size } else { 8 }),
        (Family::Equivariant, &|_, _| 0),
        (Family::Augmented, &|size, _| if size < 2 { 0 } else { 8 }),
    ]);
    let rate = study.rate(PRIMARY, 0.0, &Plan::default()).unwrap();
    assert_eq!(rate.points.iter().map(|point| point.n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(study.rate(PRIMARY, 0.0, &Plan { least_points: 5, ..Plan::default() }), None);
    assert_eq!(study.rate(Contrast::new(Family::Augmented, Family::Vanilla), 0.0, &Plan::default()), None);
    let analysis = study.analysis(&Plan { resamples: 100, ..Plan::default() }).unwrap();
    assert_eq!(analysis.estimates.target(Family::Vanilla, 6), None);
    // In a resample of two levels three sizes must be left too: of seven that have runs, four are learnt.
    let discarded = analysis.estimates.two_level[0].spread.unwrap().discarded();
    assert!((0.2..0.6).contains(&discarded), "{discarded}");
}

#[test]
fn what_a_bootstrap_cannot_tell_from_nothing_has_a_p_of_one() {
    let study = study(&[(Family::Vanilla, &|_, _| 3), (Family::Equivariant, &|_, _| 2)]);
    let spread = study.rate(PRIMARY, 0.0, &Plan { resamples: 500, ..Plan::default() }).unwrap().spread.unwrap();
    assert_eq!(spread.p, 1.0);
    assert!(spread.low.abs() < 1e-12 && spread.high.abs() < 1e-12);
}

#[test]
fn runs_that_are_no_study_are_refused() {
    let twice = vec![run(Family::Vanilla, 2, 50, 0, 0.7), run(Family::Vanilla, 2, 50, 0, 0.8)];
    let cell = twice[0].cell;
    assert_eq!(Study::new(twice), Err(StudyError::Twice { family: Family::Vanilla, cell }));
    assert!(Study::new(vec![run(Family::Vanilla, 2, 50, 0, f64::NAN)]).is_err());
    assert!(Study::new(vec![run(Family::Vanilla, 0, 50, 0, 0.7)]).is_err());
    assert_eq!(Study::new(Vec::new()).unwrap().analysis(&Plan::default()), None);
}

#[test]
fn gaps_and_exclusions_are_told() {
    let mut runs: Vec<Run> = (0..5).map(|seed| run(Family::Vanilla, 2, 50, seed, 0.53)).collect();
    runs.extend((0..5).map(|seed| run(Family::Equivariant, 2, 50, seed, 0.6)));
    runs[7].anomaly = Some(Anomaly::LossNan);
    let left_out = runs.pop().unwrap();
    let study = Study::new(runs).unwrap();
    assert_eq!(study.gaps(), [(left_out.family, left_out.cell)]);
    let exclusions = study.exclusions();
    assert_eq!(exclusions.iter().filter(|exclusion| exclusion.reason == Reason::AtChance).count(), 5);
    let nan: Vec<_> = exclusions.iter().filter(|exclusion| exclusion.reason == Reason::LossNan).collect();
    assert_eq!((nan.len(), nan[0].family, nan[0].cell.seed), (1, Family::Equivariant, 2));
}

#[test]
fn anomalies_are_the_study_s() {
    assert_eq!(Anomaly::of(f64::NAN, 0.9, false), Some(Anomaly::LossNan));
    assert_eq!(Anomaly::of(0.6, 0.51, true), Some(Anomaly::StuckAtChance));
    assert_eq!(Anomaly::of(0.6, 0.51, false), None);
    assert_eq!(Anomaly::of(0.6, 0.52, true), None);
}

/// What a stage reads and writes.
#[test]
fn a_run_is_a_flat_row() {
    let row = serde_json::json!({
        "family": "wrong_group", "n": 4, "samples": 100, "noise": 0.1, "seed": 3, "best_val_accuracy": 0.8125
    });
    let read: Run = serde_json::from_value(row.clone()).unwrap();
    assert_eq!(read.cell, Cell { n: 4, samples: 100, noise: 0.1, seed: 3 });
    assert_eq!(serde_json::to_value(read).unwrap(), row);
}
