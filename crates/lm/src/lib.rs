//! Decoder language models on Burn: load, adapt, run, sample, save.
//!
//! Knows no stages and no TOML. Shapes are written `[rows, seq, hidden]`; a batch is `rows` sequences of `seq`
//! columns.

mod adapter;
mod attention;
mod batch;
mod chat;
mod config;
mod decoder;
pub mod device;
mod error;
#[cfg(test)]
mod fixtures;
mod generate;
mod gguf;
mod init;
mod linear;
mod norm;
mod sample;
mod tokenizer;
pub mod weights;

pub use adapter::{AdapterConfig, load_adapter, new_adapter, save_adapter};
pub use batch::{TokenBatch, indices};
pub use chat::{ChatOptions, ChatTemplate};
pub use config::Config;
pub use decoder::{Cache, Decoder, Layer, Slot, Trainable};
pub use error::LmError;
pub use generate::{Generated, GenerationConfig, generate};
pub use gguf::import_gguf;
pub use init::{Initialization, init};
pub use linear::{Adapter, Linear};
pub use sample::SamplingParams;
pub use tokenizer::{Conversation, Tokenizer, train_bpe};
