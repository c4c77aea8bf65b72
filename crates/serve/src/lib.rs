//! An OpenAI-compatible server over a model: `/v1/chat/completions`, `/v1/completions`, `/v1/models`, `/health`.
//!
//! Requests that come while others run enter the same batch (continuous batching). An answer depends on its own request
//! and seed alone.

mod api;
mod engine;
mod http;
mod wishes;

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gazal_lm::{Decoder, Tokenizer};

/// What is served, and how much of it at once.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// The model's name for clients.
    pub name: String,
    /// Tokens of a prompt and its completion together.
    pub max_model_len: usize,
    /// Sequences that are generated side by side.
    pub max_batch: usize,
    /// Requests that wait; more are refused with 429.
    pub max_queue: usize,
    /// Bytes of a request.
    pub max_body: usize,
    /// Completions of one request.
    pub max_n: usize,
    /// Requests must carry it as `Authorization: Bearer KEY`.
    pub api_key: Option<String>,
}

/// Between asking whether to stop.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the server cannot run: {0}")]
    Io(#[from] std::io::Error),
}

/// Serves on a socket that listens already, until `stop` says so; answers under way are finished.
///
/// # Errors
/// A socket that cannot be used.
pub fn serve(
    (decoder, tokenizer): (Decoder, Tokenizer),
    listener: TcpListener,
    config: &ServeConfig,
    stop: impl Fn() -> bool + Send + 'static,
) -> Result<(), ServeError> {
    let (sender, jobs) = mpsc::sync_channel(config.max_queue.max(1));
    let door = http::Door::new(tokenizer.clone(), sender, config.clone());
    let model = engine::Model { decoder, tokenizer };
    let max_batch = config.max_batch.max(1);
    let worker = thread::Builder::new().name("model".into()).spawn(move || engine::serve(&model, &jobs, max_batch))?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stopped = async move {
            while !stop() {
                tokio::time::sleep(TICK).await;
            }
        };
        axum::serve(listener, http::router(door)).with_graceful_shutdown(stopped).await
    });
    drop(runtime);
    let _ = worker.join();
    Ok(served?)
}
