//! The store: puts bytes away by digest, remembers which action made them, and shares them through a remote.
//!
//! It is opaque: it knows files, folders, digests and receipts, and nothing about stages or pipelines.
//!
//! What lies where, under the store's root:
//!
//! | folder | content | how it is named |
//! |---|---|---|
//! | `blobs/` | immutable bytes: files of artifacts and the manifests of trees | blake3 of the bytes |
//! | `receipts/` | what an action made, and out of what | the action key |
//! | `recipes/` | which blobs make a file that is not stored whole | digest of the file |
//! | `pins/` | which receipts stay in any case | a name of the user's |
//! | `views/` | an artifact as a read-only folder, shared by all that read it | digest of its tree |
//! | `wip/` | checkpoints of unfinished actions | the action key |
//! | `memo/` | small answers worth keeping, outside any key | namespace, digest of the question |
//! | `locks/` | kernel locks, empty files | what is locked |
//! | `runs/` | logs and journals of runs | the time of their start |
//! | `damaged/` | blobs whose bytes no longer match their name | the name they had |
//! | `deep/` | the action key behind a deep key | the deep key |
//! | `remote/` | what was fetched from a remote and is no blob, and what it is doubted to have | as at the remote |
//! | `trust/` | the store's own signing key, and the public keys of those whose receipts count | name |
//! | `tmp/` | files that are being written; a folder per process, swept after its death | |
//! | `stat-cache`, `hit-index` | what need not be read again; may be lost | |
//!
//! Four rules carry everything else:
//! 1. **A name is given last.** Bytes are written under `tmp/`, synced, linked to their name, and the folder is
//!    synced; a receipt comes after all its blobs. So whatever has a name is whole, after a crash too.
//! 2. **A blob bears a mark**: its time of modification is a fixed instant. Any later write replaces the mark, so a
//!    look at the metadata tells whether the bytes can still be what was hashed; without its mark a blob is hashed
//!    again before it is used.
//! 3. **Damage is a miss.** Bytes that fail their digest are moved to `damaged/` and reported by
//!    [`StoreError::Damaged`]; the receipts that need them are no hits from then on, and the action runs again.
//! 4. **What is relied on is held.** Whoever puts, publishes or views writes down what it needs before it looks whether
//!    that is there, and for as long as it lives a collection leaves it alone.

mod blob;
mod bundle;
mod census;
mod clock;
mod collect;
mod deep;
mod digest;
mod disk;
mod durable;
mod error;
mod evict;
mod folder;
mod garbage;
mod hash;
mod hit;
mod hits;
mod holds;
mod lock;
mod memo;
mod pins;
mod publication;
mod receipt;
mod recipe;
mod remote;
mod runs;
mod safetensors;
mod scratch;
mod stat_cache;
mod store;
mod subtrees;
mod tree;
mod verify;
mod view;
mod walk;

#[cfg(test)]
mod tests;

pub use bundle::Imported;
pub use clock::{parse_rfc3339, rfc3339};
pub use collect::{Collect, Collected, Evicted, Removed};
pub use digest::{BadDigest, Digest};
pub use error::{Fault, StoreError};
pub use hit::Made;
pub use lock::Lock;
pub use publication::Publication;
pub use receipt::{Output, Receipt};
pub use remote::{
    BadKey, BadMode, Conflict, Mode, Patience, Principal, PublicKey, Pushed, Reason, Refused, Remote, Settings,
    SigningKey, Traffic,
};
pub use runs::RunDir;
pub use scratch::Scratch;
pub use store::Store;
pub use tree::{Artifact, Entry, Node, Tree};
pub use verify::{Damage, Part, Usage, Verify};
