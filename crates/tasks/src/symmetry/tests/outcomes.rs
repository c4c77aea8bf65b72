//! The taxonomies and the table of what is published, on estimates that are made up.

use super::super::analysis::Estimates;
use super::super::published::{Ours, Quantity, Verdict};
use super::super::*;

const EQUIVARIANT_ALONE: Contrast = Contrast::alone(Family::Equivariant);
const WRONG_ALONE: Contrast = Contrast::alone(Family::WrongGroup);
const WRONG: Contrast = Contrast::new(Family::WrongGroup, Family::Vanilla);
const AUGMENTED: Contrast = Contrast::new(Family::Equivariant, Family::Augmented);

/// A rate of seven points.
fn rate(contrast: Contrast, slope: f64, (low, high): (f64, f64)) -> Rate {
    let points = EXPLORATORY.n_groups.map(|n| Point { n, y: 0.0 }).to_vec();
    let spread = Some(Spread { low, high, p: 0.001, resamples: 100, kept: 100 });
    Rate { contrast, noise: 0.0, slope, spread, points }
}

fn estimates(rates: &[Rate]) -> Estimates {
    Estimates {
        noise: 0.0,
        targets: Vec::new(),
        rates: rates.to_vec(),
        two_level: Vec::new(),
        hypotheses: Vec::new(),
        robustness: Vec::new(),
    }
}

#[test]
fn the_programs_taxonomy_asks_in_its_order() {
    let better = || rate(PRIMARY, 1.28, (0.92, 2.05));
    let outcome = |rates: &[Rate]| Outcome::of(&estimates(rates));
    assert_eq!(outcome(&[]), Outcome::InsufficientData);
    assert_eq!(outcome(&[rate(PRIMARY, 0.5, (-0.1, 1.0))]), Outcome::A);
    assert_eq!(outcome(&[rate(PRIMARY, -0.5, (-1.0, -0.1))]), Outcome::ANegative);
    assert_eq!(outcome(&[better()]), Outcome::SignalNeedsWrongGroup { matches_theory: true });
    let wrong = rate(WRONG, -0.77, (-1.5, -0.1));
    let signal = [better(), wrong.clone(), rate(CONTROL, 1.98, (0.79, 3.26))];
    assert_eq!(outcome(&signal), Outcome::Signal { matches_theory: true });
    let same = [better(), wrong.clone(), rate(CONTROL, 0.2, (-0.1, 0.5)), rate(AUGMENTED, 0.0, (0.0, 0.0))];
    assert_eq!(outcome(&same), Outcome::E);
    assert_eq!(outcome(&[&signal[..], &[rate(AUGMENTED, 0.1, (-0.3, 0.4))]].concat()), Outcome::Aug);
    let worse = [better(), wrong.clone(), rate(CONTROL, -0.5, (-0.9, -0.1))];
    assert_eq!(outcome(&worse), Outcome::Ambiguous);
    // Without a joint interval, the two beside the network without symmetry decide.
    assert_eq!(outcome(&[better(), wrong]), Outcome::Signal { matches_theory: true });
    assert_eq!(outcome(&[better(), rate(WRONG, 1.1, (0.5, 1.5))]), Outcome::E);
    assert_eq!(outcome(&[better(), rate(WRONG, 0.7, (0.5, 1.0))]), Outcome::Ambiguous);
}

#[test]
fn the_first_preregistration_names_falling_slopes_only() {
    let named = |equivariant: (f64, (f64, f64)), wrong: (f64, (f64, f64)), left| {
        let rates = [rate(EQUIVARIANT_ALONE, equivariant.0, equivariant.1), rate(WRONG_ALONE, wrong.0, wrong.1)];
        Preregistered::of(&estimates(&rates), left)
    };
    let wrong = (0.0, (-0.3, 0.3));
    assert_eq!(named((-0.2, (-0.6, 0.1)), wrong, Some(0.9)), Preregistered::A);
    assert_eq!(named((-0.5, (-0.6, -0.4)), (-0.4, (-0.5, -0.3)), Some(0.9)), Preregistered::E);
    assert_eq!(named((-1.0, (-1.2, -0.8)), wrong, Some(0.4)), Preregistered::D);
    assert_eq!(named((-1.0, (-1.2, -0.8)), wrong, Some(0.6)), Preregistered::Signal);
    assert_eq!(named((-2.0, (-2.2, -1.8)), wrong, Some(0.6)), Preregistered::Unnamed);
    assert_eq!(named((0.8, (0.5, 1.1)), (1.6, (1.3, 1.9)), Some(0.9)), Preregistered::Unnamed);
    assert_eq!(Preregistered::of(&estimates(&[]), None), Preregistered::InsufficientData);
}

/// Targets with which augmentation never learns four petals or more.
fn targets() -> Vec<Target> {
    let each = |family, samples: fn(u32) -> Option<usize>| {
        let target = move |n| Target { family, noise: 0.0, n, samples: samples(n), seeds: 5 };
        EXPLORATORY.n_groups.into_iter().map(target)
    };
    let equivariant = each(Family::Equivariant, |n| (n < 12).then_some(100));
    equivariant.chain(each(Family::Augmented, |n| (n < 3).then_some(100))).collect()
}

#[test]
fn the_replication_s_taxonomy_needs_its_controls() {
    let named = |slope, spread, control, targets| {
        let rates = [rate(PRIMARY, slope, spread), rate(CONTROL, control, (control - 0.5, control + 0.5))];
        Confirmatory::of(&Estimates { targets, ..estimates(&rates) }, Some(0.9))
    };
    let found = named(1.28, (0.92, 2.05), 2.0, targets());
    assert_eq!(found.outcome, ConfirmatoryOutcome::Signal);
    assert!(found.is_positive && found.matches_theory && found.beats_wrong_group && found.beats_augmentation);
    assert_eq!(found.is_robust, Some(true));
    assert_eq!(named(1.28, (0.92, 2.05), 0.2, targets()).outcome, ConfirmatoryOutcome::FailureE);
    assert_eq!(named(1.28, (0.92, 2.05), 2.0, Vec::new()).outcome, ConfirmatoryOutcome::FailureAug);
    assert_eq!(named(1.6, (1.2, 2.05), 2.0, targets()).outcome, ConfirmatoryOutcome::SignalShifted);
    assert_eq!(named(0.5, (-0.6, 1.7), 2.0, targets()).outcome, ConfirmatoryOutcome::Ambiguous);
    assert_eq!(named(0.2, (-0.6, 1.7), 2.0, targets()).outcome, ConfirmatoryOutcome::FailureA);
    assert_eq!(named(-0.9, (-1.6, -0.2), 2.0, targets()).outcome, ConfirmatoryOutcome::Unnamed);
    let few = Rate { points: vec![Point { n: 1, y: 0.0 }; 3], ..rate(PRIMARY, 1.0, (0.5, 1.5)) };
    assert_eq!(Confirmatory::of(&estimates(&[few]), None).outcome, ConfirmatoryOutcome::Undefined);
}

#[test]
fn what_is_published_stands_beside_ours() {
    let mut ours = Estimates { targets: targets(), ..estimates(&[rate(PRIMARY, 1.0, (0.7, 1.2))]) };
    ours.rates.push(rate(CONTROL, 0.9, (0.2, 1.6)));
    ours.two_level.push(rate(PRIMARY, 1.0, (-0.5, 1.5)));
    ours.robustness = vec![
        Robustness { noise: 0.1, rate: None, share: Some(0.7) },
        Robustness { noise: 0.2, rate: None, share: Some(0.8) },
    ];
    let rows = Ours { estimates: &ours, finer: None, is_averaging_equal: Some(true) }.rows();
    let verdicts: Vec<_> = rows.iter().map(|row| (row.published.quantity, row.verdict)).collect();
    let expected = [
        (Quantity::Rate, Verdict::Differs),
        (Quantity::TwoLevelRate, Verdict::Agrees),
        (Quantity::FinerRate, Verdict::Untold),
        (Quantity::WrongGroup, Verdict::Agrees),
        (Quantity::Robustness, Verdict::Differs),
        (Quantity::Augmentation, Verdict::Agrees),
        (Quantity::Averaging, Verdict::Agrees),
    ];
    assert_eq!(verdicts, expected);
    let mut reached = targets();
    reached.iter_mut().for_each(|target| target.samples = Some(400));
    let reaches = Estimates { targets: reached, ..ours };
    let rows = Ours { estimates: &reaches, finer: Some(&reaches), is_averaging_equal: None }.rows();
    assert_eq!(rows[2].verdict, Verdict::Differs);
    assert_eq!(rows[5].verdict, Verdict::Differs);
    assert_eq!(rows[6].verdict, Verdict::Untold);
}

/// Planted: with the right group half of the samples do for each doubling, with the wrong one it takes more.
#[test]
fn a_planted_signal_is_found() {
    let need = |family, n: u32| -> f64 {
        let doublings = f64::from(n).log2();
        match family {
            Family::Equivariant => doublings / 2.0,
            Family::WrongGroup => 2.0 * doublings,
            Family::Augmented if n > 2 => 9.0,
            _ => 1.5 * doublings,
        }
    };
    let mut runs = Vec::new();
    for family in Family::REGISTERED {
        for (n, noise) in EXPLORATORY.n_groups.into_iter().flat_map(|n| [(n, 0.0), (n, 0.2)]) {
            for (level, samples) in EXPLORATORY.n_train_grid.into_iter().enumerate() {
                let reached = level as f64 >= need(family, n);
                let best_val_accuracy = if reached { 0.9 } else { 0.7 };
                let cells = EXPLORATORY.seeds.map(|seed| Cell { n, samples, noise, seed });
                runs.extend(cells.map(|cell| Run { family, cell, best_val_accuracy, anomaly: None }));
            }
        }
    }
    let study = Study::new(runs).unwrap();
    assert!(study.gaps().is_empty() && study.exclusions().is_empty());
    let analysis = study.analysis(&Plan { resamples: 500, ..Plan::default() }).unwrap();
    assert_eq!(analysis.outcome, Outcome::Signal { matches_theory: true });
    assert_eq!(analysis.confirmatory.outcome, ConfirmatoryOutcome::Signal);
    assert_eq!(analysis.preregistered, Preregistered::Unnamed);
    assert_eq!(analysis.estimates.share(0.2), Some(1.0));
    let supported: Vec<bool> = analysis.estimates.hypotheses.iter().map(|test| test.is_supported).collect();
    // Augmentation reaches the target for two numbers of petals, which is too few for a rate.
    assert_eq!(supported, [true, true, false]);
    assert_eq!(analysis.estimates.hypotheses[2].p, 1.0);
    let written = serde_json::to_string(&analysis).unwrap();
    assert_eq!(serde_json::from_str::<Analysis>(&written).unwrap(), analysis);
}
