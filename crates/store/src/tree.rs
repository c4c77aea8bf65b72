//! Trees: a folder as a list of names and blobs, itself stored as a blob.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::blob::absorb_damage;
use crate::error::within;
use crate::publication::Unsynced;
use crate::walk::{Found, Leaving, What, stays_inside, walk};
use crate::{Digest, Store, StoreError};

/// The version of the manifest's form. It is part of the bytes, so that a new form gives new digests.
const VERSION: u32 = 1;

/// A folder in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// The digest of the stored tree: names, bytes, executable bits. Restores exactly.
    pub bytes: Digest,
    /// What keys of later actions use: a digest of what the bytes mean, or `bytes` where nothing better is known.
    pub content: Digest,
}

/// What a stored folder consists of, sorted by path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    version: u32,
    /// Everything but folders that have something in them.
    pub entries: Vec<Entry>,
}

/// One thing in a tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Relative, with `/` between the parts.
    pub path: String,
    pub node: Node,
}

/// What an [`Entry`] is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Node {
    File {
        digest: Digest,
        /// In bytes.
        size: u64,
        executable: bool,
    },
    /// A symbolic link to something in the same tree; `target` is relative to the folder it lies in.
    Link { target: String },
    /// An empty folder.
    Folder {},
}

impl Tree {
    /// The tree of what a walk has found; `digest` gives the digest and the size of a file.
    pub(crate) fn of(
        found: Vec<Found>,
        mut digest: impl FnMut(&Path) -> Result<(Digest, u64), StoreError>,
    ) -> Result<Tree, StoreError> {
        let entry = |Found { name, path, what }| {
            let node = match what {
                What::File { executable } => {
                    let (digest, size) = digest(&path)?;
                    Node::File { digest, size, executable }
                }
                What::Link { target } => Node::Link { target },
                What::EmptyFolder => Node::Folder {},
            };
            Ok(Entry { path: name, node })
        };
        Ok(Tree { version: VERSION, entries: found.into_iter().map(entry).collect::<Result<_, StoreError>>()? })
    }

    /// The size of all files together, in bytes.
    pub fn size(&self) -> u64 {
        self.files().map(|(_, size)| size).sum()
    }

    /// The digest and the size of every file.
    pub fn files(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        self.entries.iter().filter_map(|entry| match entry.node {
            Node::File { digest, size, .. } => Some((digest, size)),
            Node::Link { .. } | Node::Folder {} => None,
        })
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|source| StoreError::Encode { what: "a tree", source })
    }

    /// Reads a manifest, and refuses one that would write outside its folder.
    fn decode(bytes: &[u8]) -> Result<Tree, String> {
        let tree: Tree = serde_json::from_slice(bytes).map_err(|error| format!("no tree: {error}"))?;
        if tree.version != VERSION {
            return Err(format!("a tree of version {}, where this program reads {VERSION}", tree.version));
        }
        match tree.entries.iter().find(|entry| !entry.is_contained()) {
            Some(entry) => Err(format!("a tree with the unsafe name `{}`", entry.path)),
            None => Ok(tree),
        }
    }
}

impl Entry {
    fn is_contained(&self) -> bool {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        let target_is_inside = match &self.node {
            Node::Link { target } => stays_inside(&self.path, Path::new(target)),
            Node::File { .. } | Node::Folder {} => true,
        };
        target_is_inside && self.path.split('/').all(plain)
    }
}

impl Store {
    /// Stores the files of a folder and its manifest, whose digest it gives.
    pub(crate) fn put_folder(&self, dir: &Path, unsynced: &mut Unsynced) -> Result<Digest, StoreError> {
        let tree = Tree::of(walk(dir, Leaving::Refuse)?, |path| self.put_file(path, unsynced))?;
        self.put_bytes(&tree.encode()?, unsynced)
    }

    /// What an artifact consists of; the remote is asked where it is not here.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where its manifest is gone or altered.
    pub fn tree(&self, artifact: &Artifact) -> Result<Tree, StoreError> {
        self.bring_manifest(artifact)?;
        self.read_tree(&artifact.bytes).map(|(tree, _)| tree)
    }

    /// The bytes of one file of an artifact, verified; `None` where it has no such file, or the file is not here whole or
    /// not in one piece.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the artifact's manifest is gone or altered.
    pub fn read_file(&self, artifact: &Artifact, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let tree = self.tree(artifact)?;
        let found = tree.entries.iter().find_map(|entry| match entry.node {
            Node::File { digest, size, .. } if entry.path == path => Some((digest, size)),
            _ => None,
        });
        let Some((digest, size)) = found else { return Ok(None) };
        let is_whole = absorb_damage(self.expect_whole(&digest, size))?;
        if is_whole { self.read_blob(&digest).map(Some) } else { Ok(None) }
    }

    /// The tree with this digest, and the size of its manifest in bytes.
    pub(crate) fn read_tree(&self, digest: &Digest) -> Result<(Tree, u64), StoreError> {
        let bytes = self.read_blob(digest)?;
        let path = self.blob_path(digest);
        let tree = Tree::decode(&bytes).map_err(|why| within(&path)(io::Error::new(ErrorKind::InvalidData, why)))?;
        Ok((tree, bytes.len() as u64))
    }

    /// Whether every blob of the artifact is here. Cheap: files are judged by their metadata, and hashed only if
    /// something has written to them.
    pub fn has(&self, artifact: &Artifact) -> bool {
        self.check(artifact).is_ok()
    }

    /// Like [`Store::has`], but says which blob is lost, or what keeps the store from being read.
    pub fn check(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let (tree, _) = self.read_tree(&artifact.bytes)?;
        tree.files().try_for_each(|(digest, size)| self.expect_blob(&digest, size))
    }

    /// Like [`Store::check`], of what is not collected from then on.
    pub(crate) fn hold_and_check(&self, artifact: &Artifact) -> Result<(), StoreError> {
        self.hold(&[artifact.bytes])?;
        let closure = self.closure(artifact)?;
        self.hold(&closure.iter().map(|(digest, _)| *digest).collect::<Vec<_>>())?;
        closure.iter().try_for_each(|(digest, size)| self.expect_blob(digest, *size))
    }

    /// All blobs, with their sizes in bytes, that must be there for the artifact: the manifest of its tree first, then
    /// what its files consist of, in order and each once. A split file is its parts, and its recipe besides.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the manifest is gone or altered; whether the others are there is not looked at.
    pub fn closure(&self, artifact: &Artifact) -> Result<Vec<(Digest, u64)>, StoreError> {
        let (mut closure, mut seen) = (Vec::new(), BTreeSet::new());
        for (digest, size) in self.needs(artifact)? {
            match self.split(&digest)? {
                Some(recipe) => closure.extend(recipe.parts),
                None => closure.push((digest, size)),
            }
        }
        closure.retain(|(digest, _)| seen.insert(*digest));
        Ok(closure)
    }

    /// The files of an artifact that are stored as their parts: whoever copies its closure to another store has to give
    /// that their recipes as well ([`Store::recipe_bytes`], [`Store::adopt_recipe`]), or the files themselves.
    pub fn split_files(&self, artifact: &Artifact) -> Result<Vec<Digest>, StoreError> {
        let mut files = Vec::new();
        for (digest, _) in self.needs(artifact)? {
            if self.split(&digest)?.is_some() {
                files.push(digest);
            }
        }
        Ok(files)
    }

    /// The manifest of the artifact's tree and its files, with their sizes in bytes, each once.
    pub(crate) fn needs(&self, artifact: &Artifact) -> Result<Vec<(Digest, u64)>, StoreError> {
        let (tree, size) = self.read_tree(&artifact.bytes)?;
        let mut seen = BTreeSet::new();
        let all = std::iter::once((artifact.bytes, size)).chain(tree.files());
        Ok(all.filter(|(digest, _)| seen.insert(*digest)).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn manifest(path: &str, node: &str) -> Vec<u8> {
        format!(r#"{{"version":1,"entries":[{{"path":"{path}","node":{node}}}]}}"#).into_bytes()
    }

    #[test]
    fn manifests_that_would_write_elsewhere_are_refused() {
        assert!(Tree::decode(&manifest("a/b", r#"{"folder":{}}"#)).is_ok());
        for path in ["", "/a", "../a", "a/../../b", "a//b", "."] {
            assert!(Tree::decode(&manifest(path, r#"{"folder":{}}"#)).is_err(), "{path}");
        }
        assert!(Tree::decode(&manifest("a", r#"{"link":{"target":"../b"}}"#)).is_err());
        assert!(Tree::decode(br#"{"version":2,"entries":[]}"#).unwrap_err().contains("version 2"));
    }

    #[test]
    fn a_manifest_survives_its_encoding() {
        let file = Node::File { digest: Digest::of("x"), size: 1, executable: true };
        let entries = vec![
            Entry { path: "a\n\"b".into(), node: file },
            Entry { path: "日本".into(), node: Node::Link { target: "a\n\"b".into() } },
        ];
        let tree = Tree { version: VERSION, entries };
        assert_eq!(Tree::decode(&tree.encode().unwrap()).unwrap(), tree);
        assert_eq!(tree.size(), 1);
    }
}
