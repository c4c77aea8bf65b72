//! Decoder language models on Burn: load, adapt, run, sample, save.
//!
//! Knows no stages and no TOML. Shapes are written `[rows, seq, hidden]`; a batch is `rows` sequences of `seq`
//! columns.

mod adapter;
mod attention;
mod batch;
mod cache;
mod chat;
mod config;
mod decoder;
mod delta;
pub mod device;
mod error;
#[cfg(test)]
mod fixture_devices;
#[cfg(test)]
mod fixture_families;
#[cfg(test)]
mod fixtures;
mod frame;
mod fused;
mod generate;
mod generator;
mod gguf;
mod host;
mod init;
mod key_values;
mod layer;
mod linear;
mod mlp;
mod norm;
mod parameter;
mod rope;
mod sample;
mod scores;
mod tokenizer;
mod unfolding;
mod weight;
pub mod weights;

pub use adapter::{AdapterConfig, Layers, Targets, load_adapter, missed_projections, new_adapter, save_adapter};
pub use batch::{TokenBatch, indices};
pub use cache::Cache;
pub use chat::{ChatOptions, ChatTemplate};
pub use config::{Config, DeltaConfig, LayerType};
pub use decoder::Decoder;
pub use error::LmError;
pub use frame::Frame;
pub use fused::product;
pub use gazal_kernels::Form;
pub use generate::{Generated, GenerationConfig, generate};
pub use generator::{Demand, End, Generator, Token};
pub use gguf::import_gguf;
pub use init::{Initialization, init, normal};
pub use layer::{Layer, LayerCache, Mixer};
pub use linear::{Adapter, Linear};
pub use parameter::{Slot, Trainable};
pub use rope::{Llama3, Rope, Scaling, Yarn};
pub use sample::{SamplingParams, uniform};
pub use scores::{Labels, Scores};
pub use tokenizer::{Conversation, Tokenizer, train_bpe};
pub use unfolding::{Piece, Unfolding};
pub use weight::Weight;
