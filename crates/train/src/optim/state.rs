//! What optimizers remember of each parameter: vectors by the parameter's name and their own.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};

/// The names of a parameter's vectors; in a file they come before its own.
const NAMES: [&str; 6] = ["first", "second", "row", "column", "delta", "master"];

/// The vectors of one parameter.
pub(super) type Slots = BTreeMap<&'static str, Tensor<1>>;

#[derive(Clone, Default)]
pub(super) struct State(BTreeMap<String, Slots>);

impl State {
    /// The vectors of a parameter, none before its first step.
    pub fn of(&mut self, name: &str) -> &mut Slots {
        self.0.entry(name.to_string()).or_default()
    }

    pub fn named(&self) -> Vec<gazal_lm::weights::Named> {
        let named = |(name, slots): (&String, &Slots)| {
            let named = |(slot, tensor): (&&str, &Tensor<1>)| {
                (format!("{slot}.{name}"), tensor.dims().to_vec(), gazal_lm::weights::to_host(tensor.clone()))
            };
            slots.iter().map(named).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(named).collect()
    }

    pub fn restored(tensors: &BTreeMap<String, Vec<f32>>, device: &Device) -> State {
        let mut state = State::default();
        for (full, values) in tensors {
            let Some((slot, name)) = full.split_once('.') else { continue };
            if let Some(slot) = NAMES.iter().find(|known| **known == slot) {
                state.of(name).insert(slot, Tensor::from_data(values.as_slice(), device));
            }
        }
        state
    }
}

/// A vector of `slots`, or zeros like `like` before the first step.
pub(super) fn take(slots: &mut Slots, name: &str, like: &Tensor<1>) -> Tensor<1> {
    slots.remove(name).unwrap_or_else(|| like.zeros_like())
}

/// A running mean, kept under `name`.
pub(super) fn averaged(slots: &mut Slots, name: &'static str, new: Tensor<1>, keep: f64) -> Tensor<1> {
    let mean = take(slots, name, &new).mul_scalar(keep) + new.mul_scalar(1.0 - keep);
    slots.insert(name, mean.clone());
    mean
}
