//! EXAdam (arXiv:2412.20302), AdamW (arXiv:1711.05101) and Adam (arXiv:1412.6980).
//!
//! EXAdam, element-wise at step t, with `m`, `v` the moments of Adam after this gradient:
//! `d1 = 1 + v/(v+ε)·β2ᵗ`, `d2 = 1 + m²/(m²+ε)·β1ᵗ`,
//! `θ ← θ − lr·(m + g)·d1/(1−β1ᵗ) / (√(v·d2/(1−β2ᵗ)) + ε)`.
//! The paper's first version multiplies the rate by `ln(√(t+1)·√2)`; the second, the default here, does not.
//!
//! The CPU does what follows in one pass over memory, element by element; as a series of tensor operations it would be
//! one pass for each, two dozen of them. Both round after every operation in the same order, so they agree to the bit.

use burn::tensor::{DType, Tensor, TensorData};
use gazal_lm::weights::to_host;
use rayon::prelude::*;

use super::state::{Slots, take};
use super::{Move, OptimKind};

/// Elements that a thread takes at a time: all their vectors fit into its cache.
const CHUNK: usize = 1 << 14;

/// The numbers of a step, in the order in which they are used.
#[derive(Clone, Copy)]
struct Factors<T> {
    /// What decay leaves of a parameter.
    decayed: T,
    beta1: T,
    rest1: T,
    beta2: T,
    rest2: T,
    epsilon: T,
    /// β1ᵗ, β2ᵗ.
    power1: T,
    power2: T,
    /// 1 − β2ᵗ.
    correction2: T,
    /// The rate over 1 − β1ᵗ.
    rate: T,
}

impl Factors<f64> {
    fn in_float32(self) -> Factors<f32> {
        Factors {
            decayed: self.decayed as f32,
            beta1: self.beta1 as f32,
            rest1: self.rest1 as f32,
            beta2: self.beta2 as f32,
            rest2: self.rest2 as f32,
            epsilon: self.epsilon as f32,
            power1: self.power1 as f32,
            power2: self.power2 as f32,
            correction2: self.correction2 as f32,
            rate: self.rate as f32,
        }
    }
}

impl Move<'_> {
    /// A step of the kinds that have Adam's moments; Muon's for what is no matrix is AdamW.
    pub(super) fn adam(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        if theta.dtype() == DType::F32 && gazal_lm::device::is_cpu(&theta.device()) {
            self.adam_in_one_pass(slots, theta, gradient)
        } else {
            self.adam_by_tensors(slots, theta, gradient)
        }
    }

    fn crosses(&self) -> bool {
        matches!(self.config.kind, OptimKind::Exadam | OptimKind::ExadamV1)
    }

    fn factors(&self) -> Factors<f64> {
        let (beta1, beta2) = (self.config.beta1, self.config.beta2);
        let (power1, power2) = (beta1.powi(self.step), beta2.powi(self.step));
        let rate = match self.config.kind {
            OptimKind::ExadamV1 => self.rate * 0.5 * (2.0 * f64::from(self.step + 1)).ln(),
            _ => self.rate,
        };
        Factors {
            decayed: 1.0 - self.rate * self.decoupled(),
            beta1,
            rest1: 1.0 - beta1,
            beta2,
            rest2: 1.0 - beta2,
            epsilon: self.config.epsilon,
            power1,
            power2,
            correction2: 1.0 - power2,
            rate: rate / (1.0 - power1),
        }
    }

    pub(super) fn adam_by_tensors(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let factors = self.factors();
        let theta = self.decayed(theta);
        let first =
            take(slots, "first", &gradient).mul_scalar(factors.beta1) + gradient.clone().mul_scalar(factors.rest1);
        let second = take(slots, "second", &gradient).mul_scalar(factors.beta2)
            + gradient.clone().powi_scalar(2).mul_scalar(factors.rest2);
        slots.insert("first", first.clone());
        slots.insert("second", second.clone());
        let (numerator, denominator) = if self.crosses() {
            let epsilon = factors.epsilon;
            let d1 = (second.clone() / second.clone().add_scalar(epsilon)).mul_scalar(factors.power2).add_scalar(1.0);
            let square = first.clone().powi_scalar(2);
            let d2 = (square.clone() / square.add_scalar(epsilon)).mul_scalar(factors.power1).add_scalar(1.0);
            ((first + gradient) * d1, second * d2)
        } else {
            (first, second)
        };
        let denominator = denominator.div_scalar(factors.correction2).sqrt().add_scalar(factors.epsilon);
        theta - numerator.mul_scalar(factors.rate) / denominator
    }

    pub(super) fn adam_in_one_pass(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let (device, count) = (theta.device(), theta.dims()[0]);
        let [mut first, mut second] = ["first", "second"].map(|name| to_host(take(slots, name, &gradient)));
        let (mut theta, gradient) = (to_host(theta), to_host(gradient));
        let (factors, crosses) = (self.factors().in_float32(), self.crosses());
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        theta.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(moments).for_each(
            |((theta, gradient), (first, second))| {
                let rows = theta.iter_mut().zip(gradient).zip(first.iter_mut().zip(second));
                if crosses {
                    rows.for_each(|((theta, &g), (m, v))| *theta = factors.exadam(*theta, g, m, v));
                } else {
                    rows.for_each(|((theta, &g), (m, v))| *theta = factors.adamw(*theta, g, m, v));
                }
            },
        );
        let tensor = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [count]), &device);
        slots.insert("first", tensor(first));
        slots.insert("second", tensor(second));
        tensor(theta)
    }
}

impl Factors<f32> {
    fn moments(&self, gradient: f32, first: &mut f32, second: &mut f32) {
        *first = *first * self.beta1 + gradient * self.rest1;
        *second = *second * self.beta2 + gradient * gradient * self.rest2;
    }

    fn moved(&self, theta: f32, numerator: f32, denominator: f32) -> f32 {
        let denominator = (denominator / self.correction2).sqrt() + self.epsilon;
        theta * self.decayed - numerator * self.rate / denominator
    }

    fn adamw(&self, theta: f32, gradient: f32, first: &mut f32, second: &mut f32) -> f32 {
        self.moments(gradient, first, second);
        self.moved(theta, *first, *second)
    }

    fn exadam(&self, theta: f32, gradient: f32, first: &mut f32, second: &mut f32) -> f32 {
        self.moments(gradient, first, second);
        let d1 = *second / (*second + self.epsilon) * self.power2 + 1.0;
        let square = *first * *first;
        let d2 = square / (square + self.epsilon) * self.power1 + 1.0;
        self.moved(theta, (*first + gradient) * d1, *second * d2)
    }
}
