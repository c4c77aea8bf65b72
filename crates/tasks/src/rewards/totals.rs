//! From a matrix of rewards to one number a completion, where some are missing, as TRL does it: a function that did
//! not answer adds nothing, and a completion that no function judged has no total. In the matrix and the totals a
//! missing reward is NaN.

/// The rewards of a step: by function, then by row; NaN where a function could not judge.
#[derive(Clone, Copy, Debug)]
pub struct Weighted<'a> {
    pub rewards: &'a [Vec<f64>],
    /// One for each function.
    pub weights: &'a [f64],
}

impl Weighted<'_> {
    /// The weighted sum of a row over the functions that answered, in their order; NaN where none did.
    pub fn total(&self, row: usize) -> f64 {
        let answered = self.rewards.iter().zip(self.weights).filter(|(rewards, _)| !rewards[row].is_nan());
        let sum = answered.map(|(rewards, weight)| weight * rewards[row]).fold(None, |sum: Option<f64>, one| {
            // From 0 and not from the first: what was added before keeps its last digit.
            Some(sum.unwrap_or(0.0) + one)
        });
        sum.unwrap_or(f64::NAN)
    }
}

/// The mean of those that are there; NaN where none is.
pub fn mean(values: &[f64]) -> f64 {
    match there(values).count() {
        0 => f64::NAN,
        count => there(values).sum::<f64>() / count as f64,
    }
}

/// The unbiased standard deviation of those that are there; 0 for a single one, NaN where none is.
pub fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = there(values).map(|value| (value - mean).powi(2)).sum();
    match there(values).count() {
        0 => f64::NAN,
        count => (squares / (count.max(2) - 1) as f64).sqrt(),
    }
}

fn there(values: &[f64]) -> impl Iterator<Item = f64> {
    values.iter().copied().filter(|value| !value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f64 = f64::NAN;

    #[test]
    fn a_missing_reward_adds_nothing_and_is_no_zero() {
        let rewards = [vec![1.0, NONE, NONE], vec![-2.0, -2.0, NONE]];
        let totals = Weighted { rewards: &rewards, weights: &[1.0, 0.5] };
        assert_eq!((totals.total(0), totals.total(1)), (0.0, -1.0));
        assert!(totals.total(2).is_nan(), "nobody judged it");
    }

    #[test]
    fn means_are_over_those_that_answered() {
        assert_eq!((mean(&[1.0, NONE, 3.0]), mean(&[0.0, NONE])), (2.0, 0.0));
        assert_eq!((deviation(&[1.0, NONE, 3.0]), deviation(&[5.0, NONE])), (2.0_f64.sqrt(), 0.0));
        assert!(mean(&[NONE]).is_nan() && deviation(&[]).is_nan());
    }
}
