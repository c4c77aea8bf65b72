#![allow(clippy::unwrap_used)]

use gazal_tasks::symmetry::{Cell, Run};

use super::*;

/// A family needs `samples(n)` samples, and reaches the target with as many.
fn ended(family: Family, samples: impl Fn(u32) -> usize) -> Vec<Ended> {
    let mut all = Vec::new();
    for n in [1, 2, 4, 8] {
        for level in [50, 100, 200, 400, 800] {
            for seed in 0..5 {
                let cell = Cell { n, samples: level, noise: 0.0, seed };
                let best_val_accuracy = if level >= samples(n) { 0.9 } else { 0.6 };
                let run = Run { family, cell, best_val_accuracy, anomaly: None };
                all.push(Ended { run, epochs: 5, flops: 7, data: "x".into() });
            }
        }
    }
    all
}

fn curve(family: Family, last: f64) -> Curve {
    let cell = Cell { n: 2, samples: 50, noise: 0.0, seed: 0 };
    Curve { family, cell, epochs: vec![1, 6], val_loss: vec![0.7, 0.5], val_accuracy: vec![0.5, last] }
}

/// The family with the symmetry always needs 50 samples, the one without 50 · n: a rate of 1, with nothing to doubt.
#[test]
fn a_rate_is_estimated_and_written_down() {
    let mut runs = ended(Family::Equivariant, |_| 50);
    runs.extend(ended(Family::Vanilla, |n| 50 * n as usize));
    runs.extend(ended(Family::WrongGroup, |n| 100 * n as usize));
    let params = Params { title: "<T>".into(), resamples: 200 };
    let told = [curve(Family::Equivariant, 0.8), curve(Family::AugmentedTta, 0.8)];
    let report = build(params.clone(), &runs, &[], &told).unwrap();
    let rate = report.analysis.estimates.rate(PRIMARY).unwrap();
    assert!((rate.slope - 1.0).abs() < 1e-12, "{rate:?}");
    assert_eq!((report.runs, report.gaps, report.flops), (300, 0, 2100));
    let metrics = metrics(&report);
    assert!((metrics["equivariant over vanilla"]["slope"] - 1.0).abs() < 1e-12, "{metrics:?}");
    let page = html::render(&report);
    for part in ["&lt;T&gt;", "<b>+1.00</b>", "1 of 1 pairs of curves", "n = 4", "equivariant over wrong_group"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("http") && !page.contains("<script"));
    let other = [curve(Family::Equivariant, 0.8), curve(Family::AugmentedTta, 0.81)];
    let averaging = build(params.clone(), &runs, &[], &other).unwrap().averaging.unwrap();
    assert_eq!((averaging.compared, averaging.equal), (1, 0));
    assert!(build(params, &[], &[], &[]).is_err());
}
