//! The data of a cell, draw by draw as the study's generator makes them.
//!
//! A point has a radius uniform in [0.1, 1) (and not in area) and an angle uniform in [0, 2π). It is positive where
//! cos(nθ) > 0: n petals. So reflections change no label either, and what rotations are worth is a lower bound.
//!
//! The order of draws from one generator: for training all radii, all angles, where there is asymmetric noise the
//! angle of its half-plane and a number for each point, and a number for each label's flip; then the same without the
//! asymmetric part for validation and for test. These two are 2,000 points each. The preregistration of the
//! replication speaks of a split of the training set instead, and of flips where it means the half-plane; what it
//! registered is the code, which draws as here.

use std::f64::consts::TAU;

use libm::{cos, sin};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::hexadecimal;
use crate::numpy::Generator;

/// The share of labels that are flipped, in all three parts: no accuracy is above 0.95 but by chance.
const LABEL_NOISE: f64 = 0.05;

/// Points of the validation set, and of the test set.
const HELD_OUT: usize = 2000;

/// What data are drawn for: all runs of a cell, whatever their family, have the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// How many petals there are, and rotations in the group.
    pub n: u32,
    /// Points to train on.
    pub samples: usize,
    /// The share of training labels that are not the petals' but those of one half-plane, which the symmetry does not
    /// leave as they are. It is the study's ε, and no part of the 5% of labels that are flipped everywhere.
    pub noise: f64,
    pub seed: u64,
}

/// Points with a label each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub points: Vec<[f32; 2]>,
    /// 0 or 1.
    pub labels: Vec<f32>,
}

/// A cell's data.
#[derive(Clone, Debug, PartialEq)]
pub struct Petals {
    pub train: Sample,
    pub validation: Sample,
    /// Drawn, and never looked at by the study: it chooses an epoch and judges it by the same validation set.
    pub test: Sample,
}

impl Cell {
    pub fn petals(&self) -> Petals {
        let mut generator = Generator::new(self.seed);
        let train = self.sample(&mut generator, self.samples, self.noise);
        let validation = self.sample(&mut generator, HELD_OUT, 0.0);
        let test = self.sample(&mut generator, HELD_OUT, 0.0);
        Petals { train, validation, test }
    }

    fn sample(&self, generator: &mut Generator, count: usize, noise: f64) -> Sample {
        let radii: Vec<f64> = (0..count).map(|_| generator.uniform(0.1, 1.0)).collect();
        let angles: Vec<f64> = (0..count).map(|_| generator.uniform(0.0, TAU)).collect();
        let mut labels: Vec<bool> = angles.iter().map(|&angle| is_in_petal(self.n, angle)).collect();
        if noise > 0.0 {
            let side = generator.uniform(0.0, TAU);
            for (label, angle) in labels.iter_mut().zip(&angles) {
                if generator.random() < noise {
                    *label = cos(angle - side) > 0.0;
                }
            }
        }
        let flipped = labels.into_iter().map(|label| label != (generator.random() < LABEL_NOISE));
        let labels = flipped.map(|label| f32::from(u8::from(label))).collect();
        let polar = radii.into_iter().zip(angles);
        Sample { points: polar.map(|(r, angle)| [(r * cos(angle)) as f32, (r * sin(angle)) as f32]).collect(), labels }
    }
}

/// The label without noise.
pub(super) fn is_in_petal(n: u32, angle: f64) -> bool {
    cos(f64::from(n) * angle) > 0.0
}

impl Petals {
    /// The study's `dataset_hash`: of the first 100 training points, all coordinates and then all labels.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for coordinate in self.train.points.iter().take(100).flatten() {
            hasher.update(coordinate.to_le_bytes());
        }
        for label in self.train.labels.iter().take(100) {
            hasher.update(label.to_le_bytes());
        }
        hexadecimal(&hasher.finalize()[..8])
    }
}
