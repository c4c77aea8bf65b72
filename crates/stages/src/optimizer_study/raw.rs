//! What the study reads of the `trainer_state.json` that `train-classifier` and `train-character-model` leave.

use serde::Deserialize;
use serde_json::Value;

pub const FILE: &str = "trainer_state.json";

#[derive(Deserialize)]
pub struct State {
    /// A list of [`Epoch`]s, or of [`Evaluation`]s.
    pub log_history: Value,
    pub stateful_callbacks: Callbacks,
}

/// An entry of `train-classifier`.
#[derive(Deserialize)]
pub struct Epoch {
    pub loss: f64,
    pub accuracy: f64,
    pub eval_accuracy: f64,
}

/// An entry of `train-character-model`.
#[derive(Deserialize)]
pub struct Evaluation {
    pub step: f64,
    pub eval_train_loss: f64,
    pub eval_loss: f64,
}

/// By what was trained; a history has one of them.
#[derive(Deserialize)]
pub struct Callbacks {
    pub classifier: Option<Stamp>,
    pub character_model: Option<Stamp>,
}

/// What was trained.
#[derive(Deserialize)]
pub struct Stamp {
    pub label: String,
    pub group: String,
    pub optim: String,
    pub learning_rate: f64,
}
