//! Checkpoints of a small network's training ([`crate::parameters`]): resumed from, and written between steps.

use std::collections::BTreeMap;

use burn::tensor::Device;
use gazal_lm::weights::Named;
use gazal_stage_api::{Context, Level, StageError};
use gazal_train::{Optimizer, latest_checkpoint, save_vectors};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// Takes up the latest checkpoint, if there is one: its step, and what was kept beside the tensors. `restore` gets the
/// network's vectors, and says which is missing or has another length.
///
/// # Errors
/// A checkpoint that cannot be read, or is of another network.
pub fn resume<P: DeserializeOwned>(
    context: &mut Context,
    (optimizer, device): (&mut Optimizer, &Device),
    restore: impl FnOnce(&BTreeMap<String, Vec<f32>>) -> Result<(), String>,
) -> Result<Option<(u64, P)>, StageError> {
    let Some(checkpoint) = latest_checkpoint(context.wip()).map_err(StageError::failed)? else { return Ok(None) };
    let saved = checkpoint.restore_vectors(optimizer, device).map_err(StageError::failed)?;
    restore(&saved).map_err(|name| StageError::failed(format!("the checkpoint lacks `{name}`")))?;
    let progress = serde_json::from_value(checkpoint.extra.clone()).map_err(StageError::failed)?;
    context.say(Level::Info, format!("resumed from step {}", checkpoint.step));
    Ok(Some((checkpoint.step, progress)))
}

/// When checkpoints are written, and how many stay.
#[derive(Clone, Copy, Debug)]
pub struct Saving {
    /// Steps between them; 0 for none but where the stage is stopped.
    pub steps: u64,
    pub total_limit: usize,
}

impl Saving {
    /// After a step: writes a checkpoint where one is due, or where the stage is to stop.
    ///
    /// # Errors
    /// [`StageError::Cancelled`] behind the latter, and files that cannot be written.
    pub fn after(
        self,
        step: u64,
        context: &Context,
        named: impl FnOnce() -> Vec<Named>,
        (optimizer, progress): (&Optimizer, &impl Serialize),
    ) -> Result<(), StageError> {
        let cancelled = context.cancelled();
        if cancelled || (self.steps > 0 && step.is_multiple_of(self.steps)) {
            save_vectors(context.wip(), &named(), (optimizer, &json!(progress)), self.total_limit)
                .map_err(StageError::failed)?;
        }
        if cancelled { Err(StageError::Cancelled) } else { Ok(()) }
    }
}

/// That the loss of a step is a number.
///
/// # Errors
/// With the step, and what helps.
pub fn finite(loss: f64, step: u64) -> Result<(), StageError> {
    match loss.is_finite() {
        true => Ok(()),
        false => Err(StageError::failed(format!("step {step}: the loss is {loss}. Lower `learning_rate`."))),
    }
}
