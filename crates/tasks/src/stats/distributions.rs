//! The distributions that intervals and tests are made of: normal, Student's t, beta and binomial.

use libm::{erfc, lgamma};

/// The normal distribution: the chance of a value up to this one.
pub(super) fn normal(value: f64) -> f64 {
    0.5 * erfc(-value / std::f64::consts::SQRT_2)
}

/// Its inverse.
pub(super) fn normal_quantile(share: f64) -> f64 {
    bisect((-40.0, 40.0), |value| normal(value) < share)
}

/// The quantile of Student's t.
pub(super) fn student_quantile(share: f64, freedom: f64) -> f64 {
    if share < 0.5 {
        return -student_quantile(1.0 - share, freedom);
    }
    // The beta distribution of t² / (ν + t²) has no trouble with long tails.
    let beta = beta_quantile(2.0 * share - 1.0, 0.5, freedom / 2.0);
    (freedom * beta / (1.0 - beta)).sqrt()
}

/// The chance that a binomial variable of `trials` fair coins is `successes` or more.
pub(super) fn fair_coins_at_least(successes: usize, trials: usize) -> f64 {
    match successes {
        0 => 1.0,
        _ if successes > trials => 0.0,
        _ => beta(0.5, successes as f64, (trials - successes + 1) as f64),
    }
}

/// The beta distribution: the regularized incomplete beta function, by its continued fraction (DLMF 8.17.22).
pub(super) fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    // The fraction converges fast below the mean, and above it from the other end.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta(1.0 - x, b, a);
    }
    let front = (a * x.ln() + b * (-x).ln_1p() - lgamma(a) - lgamma(b) + lgamma(a + b)).exp() / a;
    front / fraction(x, a, b)
}

/// 1 + d₁/(1 + d₂/(1 + …)), by Lentz's method.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let (mut value, mut c, mut d) = (1.0, 1.0, 0.0);
    for step in 1..10_000_u32 {
        let m = f64::from(step / 2);
        let term = if step % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        let away = |number: f64| if number.abs() < TINY { TINY } else { number };
        d = 1.0 / away(1.0 + term * d);
        c = away(1.0 + term / c);
        value *= c * d;
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// The quantile of the beta distribution.
pub(super) fn beta_quantile(share: f64, a: f64, b: f64) -> f64 {
    bisect((0.0, 1.0), |x| beta(x, a, b) < share)
}

/// The point where a condition that holds at the low end ceases to, to the last digit or nearly.
fn bisect((mut low, mut high): (f64, f64), holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if holds(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-10 * expected.abs().max(1e-10), "{value} is not {expected}");
    }

    /// Values of scipy 1.17's `norm`, `t`, `beta` and `binom`.
    #[test]
    fn values_are_scipy_s() {
        close(normal(-1.96), 0.024997895148220435);
        close(normal(0.3), 0.6179114221889526);
        close(normal(-8.0), 6.22096057427174e-16);
        close(normal_quantile(0.975), 1.959963984540054);
        close(normal_quantile(0.8), 0.8416212335729143);
        close(normal_quantile(0.0001), -3.7190164854556804);
        close(student_quantile(0.975, 1.0), 12.706204736174694);
        close(student_quantile(0.975, 7.0), 2.364624251592784);
        close(student_quantile(0.9, 149.0), 1.2872591354025067);
        close(student_quantile(0.025, 4182.0), -1.9605314035482888);
        close(beta(0.2, 2.0, 3.0), 0.18080000000000004);
        close(beta(0.9, 0.5, 2091.0), 1.0);
        close(beta(0.87, 1109.0, 165.0), 0.4711911939216664);
        close(beta(0.5, 30.0, 31.0), 0.5512890865042847);
        close(beta_quantile(0.025, 5.0, 6.0), 0.18708602844739855);
        close(beta_quantile(0.975, 1109.0, 165.0), 0.8883569458919319);
        close(beta_quantile(0.5, 0.5, 0.5), 0.4999999999999999);
        close(fair_coins_at_least(8, 8), 0.00390625);
        close(fair_coins_at_least(20, 30), 0.049368573352694525);
        close(fair_coins_at_least(2091, 4183), 0.512334406972746);
    }
}
