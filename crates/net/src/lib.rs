//! What lies on other machines: models and data sets of the hub. Everything here blocks.

mod client;
mod hub;

pub use hub::{Hub, HubError, Listener, RemoteFile, Repo, RepoKind, is_commit};

#[cfg(test)]
mod tests;
