//! Adafactor (arXiv:1804.04235) with an external rate and without first moments, as transformers runs it
//! (`scale_parameter = False`, `relative_step = False`).
//!
//! The second moments of a matrix are kept as means of its rows and of its columns, `v_ij ≈ r_i·c_j / mean(r)`; an
//! update whose root mean square is above `clip_threshold` is scaled down to it. Only matrices are factored.

use burn::tensor::Tensor;

use super::Move;
use super::state::{Slots, averaged};

/// What is added to squared gradients (the paper's ε1).
const EPSILON: f64 = 1e-30;

impl Move<'_> {
    pub(super) fn adafactor(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let args = self.config.args;
        let keep = 1.0 - f64::from(self.step).powf(args.decay_rate.unwrap_or(-0.8));
        let square = gradient.clone().powi_scalar(2).add_scalar(EPSILON);
        let scaled = match *self.parameter.shape {
            [rows, columns] => gradient * factored(slots, square, [rows, columns], keep),
            _ => {
                let second = averaged(slots, "second", square, keep);
                gradient / second.sqrt()
            }
        };
        let mean_square = scaled.clone().powi_scalar(2).mean();
        let over = mean_square.sqrt().div_scalar(args.clip_threshold.unwrap_or(1.0)).clamp_min(1.0);
        self.decayed(theta) - (scaled / over).mul_scalar(self.rate)
    }
}

/// One over the root of the second moments, `[rows × columns]`.
fn factored(slots: &mut Slots, square: Tensor<1>, [rows, columns]: [usize; 2], keep: f64) -> Tensor<1> {
    let square = square.reshape([rows, columns]);
    let row = averaged(slots, "row", square.clone().mean_dim(1).reshape([rows]), keep);
    let column = averaged(slots, "column", square.mean_dim(0).reshape([columns]), keep);
    let row = row.clone() / row.mean();
    let second = row.sqrt().reshape([rows, 1]) * column.sqrt().reshape([1, columns]);
    second.reshape([rows * columns]).recip()
}
