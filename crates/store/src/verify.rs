//! Looking after the store: is everything what its name says, and how much is there.

use std::fmt;
use std::fs;
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

/// What to verify.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verify {
    /// The part of the blobs to hash, from 0 to 1; all without it.
    pub sample: Option<f64>,
    /// Which sample: equal seeds choose equal blobs.
    pub seed: u64,
}

impl Verify {
    fn takes(&self, digest: &Digest) -> bool {
        let Some(sample) = self.sample else { return true };
        let drawn = Digest::of([digest.as_bytes().as_slice(), &self.seed.to_le_bytes()].concat());
        let drawn = drawn.as_bytes()[..4].iter().fold(0_u32, |sum, &byte| sum << 8 | u32::from(byte));
        f64::from(drawn) < sample * f64::from(u32::MAX)
    }
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
        self.verify_some(&Verify::default(), &mut |_, _| {})
    }

    /// Like [`Store::verify`], of a sample where one is asked for; receipts are followed in any case. `progress` is told
    /// how many bytes have been hashed, and of how many.
    pub fn verify_some(&self, verify: &Verify, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<Damage>, StoreError> {
        let (mut damage, mut done) = (Vec::new(), 0);
        let chosen: Vec<(Digest, u64)> =
            self.readable()?.into_iter().filter(|(digest, _)| verify.takes(digest)).collect();
        let total = chosen.iter().map(|(_, size)| size).sum();
        for (digest, size) in chosen {
            match self.check_blob(&digest) {
                Err(StoreError::Damaged { fault: Fault::Altered, digest: altered }) if altered == digest => {
                    damage.push(Damage::Blob { digest })
                }
                // A part of a file is told by itself; and what has been collected meanwhile, by what needs it.
                other => drop(absorb_damage(other)?),
            }
            done += size;
            progress(done, total);
        }
        for key in self.named("receipts") {
            self.verify_receipt(key?, &mut damage)?;
        }
        Ok(damage)
    }

    /// All blobs, and all split files whose parts are there, with their sizes in bytes.
    fn readable(&self) -> Result<Vec<(Digest, u64)>, StoreError> {
        let mut readable = Vec::new();
        for digest in self.named("blobs") {
            let digest = digest?;
            let metadata = fs::symlink_metadata(self.blob_path(&digest));
            readable.extend(metadata.ok().map(|metadata| (digest, metadata.len())));
        }
        for file in self.named("recipes") {
            let file = file?;
            let Some(recipe) = self.split(&file)? else { continue };
            let there = recipe.parts.iter().all(|(part, _)| self.blob_path(part).exists());
            readable.extend(there.then(|| (file, recipe.size())));
        }
        Ok(readable)
    }

    fn verify_receipt(&self, key: Digest, damage: &mut Vec<Damage>) -> Result<(), StoreError> {
        let Some(receipt) = self.receipt(&key)? else {
            damage.push(Damage::Receipt { key });
            return Ok(());
        };
        for (output, made) in receipt.outputs {
            match self.check(&made.artifact) {
                // Without its tree an output was let go by a collection, or is as good as that: a miss, and no surprise.
                Err(StoreError::Damaged { digest, fault: Fault::Missing }) if digest == made.artifact.bytes => {}
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
