//! The registered configurations and their hashes.
//!
//! The hash is the SHA-256 of Python's `json.dumps(config, sort_keys=True)`: keys in order, a space after each colon
//! and comma. So it shows that the values here are those under which the published runs were made.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};

use super::Family;

/// A configuration by the study's own names, in the order of the alphabet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub alpha: f64,
    pub batch_size: usize,
    /// How many tests α is shared by.
    pub bonferroni_n: usize,
    /// Shares of training labels that are a half-plane's instead; see [`super::Cell::noise`].
    pub epsilon_values: [f64; 4],
    pub hidden_dim: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_if_equivariant_slope_ci_contains_zero: Option<bool>,
    #[serde(rename = "kill_if_wrong_group_slope_within_0.2_of_equivariant", skip_serializing_if = "Option::is_none")]
    pub kill_if_wrong_group_slope_is_close: Option<bool>,
    pub lambda_l2_regularized: f64,
    /// Adam's.
    pub lr: f64,
    pub max_epochs: usize,
    pub model_types: [Family; 5],
    pub n_bootstrap: usize,
    pub n_groups: [u32; 7],
    pub n_hidden: usize,
    pub n_seeds: usize,
    pub n_train_grid: [usize; 8],
    /// Of the trainer that evaluates after each epoch. The published runs were made by another, which evaluates after
    /// every fifth, and whose patience is 10.
    pub patience: usize,
    pub primary_comparison: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_estimator: Option<&'static str>,
    pub primary_metric: &'static str,
    pub secondary_comparison: &'static str,
    pub seeds: [u64; 5],
    pub target_acc: f64,
    pub task: &'static str,
}

/// Of the published runs: 5,600 of them.
pub const EXPLORATORY: Config = Config {
    alpha: 0.05,
    batch_size: 64,
    bonferroni_n: 3,
    epsilon_values: [0.0, 0.1, 0.2, 0.3],
    hidden_dim: super::HIDDEN,
    kill_if_equivariant_slope_ci_contains_zero: Some(true),
    kill_if_wrong_group_slope_is_close: Some(true),
    lambda_l2_regularized: 1e-3,
    lr: 1e-3,
    max_epochs: 500,
    model_types: Family::REGISTERED,
    n_bootstrap: 10_000,
    n_groups: [1, 2, 3, 4, 6, 8, 12],
    n_hidden: 2,
    n_seeds: 5,
    n_train_grid: [50, 100, 200, 400, 800, 1600, 3200, 6400],
    patience: 30,
    primary_comparison: "slope_equivariant_vs_null",
    primary_estimator: None,
    primary_metric: "n_target_median3of5",
    secondary_comparison: "slope_equivariant_vs_wrong_group",
    seeds: [0, 1, 2, 3, 4],
    target_acc: 0.8,
    task: "cn_petal_classification",
};

/// Of the replication that was registered and of which no results are published.
pub const CONFIRMATORY: Config = Config {
    kill_if_equivariant_slope_ci_contains_zero: None,
    kill_if_wrong_group_slope_is_close: None,
    primary_comparison: "relative_slope_equivariant_vs_vanilla",
    primary_estimator: Some("beta_diff_equivariant_vs_vanilla"),
    secondary_comparison: "relative_slope_equivariant_vs_wrong_group",
    seeds: [100, 101, 102, 103, 104],
    ..EXPLORATORY
};

/// The numbers of samples of the finer grid, √2 apart, over the range of the coarse one. The paper gives the spacing;
/// that each is round(50 · 2^(k / 2)) is our reading.
pub fn finer_samples() -> [usize; 15] {
    std::array::from_fn(|k| (50.0 * libm::exp2(k as f64 / 2.0)).round() as usize)
}

impl Config {
    /// The hash by which the study names a configuration.
    pub fn hash(&self) -> String {
        let mut text = Vec::new();
        // Neither writing to memory nor these types can fail.
        let written = self.serialize(&mut Serializer::with_formatter(&mut text, Spaced));
        debug_assert!(written.is_ok());
        hexadecimal(&Sha256::digest(&text))
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// JSON as Python's `json.dumps` spaces it.
struct Spaced;

impl Spaced {
    fn comma<W: ?Sized + Write>(writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
}

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        Spaced::comma(writer, first)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        Spaced::comma(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_registered_ones() {
        let hashes = [
            (&EXPLORATORY, "1bd8889315ec0f15640eb35854279e87dbcec1f57f7ea0cbb4a9fdd8a9f4a00e"),
            (&CONFIRMATORY, "5bcdf06f89f70de4d56b5d4be0514211f9ecb42ab2dc5cc9bff171cfe43acc88"),
        ];
        for (config, hash) in hashes {
            assert_eq!(config.hash(), hash);
        }
    }

    #[test]
    fn the_finer_grid_has_the_coarse_one_in_it() {
        let finer = finer_samples();
        assert_eq!(finer, [50, 71, 100, 141, 200, 283, 400, 566, 800, 1131, 1600, 2263, 3200, 4525, 6400]);
        assert!(EXPLORATORY.n_train_grid.iter().all(|samples| finer.contains(samples)));
    }
}
