//! Data beside numpy's and scikit-learn's, as `tests/bench/symmetry/petals.py` printed them.

use sha2::{Digest, Sha256};

use super::super::config::hexadecimal;
use super::super::petals::is_in_petal;
use super::super::*;

fn cell(n: u32, samples: usize, noise: f64, seed: u64) -> Cell {
    Cell { n, samples, noise, seed }
}

/// Of all coordinates and labels, part by part.
fn whole(petals: &Petals) -> String {
    let mut hasher = Sha256::new();
    for part in [&petals.train, &petals.validation, &petals.test] {
        let numbers = part.points.iter().flatten().chain(&part.labels);
        numbers.for_each(|number| hasher.update(number.to_le_bytes()));
    }
    hexadecimal(&hasher.finalize())
}

#[test]
fn data_are_numpy_s_to_the_bit() {
    let expected = [
        (cell(1, 50, 0.0, 0), "75e3be35c70a4d1d", "4e14ba9bf292f94817a3586934ca3049f48d556cdaddda269b4c54a21f0448b6"),
        (cell(4, 50, 0.0, 0), "01b5b9a181ba371c", "276104ef6bc16f6b05481c01008662f38b9319886a5b6ed083e1df999223fdba"),
        (cell(3, 100, 0.2, 1), "84bd62213381ae00", "9bf0f31e940db7fb9090d90d5dfc60973400e2a3b083d22b6b0c0867d4099868"),
        (
            cell(12, 400, 0.3, 104),
            "2298691baf4946d8",
            "ed650279fffcc9d9fb84fb06a0260df1c5b4a1874534f91e5bcf1003d88e990c",
        ),
        (cell(8, 6400, 0.1, 4), "705dd5ce331ebe52", "47d74a4836a5bdef7463637c3cb0fefc451e29b2827095559a69e3b5e207faa3"),
    ];
    for (cell, hash, bits) in expected {
        let petals = cell.petals();
        assert_eq!(petals.hash(), hash, "{cell:?}");
        assert_eq!(whole(&petals), bits, "{cell:?}");
    }
}

/// Half of the labels of a half-plane are those of the petals, so of 30% of them 15% stay, of which 5% are flipped.
#[test]
fn only_training_labels_are_noisy_beyond_the_five_percent() {
    let (clean, noisy) = (cell(3, 6400, 0.0, 7).petals(), cell(3, 6400, 0.3, 7).petals());
    assert_eq!(clean.train.points, noisy.train.points);
    let kept = |sample: &Sample, expected: f64| {
        let angles = sample.points.iter().map(|&[x, y]| libm::atan2(y.into(), x.into()));
        let kept = angles.zip(&sample.labels).filter(|(angle, label)| is_in_petal(3, *angle) == (**label > 0.5));
        let share = kept.count() as f64 / sample.labels.len() as f64;
        assert!((share - expected).abs() < 0.015, "{share} of labels are the petals', not {expected}");
    };
    kept(&clean.train, 0.95);
    kept(&noisy.train, 0.85 * 0.95 + 0.15 * 0.05);
    kept(&noisy.validation, 0.95);
    kept(&noisy.test, 0.95);
}

#[test]
fn checks_are_scikit_learn_s_and_two_of_them_gate() {
    let checked = |cell: Cell| DataChecks::of(&cell, &cell.petals());
    let one = checked(cell(1, 50, 0.0, 0));
    assert_eq!((one.positive, one.linear_accuracy, one.shared_points, one.symmetry), (0.58, 0.9035, 0, Some(1.0)));
    // One petal is a half-plane: a shortcut, and no reason to leave the cell out.
    assert!(!one.has_no_linear_shortcut && one.passes());
    let noisy = checked(cell(3, 100, 0.2, 1));
    assert_eq!((noisy.linear_accuracy, noisy.symmetry), (0.5325, None));
    let gate = |positive| DataChecks { is_balanced: positive, ..one }.passes();
    assert!(gate(true) && !gate(false));
    assert!(!DataChecks { is_symmetric: Some(false), ..one }.passes());
}

/// 30 of 50 fail and 20 of 50 pass, since the study subtracts in double what it divided in single.
#[test]
fn balance_is_measured_in_float32() {
    let labelled = |positives: usize| {
        let mut petals = cell(2, 50, 0.0, 0).petals();
        petals.train.labels = (0..50).map(|index| if index < positives { 1.0 } else { 0.0 }).collect();
        DataChecks::of(&cell(2, 50, 0.0, 0), &petals).is_balanced
    };
    assert_eq!([19, 20, 29, 30].map(labelled), [false, true, true, false]);
}
