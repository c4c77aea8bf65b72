//! Means of a few independent values, such as one from each seed.

use serde::{Deserialize, Serialize};

use super::Interval;
use super::distributions::{beta, student_quantile};

/// A mean with Student's interval, and p of the test that it is zero (Student 1908).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Student {
    pub interval: Interval,
    pub p: f64,
}

impl Student {
    /// Nothing of fewer than two values, which have no spread, and of values that are not finite.
    pub fn of(values: &[f64], level: f64) -> Option<Student> {
        let n = values.len() as f64;
        if values.len() < 2 || !values.iter().all(|value| value.is_finite()) {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let (freedom, error) = (n - 1.0, (squares / (n - 1.0) / n).sqrt());
        let half = student_quantile(f64::midpoint(1.0, level), freedom) * error;
        let (low, high) = (mean - half, mean + half);
        let interval = Interval { mean, low, high, items: values.len(), clusters: values.len() };
        // The beta distribution of ν / (ν + t²), without dividing by an error of 0.
        let p = match (mean, error) {
            (0.0, _) => 1.0,
            (_, 0.0) => 0.0,
            _ => beta(freedom / (freedom + (mean / error).powi(2)), freedom / 2.0, 0.5),
        };
        Some(Student { interval, p })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{found} is not {expected}");
    }

    /// `scipy.stats.ttest_1samp` of scipy 1.17.
    #[test]
    fn intervals_and_p_are_scipy_s() {
        let student = Student::of(&[0.012, 0.031, -0.004, 0.022, 0.017], 0.95).unwrap();
        close(student.interval.low, -0.000555952516484633);
        close(student.interval.high, 0.03175595251648463);
        close(student.p, 0.05517677791652463);
        let student = Student::of(&[1.0, 2.0], 0.95).unwrap();
        close(student.interval.low, -4.853102368087347);
        close(student.interval.high, 7.853102368087347);
        close(student.p, 0.20483276469913345);
        let student = Student::of(&[-3.5, -2.0, -4.25, -1.0, -0.5, -2.75], 0.9).unwrap();
        close(student.interval.low, -3.5230843615979826);
        close(student.interval.high, -1.1435823050686849);
        close(student.p, 0.010830124864064096);
    }

    #[test]
    fn values_without_a_spread_are_what_they_are() {
        assert_eq!((Student::of(&[], 0.95), Student::of(&[1.0], 0.95)), (None, None));
        assert_eq!(Student::of(&[1.0, f64::NAN], 0.95), None);
        let same = Student::of(&[2.0, 2.0, 2.0], 0.95).unwrap();
        assert_eq!((same.interval.low, same.interval.high, same.p), (2.0, 2.0, 0.0));
        assert_eq!(Student::of(&[-1.0, 1.0], 0.95).unwrap().p, 1.0);
    }
}
