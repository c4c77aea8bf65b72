//! The record of a training, which every stage that trains leaves in its output `history`: `trainer_state.json` as
//! transformers writes it, and the same numbers as TensorBoard events beside it.
//!
//! Outputs are compared by their bytes, so nothing in them may come of a clock or of how often a person wanted to hear:
//! the log has every step, whatever `logging_steps` says.

mod events;

use std::fs;
use std::path::Path;

use gazal_stage_api::StageError;
use serde_json::{Map, Value, json};

/// An entry of the log: metrics by TRL's names, and the `step` that they are of.
pub type Entry = Map<String, Value>;

/// A training at its end.
#[derive(Debug, Default)]
pub struct History {
    pub log_history: Vec<Entry>,
    pub max_steps: u64,
    /// `per_device_train_batch_size`.
    pub train_batch_size: usize,
    pub epoch: f64,
    pub num_input_tokens_seen: u64,
    /// 0 where nothing was evaluated.
    pub eval_steps: u64,
    /// Lowest held-out loss and the step that reached it.
    pub best: Option<(f64, u64)>,
    /// What the stage keeps besides, by who it is of.
    pub stateful_callbacks: Map<String, Value>,
}

impl History {
    /// Writes the files of the record into `folder`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), StageError> {
        let path = folder.join("trainer_state.json");
        fs::write(&path, format!("{:#}\n", self.trainer_state())).map_err(StageError::io(&path))?;
        let path = folder.join(events::FILE);
        fs::write(&path, events::events(&self.log_history)).map_err(StageError::io(&path))
    }

    /// transformers' `TrainerState`, in its order and without what it may lack: an unknown field would keep it from
    /// being loaded there.
    fn trainer_state(&self) -> Value {
        json!({
            "best_global_step": self.best.map(|(_, step)| step),
            "best_metric": self.best.map(|(loss, _)| loss),
            "epoch": self.epoch,
            "eval_steps": self.eval_steps,
            "global_step": self.log_history.last().map_or(0, step_of),
            "is_hyper_param_search": false,
            "is_local_process_zero": true,
            "is_world_process_zero": true,
            "log_history": self.log_history,
            "logging_steps": 1,
            "max_steps": self.max_steps,
            "num_input_tokens_seen": self.num_input_tokens_seen,
            "stateful_callbacks": self.stateful_callbacks,
            "train_batch_size": self.train_batch_size,
        })
    }
}

/// The optimizer step that an entry is of; 0 for one that says none.
fn step_of(entry: &Entry) -> u64 {
    entry.get("step").and_then(Value::as_u64).unwrap_or_default()
}
