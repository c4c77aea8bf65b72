//! The families: one network, 2 → 32 → 32 → 1 with ReLU, and what is done to its input.

use std::f64::consts::TAU;

use libm::{cosf, sinf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The width of both hidden layers.
pub const HIDDEN: usize = 32;

/// Weights and biases, of every family: the study looks for the narrowest network without symmetry that has as many
/// as the one with it, and that has the same width.
pub const PARAMETERS: usize = 3 * HIDDEN + HIDDEN * (HIDDEN + 1) + HIDDEN + 1;

/// Multiplications and additions of one pass of one point; the study leaves biases and ReLU out.
const FLOPS: u64 = 2 * (2 * HIDDEN + HIDDEN * HIDDEN + HIDDEN) as u64;

/// How far apart the wrong group's rotations are beside the right one's. The study's programs call it irrational,
/// which it is not: ten steps of the wrong group are seven of the right one.
const MISALIGNMENT: f64 = 0.7;

/// What is done with a point before the network and with the logits after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// The mean logit over the n rotations that change no label.
    Equivariant,
    /// The mean logit over n rotations of which most change labels: as many passes, and another group.
    WrongGroup,
    /// In training [`Family::Equivariant`], in evaluation [`Family::Vanilla`]. So it is no augmentation in the usual
    /// sense, which would train on one random rotation at a time.
    Augmented,
    /// The network alone.
    Vanilla,
    /// The network alone, with weight decay as an L2 term in the gradient.
    Regularized,
    /// [`Family::Augmented`] with the mean over rotations in evaluation too, of the paper and not of its programs.
    /// That is [`Family::Equivariant`] under another name: with the same initial weights and the same order of rows,
    /// all numbers must be the same to the bit.
    AugmentedTta,
}

impl Family {
    /// The five of the registered configurations, in their order.
    pub const REGISTERED: [Family; 5] =
        [Family::Equivariant, Family::WrongGroup, Family::Augmented, Family::Vanilla, Family::Regularized];

    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Family::Equivariant => "equivariant",
            Family::WrongGroup => "wrong_group",
            Family::Augmented => "augmented",
            Family::Vanilla => "vanilla",
            Family::Regularized => "regularized",
            Family::AugmentedTta => "augmented_tta",
        }
    }

    /// The rotations of a point whose logits are averaged in training.
    pub fn training_orbit(self, n: u32) -> Vec<Rotation> {
        match self {
            Family::Equivariant | Family::Augmented | Family::AugmentedTta => orbit(n, 1.0),
            Family::WrongGroup => orbit(n, MISALIGNMENT),
            Family::Vanilla | Family::Regularized => orbit(1, 1.0),
        }
    }

    /// The rotations of a point whose logits are averaged in evaluation.
    pub fn evaluation_orbit(self, n: u32) -> Vec<Rotation> {
        match self {
            Family::Augmented => orbit(1, 1.0),
            _ => self.training_orbit(n),
        }
    }

    /// Adam's L2 term.
    pub fn weight_decay(self) -> f64 {
        if self == Family::Regularized { super::EXPLORATORY.lambda_l2_regularized } else { 0.0 }
    }

    /// What one forward pass of one point costs, as the study counts it: one pass for each rotation in training, also
    /// for evaluating [`Family::Augmented`], which has one.
    pub fn forward_flops(self, n: u32) -> u64 {
        FLOPS * self.training_orbit(n).len() as u64
    }

    /// What a run cost, as the study counts it: forward passes over all samples in all epochs, without the backward
    /// passes and without evaluation.
    pub fn run_flops(self, n: u32, samples: usize, epochs: usize) -> u64 {
        self.forward_flops(n) * samples as u64 * epochs as u64
    }
}

/// A rotation of the plane, in float32 as the study keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    pub cos: f32,
    pub sin: f32,
}

impl Rotation {
    /// `(x cos − y sin, x sin + y cos)`.
    pub fn of(self, [x, y]: [f32; 2]) -> [f32; 2] {
        [x * self.cos - y * self.sin, x * self.sin + y * self.cos]
    }
}

/// The rotations by 2π · `share` · k / n for k from 0.
fn orbit(n: u32, share: f64) -> Vec<Rotation> {
    let angles = (0..n).map(|k| (TAU * share * f64::from(k) / f64::from(n)) as f32);
    angles.map(|angle| Rotation { cos: cosf(angle), sin: sinf(angle) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_operations_are_the_study_s() {
        assert_eq!(PARAMETERS, 1185);
        assert_eq!(Family::Vanilla.forward_flops(6), 2240);
        for family in [Family::Equivariant, Family::WrongGroup, Family::Augmented] {
            assert_eq!(family.forward_flops(6), 6 * 2240);
        }
        assert_eq!(Family::Equivariant.run_flops(2, 50, 10), 2 * 2240 * 50 * 10);
    }

    #[test]
    fn a_quarter_turn_turns_counterclockwise() {
        let turned = Family::Equivariant.training_orbit(4)[1].of([1.0, 0.0]);
        assert!(turned[0].abs() < 1e-6 && (turned[1] - 1.0).abs() < 1e-6, "{turned:?}");
    }

    #[test]
    fn orbits_differ_where_the_families_do() {
        let angles = |orbit: Vec<Rotation>| -> Vec<f32> {
            orbit.iter().map(|rotation| rotation.sin.atan2(rotation.cos)).collect()
        };
        let right = angles(Family::Equivariant.training_orbit(5));
        let wrong = angles(Family::WrongGroup.training_orbit(5));
        assert!(right.iter().zip(&wrong).take(3).all(|(right, wrong)| (0.7 * right - wrong).abs() < 1e-6));
        assert_eq!(Family::WrongGroup.training_orbit(1), Family::Vanilla.training_orbit(9));
        assert_eq!(Family::Augmented.training_orbit(5), Family::Equivariant.training_orbit(5));
        assert_eq!(Family::Augmented.evaluation_orbit(5), Family::Vanilla.evaluation_orbit(5));
        assert_eq!(Family::AugmentedTta.evaluation_orbit(5), Family::Equivariant.evaluation_orbit(5));
    }

    #[test]
    fn names_are_those_of_files() {
        for family in Family::REGISTERED.into_iter().chain([Family::AugmentedTta]) {
            assert_eq!(serde_json::json!(family), family.name());
        }
    }
}
