//! Looking after the store: is everything what its name says, and how much is there.

use std::fmt;
use std::os::unix::fs::MetadataExt;

use crate::blob::absorb_damage;
use crate::error::within;
use crate::holds::is_lock;
use crate::{Digest, Fault, Store, StoreError, folder};

/// Something that is not as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A blob's bytes are not those of its name; it has been moved to `damaged/`.
    Blob { digest: Digest },
    /// A receipt that cannot be read; its action is a miss.
    Receipt { key: Digest },
    /// A receipt whose output misses a blob; its action is a miss.
    Output { key: Digest, output: String, digest: Digest, fault: Fault },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Blob { digest } => write!(f, "blob {digest} is damaged and was moved to damaged/"),
            Damage::Receipt { key } => write!(f, "receipt {key} is damaged: its action will run again"),
            Damage::Output { key, output, digest, fault } => {
                write!(f, "receipt {key}: blob {digest} of the output `{output}` is {fault}: its action will run again")
            }
        }
    }
}

/// How much lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// In the order of the folders' names.
    pub parts: Vec<Part>,
}

/// One folder of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    pub files: u64,
    /// The files' sizes; a view's links to blobs and what is noted in locks count as nothing.
    pub bytes: u64,
}

impl Usage {
    /// All parts together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The part with this name.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}

impl Store {
    /// Hashes every blob and follows every receipt. What is damaged is moved away, so that it is a miss from now on.
    pub fn verify(&self) -> Result<Vec<Damage>, StoreError> {
        let mut damage = Vec::new();
        for digest in self.named("blobs") {
            let digest = digest?;
            if !absorb_damage(self.check_blob(&digest))? {
                damage.push(Damage::Blob { digest });
            }
        }
        for file in self.named("recipes") {
            self.verify_recipe(file?, &mut damage)?;
        }
        for key in self.named("receipts") {
            self.verify_receipt(key?, &mut damage)?;
        }
        Ok(damage)
    }

    /// Whether the parts of a split file make it. A recipe that lacks some says nothing: what needs it will.
    fn verify_recipe(&self, file: Digest, damage: &mut Vec<Damage>) -> Result<(), StoreError> {
        let Some(recipe) = self.split(&file)? else { return Ok(()) };
        let there = absorb_damage(self.expect_split(&file, recipe.size()))?;
        if there && !absorb_damage(self.check_blob(&file))? {
            damage.push(Damage::Blob { digest: file });
        }
        Ok(())
    }

    fn verify_receipt(&self, key: Digest, damage: &mut Vec<Damage>) -> Result<(), StoreError> {
        let Some(receipt) = self.receipt(&key)? else {
            damage.push(Damage::Receipt { key });
            return Ok(());
        };
        for (output, made) in receipt.outputs {
            match self.check(&made.artifact) {
                Err(StoreError::Damaged { digest, fault }) => {
                    damage.push(Damage::Output { key, output, digest, fault })
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// How many files and bytes each part of the store has.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let names = ["blobs", "damaged", "memo", "pins", "receipts", "recipes", "runs", "tmp", "views", "wip"];
        Ok(Usage { parts: names.into_iter().map(|name| self.part(name)).collect::<Result<_, _>>()? })
    }

    fn part(&self, name: &'static str) -> Result<Part, StoreError> {
        let (path, mut part) = (self.folder(name), Part { name, files: 0, bytes: 0 });
        folder::each_file(&path, &mut |path, metadata| {
            part.files += 1;
            let passing = (name == "views" && metadata.nlink() > 1) || (name == "tmp" && is_lock(path));
            part.bytes += if passing { 0 } else { metadata.len() };
        })
        .map_err(within(&path))?;
        Ok(part)
    }
}
