//! What the tests share: numbers to compute with, closeness, and a number of threads.
#![allow(clippy::unwrap_used)]

use rayon::ThreadPoolBuilder;

/// Numbers that do not repeat soon, between −1 and 1.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let number = |at: u64| ((at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 23) as f32) - 1.0;
    (0..count as u64).map(|at| number(at + 1 + seed * 7919)).collect()
}

/// `found` is `wanted`, within `bound` of the largest that is wanted.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], wanted: &[f64], bound: f64) {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let off = (f64::from(*found) - wanted).abs();
        assert!(off <= bound * largest, "at {at}: {found} is not {wanted}, of {largest} at most");
    }
}

pub(crate) fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

pub(crate) fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&number| f64::from(number)).collect()
}

/// The gradient of `Σ dy∘f(x)` for every element of `x`, by central differences.
pub(crate) fn differences(x: &[f32], dy: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut x = wide(x);
    (0..x.len()).map(|at| difference(&mut x, at, dy, &f)).collect()
}

/// That for the element `at`.
pub(crate) fn difference(x: &mut [f64], at: usize, dy: &[f32], f: impl Fn(&[f64]) -> Vec<f64>) -> f64 {
    let (step, middle) = (1e-5, x[at]);
    let [above, below] = [middle + step, middle - step].map(|moved| {
        x[at] = moved;
        f(x).iter().zip(dy).map(|(y, dy)| y * f64::from(*dy)).sum::<f64>()
    });
    x[at] = middle;
    (above - below) / (2.0 * step)
}
