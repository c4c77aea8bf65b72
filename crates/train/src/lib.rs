//! Losses, optimizers, schedules, policy losses and training checkpoints over `gazal-lm`.
//!
//! Knows no stages and no TOML: a stage's `run.rs` is the loop, these are its steps.

mod backward;
mod checkpoint;
#[cfg(test)]
mod fixtures;
mod followers;
mod gradients;
mod head;
mod noise;
mod optim;
mod policy;
mod schedule;
mod sequence;
#[cfg(test)]
mod tests;

pub use backward::Backward;
pub use checkpoint::{
    Checkpoint, Snapshot, latest_checkpoint, load_parameters, save_checkpoint, save_parameters, save_vectors,
};
pub use followers::Followers;
pub use gradients::{Gradients, reduce};
pub use head::Slopes;
pub use noise::Noise;
pub use optim::{OptimArgs, OptimConfig, OptimKind, Optimizer, Vector};
pub use policy::{
    AdvantageConfig, ImportanceSampling, KlEstimator, LossType, MultiObjectiveAggregation, PolicyBatch, PolicyConfig,
    PolicyLoss, PolicyMetrics, ScaleRewards, Window, advantages, deviation, mean, policy_loss, totals,
};
pub use schedule::{DecayType, Plateau, Schedule, SchedulerArgs, SchedulerType};
pub use sequence::{LossSettings, Sequence, TokenMeans, evaluate, loss_and_gradients, window_gradients};

use gazal_lm::Decoder;
use rayon::prelude::*;

/// How many of `parts` equal parts [`side_by_side`] works on at the same time.
pub fn at_once(on_cpu: bool, parts: usize) -> usize {
    if on_cpu { parts.min(rayon::current_num_threads()) } else { parts.min(1) }
}

/// Maps `work` over `parts`: on the CPU in parallel, elsewhere one after the other; results in order.
pub fn side_by_side<T: Sync, R: Send>(decoder: &Decoder, parts: &[T], work: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    if gazal_lm::device::is_cpu(&decoder.device()) {
        parts.par_iter().map(work).collect()
    } else {
        parts.iter().map(work).collect()
    }
}
