//! What lies on other machines: models and data sets of the hub, and models that answer over OpenAI's interface.
//! Everything here blocks.

mod chat;
mod client;
mod hub;

pub use chat::{Ask, Chat, ChatConfig, ChatError, Reply, Spent};
pub use hub::{Hub, HubError, Listener, RemoteFile, Repo, RepoKind, is_commit};

#[cfg(test)]
mod tests;
