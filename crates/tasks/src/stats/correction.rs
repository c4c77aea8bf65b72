//! Corrections for several tests: with ten benchmarks and no difference anywhere, four tables in ten show one at 5%.

/// Bonferroni's adjusted p-values: as Holm's, and never below them. For studies that registered them.
pub fn bonferroni(p: &[f64]) -> Vec<f64> {
    p.iter().map(|value| (value * p.len() as f64).min(1.0)).collect()
}

/// Adjusted p-values of Holm (1979): the chance of one false finding or more among those at or below a level is at
/// most that level, however the tests depend on each other.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order = ascending(p);
    let mut adjusted = vec![1.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, index) in order.drain(..).enumerate() {
        largest = largest.max((p.len() - rank) as f64 * p[index]).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

/// Adjusted p-values of Benjamini and Hochberg (1995): among those at or below a level the share of false findings
/// is expected to be at most that level, for tests that are independent or positively dependent.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut adjusted = vec![1.0; p.len()];
    let mut smallest = 1.0_f64;
    for (rank, index) in ascending(p).into_iter().enumerate().rev() {
        smallest = smallest.min(p[index] * p.len() as f64 / (rank + 1) as f64);
        adjusted[index] = smallest;
    }
    adjusted
}

/// Indices by growing p.
fn ascending(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&left, &right| p[left].total_cmp(&p[right]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(adjusted: &[f64], expected: &[f64]) {
        assert_eq!(adjusted.len(), expected.len());
        let differ = adjusted.iter().zip(expected).any(|(value, expected)| (value - expected).abs() > 1e-12);
        assert!(!differ, "{adjusted:?} is not {expected:?}");
    }

    #[test]
    fn by_hand() {
        let p = [0.04, 0.01, 0.03, 0.5];
        close(&bonferroni(&p), &[0.16, 0.04, 0.12, 1.0]);
        close(&holm(&p), &[0.09, 0.04, 0.09, 0.5]);
        close(&benjamini_hochberg(&p), &[0.16 / 3.0, 0.04, 0.16 / 3.0, 0.5]);
        close(&holm(&[0.6, 0.7]), &[1.0, 1.0]);
        close(&holm(&[]), &[]);
        close(&benjamini_hochberg(&[0.02]), &[0.02]);
    }

    /// The example of Benjamini and Hochberg (1995, section 3.2): at 5% theirs rejects four, Holm's three.
    #[test]
    fn the_published_example() {
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0,
        ];
        let rejected = |adjusted: Vec<f64>| adjusted.into_iter().filter(|p| *p <= 0.05).count();
        assert_eq!((rejected(benjamini_hochberg(&p)), rejected(holm(&p))), (4, 3));
    }
}
