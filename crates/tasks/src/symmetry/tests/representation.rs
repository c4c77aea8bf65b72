//! Dimensions and orbit consistency on points whose answers are known; `tests/bench/symmetry/estimates.py` compares
//! others with numpy and scikit-dimension.

use super::super::representation::*;
use crate::numpy::Generator;

/// Points of a plane in `width` dimensions.
fn plane(count: usize, width: usize) -> Vec<f32> {
    let mut generator = Generator::new(7);
    let mut values = Vec::new();
    for _ in 0..count {
        let (x, y) = (generator.standard_normal(), generator.standard_normal());
        values.extend((0..width).map(|column| (x * (column as f64).cos() + y * (column as f64).sin()) as f32));
    }
    values
}

#[test]
fn a_plane_has_two_dimensions() {
    let values = plane(400, 8);
    let found = Dimensions::of(Points::new(&values, 8).unwrap());
    for dimension in [found.two_nn, found.participation_ratio, found.levina_bickel] {
        assert!((dimension.unwrap() - 2.0).abs() < 0.35, "{found:?}");
    }
    assert!(found.agree && found.disagreement.unwrap() < 1.4);
}

#[test]
fn the_participation_ratio_counts_axes_by_their_variance() {
    // Variances 1, 1, 0; then 4, 1, 0: 25 / 17.
    let even = [1.0, 1.0, 5.0, 1.0, -1.0, 5.0, -1.0, 1.0, 5.0, -1.0, -1.0, 5.0];
    assert!((participation_ratio(Points::new(&even, 3).unwrap()).unwrap() - 2.0).abs() < 1e-12);
    let uneven = [2.0, 1.0, 5.0, 2.0, -1.0, 5.0, -2.0, 1.0, 5.0, -2.0, -1.0, 5.0];
    assert!((participation_ratio(Points::new(&uneven, 3).unwrap()).unwrap() - 25.0 / 17.0).abs() < 1e-12);
}

#[test]
fn what_cannot_be_estimated_is_nothing() {
    let (same, few) = ([0.5_f32; 120], plane(15, 4));
    assert_eq!(Dimensions::of(Points::new(&same, 4).unwrap()).disagreement, None);
    let few = Points::new(&few, 4).unwrap();
    assert_eq!((two_nn(few), levina_bickel(few, 15), levina_bickel(few, 1)), (None, None, None));
    assert!(levina_bickel(few, 14).is_some());
    assert!(Points::new(&same, 7).is_none() && Points::new(&same, 0).is_none());
}

#[test]
fn orbits_are_as_consistent_as_their_logits() {
    let whole = (4.0_f64 / 3.0).sqrt() + 1e-8;
    let found = orbit_consistency(&[-1.0, -1.0, 1.0, 1.0], 2).unwrap();
    assert_eq!(found, 0.0);
    let found = orbit_consistency(&[-1.0, 1.0, 1.0, -1.0], 2).unwrap();
    assert!((found - 2.0_f64.sqrt() / whole).abs() < 1e-12, "{found}");
    assert_eq!(orbit_consistency(&[1.0, 2.0], 1), None);
    assert_eq!(orbit_consistency(&[1.0, 2.0, 3.0], 2), None);
}
