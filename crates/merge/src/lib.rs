//! Merges of checkpoints: several models of one architecture become one, tensor by tensor, with mergekit's methods
//! and configuration.
//!
//! [`MergeConfig`] is the file as mergekit writes it; checked, it is a [`Recipe`]. [`plan`] lays the recipe out over
//! the models' tensors: for each tensor of the result its sources and an [`Operation`] with every number resolved.
//! [`merge`] performs one of them. Where models have different tokenizers, [`Vocabulary`] unites
//! them and says which row of an embedding is whose.
//!
//! Nothing here reads or writes a file: who calls gives [`Numbers`] that are read in blocks, and [`Write`]s blocks of
//! the result, so that a merge needs room for a few blocks and no more. Everything is computed in float32 and summed
//! in float64, and no result depends on the number of threads. mergekit computes in the configuration's `dtype`, which
//! loses small differences in bfloat16; here `dtype` only says what is written.

mod arithmetic;
mod check;
mod config;
mod error;
#[cfg(test)]
mod fixture;
mod method;
mod plan;
mod recipe;
mod setting;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use arithmetic::{Inputs, Numbers, Uniform, Write, merge};
pub use config::{MergeConfig, ModelConfig, SliceConfig, SourceConfig, TokenizerConfig};
pub use error::{MergeError, Problem};
pub use method::Method;
pub use plan::{
    Along, Election, Keep, ModelTensors, Operation, Part, Plan, PlannedTensor, Rescale, Source, TaskVectors, plan,
};
pub use recipe::{Dtype, Recipe, TokenizerSource};
pub use vocabulary::{Member, Vocabulary};
