//! Scores as sums by cluster, which is all that intervals and tests look at.

use std::collections::{BTreeMap, BTreeSet};

use super::{Score, StatsError};

/// Scores `right − left` of each question.
pub(super) fn pair(left: &[Score], right: &[Score]) -> Result<Vec<Score>, StatsError> {
    let mut others: BTreeMap<&str, &Score> = right.iter().map(|score| (score.id.as_str(), score)).collect();
    if others.len() < right.len() {
        return Err(StatsError::Twice(first_twice(right).unwrap_or_default()));
    }
    let pairs = left.iter().map(|score| match others.remove(score.id.as_str()) {
        Some(other) if other.cluster == score.cluster => {
            Ok(Score { value: other.value - score.value, ..score.clone() })
        }
        _ => Err(first_twice(left).map_or_else(|| StatsError::Unpaired(score.id.clone()), StatsError::Twice)),
    });
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    match others.into_keys().next() {
        Some(id) => Err(StatsError::Unpaired(id.into())),
        None => Ok(pairs),
    }
}

fn first_twice(scores: &[Score]) -> Option<String> {
    let mut seen = BTreeSet::new();
    scores.iter().find(|score| !seen.insert(&score.id)).map(|score| score.id.clone())
}

/// Sums and counts of scores, by group and cluster.
pub(super) struct Tally {
    /// `groups[g][c]` is the sum and the count of group `g` in cluster `c`.
    pub(super) groups: Vec<Vec<(f64, f64)>>,
    pub(super) clusters: usize,
    pub(super) items: usize,
}

impl Tally {
    pub(super) fn new(groups: &[&[Score]]) -> Result<Tally, StatsError> {
        if groups.is_empty() || groups.iter().any(|group| group.is_empty()) {
            return Err(StatsError::Empty);
        }
        let all = groups.iter().copied().flatten();
        let names: BTreeSet<&str> = all.clone().map(|score| score.cluster.as_str()).collect();
        let index: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
        let groups = groups.iter().map(|group| sums(group, &index)).collect::<Result<_, _>>()?;
        Ok(Tally { groups, clusters: index.len(), items: all.count() })
    }

    /// The mean over groups of the weighted mean of each, where cluster `c` counts `times[c]` times. A group that
    /// has no score in the clusters drawn is left out, and where no group has one there is no mean.
    pub(super) fn mean(&self, times: &[u32]) -> Option<f64> {
        let means = self.groups.iter().filter_map(|cells| {
            let (sum, count) = cells.iter().zip(times).fold((0.0, 0.0), |(sum, count), (cell, &times)| {
                (sum + cell.0 * f64::from(times), count + cell.1 * f64::from(times))
            });
            (count > 0.0).then(|| sum / count)
        });
        let (sum, count) = means.fold((0.0, 0_u32), |(sum, count), mean| (sum + mean, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// What each cluster adds to the mean: their sum is the mean.
    pub(super) fn parts(&self) -> Vec<f64> {
        let mut parts = vec![0.0; self.clusters];
        for cells in &self.groups {
            let count: f64 = cells.iter().map(|cell| cell.1).sum();
            for (part, cell) in parts.iter_mut().zip(cells) {
                *part += cell.0 / count / self.groups.len() as f64;
            }
        }
        parts
    }
}

/// One group's sums and counts by cluster.
fn sums(group: &[Score], index: &BTreeMap<&str, usize>) -> Result<Vec<(f64, f64)>, StatsError> {
    if let Some(id) = first_twice(group) {
        return Err(StatsError::Twice(id));
    }
    let mut cells = vec![(0.0, 0.0); index.len()];
    for score in group {
        if !score.value.is_finite() {
            return Err(StatsError::NotFinite(score.id.clone()));
        }
        let cell = &mut cells[index[score.cluster.as_str()]];
        *cell = (cell.0 + score.value, cell.1 + 1.0);
    }
    Ok(cells)
}
