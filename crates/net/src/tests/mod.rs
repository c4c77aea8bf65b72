#![allow(clippy::unwrap_used, clippy::expect_used)]
mod chat;
mod chat_server;
mod hub;
mod server;
