//! `serve`: a model behind OpenAI's interface.

use std::net::TcpListener;

use gazal_engine::Stop;
use gazal_serve::ServeConfig;

use super::{ModelArgs, failed};
use crate::App;
use crate::args::Args;
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::run::listen;

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The address to listen on; 0.0.0.0 for all.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: String,
    /// The port to listen on; 0 for any that is free [default: $GAZAL_PORT, else 8000].
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// The model's name for clients [default: the folder's or the stage's].
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Tokens of a prompt and its completion together [default: what the model takes].
    #[arg(long, value_name = "N")]
    pub max_model_len: Option<usize>,
    /// Sequences that are generated side by side.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub max_num_seqs: usize,
    /// Requests that wait; more are refused.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_queue: usize,
    /// Bytes of a request.
    #[arg(long, value_name = "SIZE", default_value_t = 4 << 20)]
    pub max_body: usize,
    /// The environment variable with the key that requests must carry [default: none is asked for].
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
}

pub(crate) fn serve(app: &App, args: &Args, verb: &ServeArgs, out: &mut Out) -> Result<Exit, Failure> {
    let api_key = match &verb.api_key_env {
        Some(name) => Some(
            std::env::var(name).map_err(|_| Failure::wrong(format!("${name} is not set"), "it holds the API key"))?,
        ),
        None => None,
    };
    let model = verb.model.load(app, args)?;
    let config = ServeConfig {
        name: verb.served_model_name.clone().unwrap_or_else(|| name(&verb.model.words)),
        max_model_len: verb.max_model_len.unwrap_or(model.0.config.max_position_embeddings),
        max_batch: verb.max_num_seqs,
        max_queue: verb.max_queue,
        max_body: verb.max_body,
        max_n: verb.max_num_seqs,
        api_key,
    };
    let port = verb.port.or_else(|| std::env::var("GAZAL_PORT").ok()?.parse().ok()).unwrap_or(8000);
    let listener = TcpListener::bind((verb.host.as_str(), port))
        .map_err(|error| Failure::wrong(format!("cannot listen on {}:{port}: {error}", verb.host), "--port"))?;
    let address = listener.local_addr().map_err(failed)?;
    match out.json {
        true => out.json_line(&serde_json::json!({"url": format!("http://{address}/v1"), "model": config.name})),
        false => out.line(format!("`{}` at http://{address}/v1; Ctrl-C ends", config.name)),
    }
    let cancel = listen();
    gazal_serve::serve(model, listener, &config, move || cancel.level() != Stop::No).map_err(failed)?;
    Ok(Exit::Done)
}

/// The last part of a path, or the stage.
fn name(words: &[String]) -> String {
    let last = words.last().map_or("", String::as_str).trim_end_matches('/');
    last.rsplit('/').next().unwrap_or_default().to_string()
}
