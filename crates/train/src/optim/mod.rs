//! Optimizers: EXAdam (arXiv:2412.20302), AdamW (1711.05101), Adafactor (1804.04235), Lion (2302.06675) and Muon
//! (K. Jordan, 2024; scaled as in 2502.16982), all with decoupled weight decay; and those that they are compared with,
//! as PyTorch has them: Adam (1412.6980), SGD with momentum, RMSprop and Adadelta (1212.5701), whose weight decay is a
//! part of the gradient.
//!
//! Burn has all of these but EXAdam, keyed by `ParamId`s, which are other ones in every process, and saved in records
//! of its own. A run here goes on in another process and must come out the same to the byte, so state is kept by the
//! names that parameters have in a checkpoint, and the formulas, a few lines each, are written over plain tensors.

mod adadelta;
mod adafactor;
mod adam;
mod config;
mod lion;
mod muon;
mod rmsprop;
mod sgd;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor};
use gazal_lm::{Decoder, Trainable};

use crate::Gradients;
pub use config::{OptimArgs, OptimConfig, OptimKind};
use state::{Slots, State};

/// An optimizer with its state by parameter name.
#[derive(Clone)]
pub struct Optimizer {
    config: OptimConfig,
    step: i32,
    state: State,
}

/// A vector that moves and is no decoder's: of a small network, say.
pub struct Vector<'a> {
    pub name: &'a str,
    /// Of the parameter whose numbers it has.
    pub shape: &'a [usize],
    pub values: &'a mut Tensor<1>,
}

/// Which parameter a vector is.
#[derive(Clone, Copy)]
struct Parameter<'a> {
    name: &'a str,
    shape: &'a [usize],
}

/// One parameter's part in a step.
struct Move<'a> {
    config: &'a OptimConfig,
    /// Counted from 1.
    step: i32,
    parameter: Parameter<'a>,
    rate: f64,
}

impl Move<'_> {
    /// Weight decay is for matrices: norms and DoRA's magnitudes are scales, not weights.
    fn decay(&self) -> f64 {
        let is_left_out = self.parameter.shape.len() == 1 && !self.config.decays_vectors;
        if is_left_out { 0.0 } else { self.config.weight_decay }
    }

    fn decoupled(&self) -> f64 {
        if self.config.kind.is_coupled() { 0.0 } else { self.decay() }
    }

    fn coupled(&self) -> f64 {
        if self.config.kind.is_coupled() { self.decay() } else { 0.0 }
    }

    /// `theta` after decoupled decay.
    fn decayed(&self, theta: Tensor<1>) -> Tensor<1> {
        match self.decoupled() {
            0.0 => theta,
            decay => theta.mul_scalar(1.0 - self.rate * decay),
        }
    }

    /// LoRA+ (arXiv:2402.12354), grouped as PEFT groups: B matrices and magnitudes learn faster.
    fn is_fast(&self) -> bool {
        self.parameter.shape.len() == 1 || self.parameter.name.contains(".lora_B.")
    }

    fn apply(&self, slots: &mut Slots, theta: Tensor<1>, gradient: Tensor<1>) -> Tensor<1> {
        let gradient = match self.coupled() {
            0.0 => gradient,
            decay => gradient + theta.clone().mul_scalar(decay),
        };
        match self.config.kind {
            OptimKind::Exadam | OptimKind::ExadamV1 | OptimKind::Adam | OptimKind::Adamw => {
                self.adam(slots, theta, gradient)
            }
            OptimKind::Adadelta => self.adadelta(slots, theta, gradient),
            OptimKind::Adafactor => self.adafactor(slots, theta, gradient),
            OptimKind::Lion => self.lion(slots, theta, gradient),
            OptimKind::Muon => self.muon(slots, theta, gradient),
            OptimKind::Rmsprop => self.rmsprop(slots, theta, gradient),
            OptimKind::Sgd => self.sgd(slots, theta, gradient),
        }
    }
}

impl Optimizer {
    pub fn new(config: OptimConfig) -> Optimizer {
        Optimizer { config, step: 0, state: State::default() }
    }

    /// Moves every trainable parameter of `decoder` that has a gradient, then renews DoRA's norms.
    pub fn step(&mut self, decoder: &mut Decoder, trainable: Trainable, gradients: &Gradients, rate: f64) {
        self.step += 1;
        decoder.visit_trainable(trainable, &mut |name, mut slot| {
            if let Some(gradient) = gradients.get(name) {
                let parameter = Parameter { name, shape: &slot.shape() };
                let moved = self.update(parameter, slot.flat(), gradient.clone(), rate);
                slot.set_flat(moved);
            }
        });
        decoder.refresh_norms();
    }

    /// Moves every one of these vectors that has a gradient.
    pub fn step_vectors<'a>(&mut self, vectors: impl Iterator<Item = Vector<'a>>, gradients: &Gradients, rate: f64) {
        self.step += 1;
        for Vector { name, shape, values } in vectors {
            if let Some(gradient) = gradients.get(name) {
                *values = self.update(Parameter { name, shape }, values.clone(), gradient.clone(), rate);
            }
        }
    }

    /// One parameter `theta` `[n]` of a shape, with gradient `[n]` in float32. Of a half-precision parameter a float32 copy is
    /// kept and moved: steps that are smaller than its last bit would be lost.
    fn update(&mut self, parameter: Parameter, theta: Tensor<1>, gradient: Tensor<1>, rate: f64) -> Tensor<1> {
        let mut part = Move { config: &self.config, step: self.step, parameter, rate };
        if let Some(ratio) = self.config.loraplus_lr_ratio.filter(|_| part.is_fast()) {
            part.rate *= ratio;
        }
        let slots = self.state.of(parameter.name);
        let precision = theta.dtype();
        if !matches!(precision, DType::BF16 | DType::F16) {
            return part.apply(slots, theta, gradient);
        }
        let master = slots.remove("master").unwrap_or_else(|| theta.cast(DType::F32));
        let master = part.apply(slots, master, gradient);
        slots.insert("master", master.clone());
        master.cast(precision)
    }

    /// The state as named vectors: `first.NAME`, `second.NAME`, …
    pub(crate) fn state(&self) -> (i32, Vec<gazal_lm::weights::Named>) {
        (self.step, self.state.named())
    }

    /// Takes up a state that [`Optimizer::state`] gave.
    pub(crate) fn restore(&mut self, step: i32, tensors: &BTreeMap<String, Vec<f32>>, device: &Device) {
        self.step = step;
        self.state = State::restored(tensors, device);
    }
}
