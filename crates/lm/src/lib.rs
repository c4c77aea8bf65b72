//! Decoder language models on Burn: load, adapt, run, sample, save.
//!
//! Knows no stages and no TOML. Shapes are written `[rows, seq, hidden]`; a batch is `rows` sequences of `seq`
//! columns.

mod adapter;
mod attention;
mod batch;
mod cache;
mod config;
mod decoder;
mod delta;
pub mod device;
mod error;
#[cfg(test)]
mod families;
#[cfg(test)]
mod fixtures;
mod frame;
mod generate;
mod init;
mod layer;
mod linear;
mod mlp;
mod norm;
mod parameter;
mod rope;
mod sample;
mod tokenizer;
pub mod weights;

pub use adapter::{AdapterConfig, load_adapter, new_adapter, save_adapter};
pub use batch::{TokenBatch, indices};
pub use cache::Cache;
pub use config::{Config, DeltaConfig, LayerType};
pub use decoder::Decoder;
pub use error::LmError;
pub use generate::{Generated, GenerationConfig, generate};
pub use init::{Initialization, init};
pub use layer::{Layer, Mixer};
pub use linear::{Adapter, Linear};
pub use parameter::{Slot, Trainable};
pub use rope::{Llama3, Rope, Scaling, Yarn};
pub use sample::SamplingParams;
pub use tokenizer::{Tokenizer, train_bpe};
