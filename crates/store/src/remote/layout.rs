//! What is called what at the remote.
//!
//! | name | content |
//! |---|---|
//! | `v1/blobs/ab/<digest>` | a blob's bytes |
//! | `v1/recipes/ab/<digest>` | of which blobs a file consists that is not there as one |
//! | `v1/receipts/ab/<action key>/<principal>` | what the principal says that the action made, signed |
//! | `v1/deep/ab/<deep key>/<principal>` | the action key behind a deep key, signed |
//! | `v1/principals/<public key>` | that this principal publishes here |
//!
//! Every principal has a name of its own below a key, so that none can take the place of another's statement.

use object_store::path::Path;

use super::signing::PublicKey;
use crate::Digest;

/// Something that principals make signed statements about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    pub topic: Topic,
    pub name: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// What an action made, under its action key.
    Receipt,
    /// The action key under a deep key.
    Deep,
}

impl Topic {
    pub(super) fn folder(self) -> &'static str {
        match self {
            Topic::Receipt => "receipts",
            Topic::Deep => "deep",
        }
    }

    /// What a signature is made for.
    pub(super) fn domain(self) -> &'static str {
        match self {
            Topic::Receipt => "gazal-pipe 2026 receipt v1",
            Topic::Deep => "gazal-pipe 2026 deep key v1",
        }
    }
}

pub(super) fn blob(root: &Path, digest: &Digest) -> Path {
    let hex = digest.hex();
    root.clone().join("v1").join("blobs").join(&hex[..2]).join(hex.as_str())
}

pub(super) fn recipe(root: &Path, file: &Digest) -> Path {
    let hex = file.hex();
    root.clone().join("v1").join("recipes").join(&hex[..2]).join(hex.as_str())
}

/// What all principals say about the subject.
pub(super) fn statements(root: &Path, subject: Subject) -> Path {
    let hex = subject.name.hex();
    root.clone().join("v1").join(subject.topic.folder()).join(&hex[..2]).join(hex.as_str())
}

/// What one principal says about it.
pub(super) fn statement(root: &Path, subject: Subject, principal: &PublicKey) -> Path {
    statements(root, subject).join(principal.id())
}

pub(super) fn principals(root: &Path) -> Path {
    root.clone().join("v1").join("principals")
}

pub(super) fn principal(root: &Path, key: &PublicKey) -> Path {
    principals(root).join(key.to_string())
}
