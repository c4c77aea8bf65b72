//! What a set of questions can resolve: the smallest difference that a two-sided test at 5% finds in 80 of 100 cases.
//! All shares are between 0 and 1; multiply by 100 for points.
//!
//! For pairs it is McNemar's test by the normal approximation (Miettinen 1968; Connor 1987): n questions of which a
//! share d is answered rightly by one model alone find δ where δ√n = z₁√d + z₂√(d − δ²). Questions that hang together
//! resolve less: pass the effective number.

use super::distributions::normal_quantile;

const LEVEL: f64 = 0.05;
const POWER: f64 = 0.8;

fn quantiles() -> (f64, f64) {
    (normal_quantile(1.0 - LEVEL / 2.0), normal_quantile(POWER))
}

/// The difference that `n` pairs resolve of which a share `discordance` is right on one side alone; nothing where
/// even a difference of all of these would not be found.
pub fn paired_resolution(n: usize, discordance: f64) -> Option<f64> {
    let (level, power) = quantiles();
    let room = n as f64 + power * power - level * level;
    let found = discordance.sqrt() * (level * (n as f64).sqrt() + power * room.sqrt()) / (n as f64 + power * power);
    // Without room, and where the discordance is no number, the comparison is false.
    (found > 0.0 && found <= discordance && discordance <= 1.0).then_some(found)
}

/// The same before any run, for two models of about this accuracy that err independently: 2p(1 − p) of the pairs
/// differ. Models that err alike, as one and its fine-tuning do, differ in fewer and resolve more.
pub fn planned_resolution(n: usize, accuracy: f64) -> Option<f64> {
    paired_resolution(n, 2.0 * accuracy * (1.0 - accuracy))
}

/// How far above a known share, such as that of guessing, an accuracy must be to be found so by `n` questions; nothing
/// where not even 1 is.
pub fn single_resolution(n: usize, known: f64) -> Option<f64> {
    let (level, power) = quantiles();
    let spread = |share: f64| (share * (1.0 - share)).sqrt();
    let is_found = |gain: f64| gain * (n as f64).sqrt() >= level * spread(known) + power * spread(known + gain);
    if !(0.0..1.0).contains(&known) || !is_found(1.0 - known) {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0 - known);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if is_found(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// How many pairs resolve a difference, of which a share `discordance` is right on one side alone; nothing where no
/// number does, since the difference cannot be larger than that share.
pub fn items_needed(difference: f64, discordance: f64) -> Option<usize> {
    let (level, power) = quantiles();
    let size = difference.abs();
    let root = level * discordance.sqrt() + power * (discordance - size * size).max(0.0).sqrt();
    let possible = size > 0.0 && size <= discordance && discordance <= 1.0;
    possible.then(|| (root / size).powi(2).ceil() as usize)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn resolution_and_number_belong_together() {
        for (n, discordance) in [(200, 0.2), (1273, 0.1), (4183, 0.05)] {
            let found = paired_resolution(n, discordance).unwrap();
            let (level, power) = quantiles();
            let equation = level * discordance.sqrt() + power * (discordance - found * found).sqrt();
            assert!((found * (n as f64).sqrt() - equation).abs() < 1e-12);
            assert!(items_needed(found, discordance).unwrap().abs_diff(n) <= 1);
        }
    }

    /// Connor (1987): 2.8 standard errors, for small differences; Gazal-R1's MedQA at 10% discordance.
    #[test]
    fn known_values() {
        let found = paired_resolution(1273, 0.1).unwrap();
        assert!((found - 2.801_585 * (0.1_f64 / 1273.0).sqrt()).abs() < 1e-4, "{found}");
        // 100 pairs of which 30 differ: 15.2 points; by hand from δ√n = z₁√d + z₂√(d − δ²).
        let found = paired_resolution(100, 0.3).unwrap();
        assert!((found - 0.151_6).abs() < 1e-3, "{found}");
        // A share of 0.5 against 0.6: 194 trials (Fleiss, Levin and Paik 2003, section 2.5, without continuity).
        assert!((single_resolution(194, 0.5).unwrap() - 0.1).abs() < 5e-4);
        assert_eq!(planned_resolution(500, 0.8), paired_resolution(500, 2.0 * 0.8 * (1.0 - 0.8)));
    }

    #[test]
    fn what_cannot_be_found_is_nothing() {
        assert_eq!(
            (paired_resolution(8, 0.1), paired_resolution(0, 0.5), paired_resolution(100, 0.0)),
            (None, None, None)
        );
        assert_eq!(
            (single_resolution(1, 0.5), single_resolution(10, 1.0), single_resolution(0, 0.5)),
            (None, None, None)
        );
        assert_eq!((items_needed(0.3, 0.2), items_needed(0.0, 0.2)), (None, None));
        assert_eq!(paired_resolution(100, f64::NAN), None);
    }
}
