//! What the study checks of a cell's data before anything is trained.
//!
//! Where there is no asymmetric noise it looks at the data of the first seed, and leaves the cell out for all seeds
//! and families if they are not balanced or not symmetric. It means to look at linear shortcuts and at points in both
//! sets too, but only asks what is named `…_ok`, which these two are not. Balance fails by chance: 50 fair labels are
//! as far from a half in 16% of draws, 100 in 5%. [`DataChecks::passes`] is the study's gate; to leave cells out for
//! it is to drop data at random, so nothing here does.

use std::collections::BTreeSet;

use libm::{atan2, cos, exp, sin};
use serde::{Deserialize, Serialize};

use super::petals::is_in_petal;
use super::{Cell, Petals, Sample};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataChecks {
    /// The share of positive training labels, in float32: 30 of 50 are further from a half than 0.1 and 20 are not.
    pub positive: f32,
    pub is_balanced: bool,
    /// The accuracy on the validation set of logistic regression on the coordinates.
    pub linear_accuracy: f64,
    pub has_no_linear_shortcut: bool,
    /// Points of the training set that are in the validation set too, to six decimals.
    pub shared_points: usize,
    pub shares_no_points: bool,
    /// The share of validation points that keep their label without noise when they are turned by 2π / n; nothing
    /// where training labels have asymmetric noise.
    pub symmetry: Option<f64>,
    pub is_symmetric: Option<bool>,
}

impl DataChecks {
    pub fn of(cell: &Cell, data: &Petals) -> DataChecks {
        let positive = data.train.labels.iter().sum::<f32>() / data.train.labels.len() as f32;
        let linear_accuracy = linear_accuracy(&data.train, &data.validation);
        let shared_points = rounded(&data.train).intersection(&rounded(&data.validation)).count();
        let symmetry = (cell.noise == 0.0).then(|| symmetry(cell.n, &data.validation));
        DataChecks {
            positive,
            is_balanced: (f64::from(positive) - 0.5).abs() < 0.1,
            linear_accuracy,
            has_no_linear_shortcut: linear_accuracy < 0.65,
            shared_points,
            shares_no_points: shared_points == 0,
            symmetry,
            is_symmetric: symmetry.map(|share| share > 0.999),
        }
    }

    /// Whether the study would train on the cell. It asks for the first seed only, and where there is no asymmetric
    /// noise.
    pub fn passes(&self) -> bool {
        self.is_balanced && self.is_symmetric != Some(false)
    }
}

fn rounded(sample: &Sample) -> BTreeSet<[i32; 2]> {
    sample.points.iter().map(|point| point.map(|coordinate| (coordinate * 1e6).round_ties_even() as i32)).collect()
}

fn symmetry(n: u32, sample: &Sample) -> f64 {
    let angle = std::f64::consts::TAU / f64::from(n);
    let (turn_cos, turn_sin) = (cos(angle), sin(angle));
    let keeps = |point: &&[f32; 2]| {
        let [x, y] = point.map(f64::from);
        let turned = atan2(y * turn_cos - x * turn_sin, x * turn_cos + y * turn_sin);
        is_in_petal(n, atan2(y, x)) == is_in_petal(n, turned)
    };
    sample.points.iter().filter(keeps).count() as f64 / sample.points.len() as f64
}

/// The accuracy of logistic regression with an intercept and with ½‖w‖² added to the summed loss, as scikit-learn
/// has it by default. By Newton's method, which needs no step size: the loss is convex and there are three weights.
fn linear_accuracy(train: &Sample, validation: &Sample) -> f64 {
    let mut weights = [0.0; 3];
    for _ in 0..100 {
        let Some(step) = newton_step(train, weights) else { break };
        for (weight, step) in weights.iter_mut().zip(step) {
            *weight -= step;
        }
        if step.iter().all(|step| step.abs() < 1e-10) {
            break;
        }
    }
    let pairs = validation.points.iter().zip(&validation.labels);
    let right = pairs.filter(|(point, label)| (logit(weights, **point) > 0.0) == (**label > 0.5)).count();
    right as f64 / validation.labels.len() as f64
}

fn logit([intercept, by_x, by_y]: [f64; 3], [x, y]: [f32; 2]) -> f64 {
    intercept + by_x * f64::from(x) + by_y * f64::from(y)
}

/// Gradient and Hessian of the penalised loss, solved for the step.
fn newton_step(train: &Sample, weights: [f64; 3]) -> Option<[f64; 3]> {
    let mut gradient = [0.0, weights[1], weights[2]];
    let mut hessian = [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for (point, label) in train.points.iter().zip(&train.labels) {
        let input = [1.0, f64::from(point[0]), f64::from(point[1])];
        let share = 1.0 / (1.0 + exp(-logit(weights, *point)));
        for row in 0..3 {
            gradient[row] += (share - f64::from(*label)) * input[row];
            for column in 0..3 {
                hessian[row][column] += share * (1.0 - share) * input[row] * input[column];
            }
        }
    }
    solve(hessian, gradient)
}

/// Cramer's rule.
fn solve(matrix: [[f64; 3]; 3], right: [f64; 3]) -> Option<[f64; 3]> {
    let whole = determinant(matrix);
    let replaced = |column: usize| {
        let mut replaced = matrix;
        for (row, value) in replaced.iter_mut().zip(right) {
            row[column] = value;
        }
        determinant(replaced) / whole
    };
    (whole.abs() > f64::MIN_POSITIVE).then(|| [0, 1, 2].map(replaced))
}

fn determinant([[a, b, c], [d, e, f], [g, h, i]]: [[f64; 3]; 3]) -> f64 {
    a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
}
