//! What the study reads of the `trainer_state.json` that `train-classifier` leaves.

use serde::Deserialize;

pub const FILE: &str = "trainer_state.json";

#[derive(Deserialize)]
pub struct State {
    pub log_history: Vec<Entry>,
    pub stateful_callbacks: Callbacks,
}

/// An epoch.
#[derive(Deserialize)]
pub struct Entry {
    pub loss: f64,
    pub accuracy: f64,
    pub eval_accuracy: f64,
}

#[derive(Deserialize)]
pub struct Callbacks {
    pub classifier: Stamp,
}

/// What was trained.
#[derive(Deserialize)]
pub struct Stamp {
    pub label: String,
    pub group: String,
    pub optim: String,
    pub learning_rate: f64,
}
