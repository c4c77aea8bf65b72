//! Recipes: files that are stored as their parts, so that a tensor that many models have lies there once.
//!
//! The recipe of a file is a list of blobs that, one after the other, are its bytes: of a safetensors file the header,
//! each tensor, and what lies between them. It is kept under the file's own digest, which stays the file's name in
//! trees and is verified whenever the file is read. `recipes/<digest>` says one of two things:
//! - The blob `<digest>` is there as well: the file is stored whole, and these are the tensors that are known by it.
//! - It is not: the file is **split**, and made of these blobs.
//!
//! The first file of a chain is stored whole, since most files never share anything, and a whole file is shared with
//! its readers by a link where a split one has to be written out for them. It is taken apart when another comes of
//! which a tenth or more is there: then both are split. From then on the blobs of the two are their distinct tensors
//! and their headers, to the byte, and collecting either leaves exactly what the other needs. (Had the second referred
//! to stretches of the first, the first could never go, and fetching the second alone would fetch both.)
//!
//! Small tensors, norms of ones for example, are the same in models that have nothing to do with each other: a whole
//! file is not taken apart for them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::blob::absorb_damage;
use crate::durable::Durable;
use crate::error::{Blame, outside, within};
use crate::hash::{self, CopyError};
use crate::publication::Unsynced;
use crate::receipt::seal_of;
use crate::{Digest, Fault, Store, StoreError, disk, safetensors};

/// Files below this size in bytes are never split.
const SMALLEST: u64 = 1 << 20;

/// Parts below this size in bytes are not looked for in whole files.
const SOUGHT: u64 = 1 << 16;

/// A file is split when one part in so many of its bytes is there already.
const SHARE: u64 = 10;

/// Blobs, with their sizes in bytes, that make a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub parts: Vec<(Digest, u64)>,
}

impl Recipe {
    /// Of the file, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.parts.iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size))
    }

    /// A line with a seal, as receipts have, and one for each part.
    fn encode(&self, file: &Digest) -> Vec<u8> {
        let body: String = self.parts.iter().map(|(digest, size)| format!("{digest} {size}\n")).collect();
        format!("{}\n{body}", seal_of(file, body.as_bytes())).into_bytes()
    }

    fn decode(file: &Digest, bytes: &[u8]) -> Option<Recipe> {
        let (line, body) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        if line.parse::<Digest>().ok()? != seal_of(file, body.as_bytes()) {
            return None;
        }
        let part = |line: &str| {
            let (digest, size) = line.split_once(' ')?;
            Some((digest.parse().ok()?, size.parse().ok()?))
        };
        Some(Recipe { parts: body.lines().map(part).collect::<Option<_>>()? })
    }
}

impl Store {
    /// The recipe of a file, if there is a readable one; the file may be stored whole.
    pub(crate) fn recipe(&self, file: &Digest) -> Result<Option<Recipe>, StoreError> {
        Ok(self.recipe_bytes(file)?.and_then(|bytes| Recipe::decode(file, &bytes)))
    }

    /// The recipe of a file as it is stored, for another store; see [`Store::split_files`].
    pub fn recipe_bytes(&self, file: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.sharded("recipes", file);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    /// Takes another store's recipe, if it is one of this file. Its parts may come earlier or later; that they make the
    /// file is verified whenever it is read. `false` for what is no recipe of this file.
    pub fn adopt_recipe(&self, file: &Digest, bytes: &[u8]) -> Result<bool, StoreError> {
        let Some(recipe) = Recipe::decode(file, bytes) else { return Ok(false) };
        self.write_recipe(file, &recipe).map(|()| true)
    }

    /// The recipe of a file that is not stored whole.
    pub(crate) fn split(&self, file: &Digest) -> Result<Option<Recipe>, StoreError> {
        if self.blob_path(file).exists() { Ok(None) } else { self.recipe(file) }
    }

    /// Holds a file as it is stored; call it before looking whether it is there.
    pub(crate) fn hold_file(&self, file: &Digest) -> Result<(), StoreError> {
        self.hold(&[*file])?;
        match self.split(file)? {
            Some(recipe) => self.hold(&recipe.parts.iter().map(|(digest, _)| *digest).collect::<Vec<_>>()),
            None => Ok(()),
        }
    }

    /// Like [`Store::expect_blob`], for a file that is not stored whole.
    pub(crate) fn expect_split(&self, file: &Digest, size: u64) -> Result<(), StoreError> {
        match self.split(file)? {
            Some(recipe) if recipe.size() == size => {
                recipe.parts.iter().try_for_each(|(digest, size)| self.expect_whole(digest, *size))
            }
            _ => Err(StoreError::Damaged { digest: *file, fault: Fault::Missing }),
        }
    }

    /// Like [`Store::stream_blob`], for a file that is not stored whole: each part is verified, and what they make.
    pub(crate) fn stream_split(
        &self,
        file: &Digest,
        sink: &mut impl Write,
        place: &Path,
        blame: Blame,
    ) -> Result<(), StoreError> {
        let missing = |digest: &Digest| StoreError::Damaged { digest: *digest, fault: Fault::Missing };
        let recipe = self.split(file)?.ok_or_else(|| missing(file))?;
        let mut sink = Both { sink, hasher: blake3::Hasher::new() };
        for (part, _) in &recipe.parts {
            self.stream_whole(part, &mut sink, place, blame)?.ok_or_else(|| missing(part))?;
        }
        if Digest::from(sink.hasher.finalize()) == *file {
            return Ok(());
        }
        let path = self.sharded("recipes", file);
        match disk::rename(&path, &self.folder("damaged").join(file.hex())) {
            // Another reader has seen it first.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.map_err(within(&path))?,
        }
        Err(StoreError::Damaged { digest: *file, fault: Fault::Altered })
    }

    /// The parts of a file of these bytes, or `None` where it is not worth while to know them.
    pub(crate) fn parts_of(&self, source: &Path, digest: &Digest, size: u64) -> Result<Option<Recipe>, StoreError> {
        if size < SMALLEST || !safetensors::is_named(source) {
            return Ok(None);
        }
        read_parts(source, digest, size).map_err(outside(source))
    }

    /// Stores a file as its parts if enough of them are there; whether it did.
    pub(crate) fn put_split(
        &self,
        source: &Path,
        (file, recipe): (&Digest, &Recipe),
        unsynced: &mut Unsynced,
    ) -> Result<bool, StoreError> {
        self.hold(&recipe.parts.iter().map(|(digest, _)| *digest).collect::<Vec<_>>())?;
        let (known, wholes) = self.known_parts(recipe)?;
        if known * SHARE < recipe.size() {
            return Ok(false);
        }
        wholes.iter().try_for_each(|whole| self.take_apart(whole))?;
        let mut bytes = File::open(source).map_err(outside(source))?;
        self.put_parts(&mut bytes, source, recipe, unsynced)?;
        self.write_recipe(file, recipe)?;
        Ok(true)
    }

    /// How many bytes of the recipe are in the store, and the whole files that have those that are no blobs.
    fn known_parts(&self, recipe: &Recipe) -> Result<(u64, BTreeSet<Digest>), StoreError> {
        let (mut known, mut sought) = (0, HashMap::new());
        for (digest, size) in &recipe.parts {
            if sought.contains_key(digest) || absorb_damage(self.expect_whole(digest, *size))? {
                known += size;
            } else {
                sought.insert(*digest, *size);
            }
        }
        sought.retain(|_, size| *size >= SOUGHT);
        let mut wholes = BTreeSet::new();
        for whole in self.named("recipes") {
            let whole = whole?;
            let Some(other) = self.recipe(&whole)?.filter(|_| self.blob_path(&whole).exists()) else { continue };
            let shared: HashSet<(Digest, u64)> =
                other.parts.into_iter().filter(|(digest, _)| sought.contains_key(digest)).collect();
            if !shared.is_empty() && absorb_damage(self.check_blob(&whole))? {
                known += shared.iter().map(|(_, size)| size).sum::<u64>();
                sought.retain(|digest, size| !shared.contains(&(*digest, *size)));
                wholes.insert(whole);
            }
        }
        Ok((known, wholes))
    }

    /// Stores a whole file as its parts instead; its bytes go when all of them are durable and verified.
    fn take_apart(&self, whole: &Digest) -> Result<(), StoreError> {
        // A collection that has counted the blobs must find them as it counted them.
        let _lock = self.lock_collection()?;
        let (path, mut unsynced) = (self.blob_path(whole), Unsynced::default());
        let Some(recipe) = self.recipe(whole)? else { return Ok(()) };
        let mut bytes = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(within(&path))?,
        };
        self.hold(&recipe.parts.iter().map(|(digest, _)| *digest).collect::<Vec<_>>())?;
        self.put_parts(&mut bytes, &path, &recipe, &mut unsynced)?;
        unsynced.settle()?;
        let mut whole_again = Both { sink: &mut io::sink(), hasher: blake3::Hasher::new() };
        for (part, _) in &recipe.parts {
            self.stream_whole(part, &mut whole_again, &path, StoreError::within)?;
        }
        match Digest::from(whole_again.hasher.finalize()) == *whole {
            true => disk::remove_file(&path).map_err(within(&path)),
            false => Err(StoreError::Changed { path }),
        }
    }

    /// Stores those parts of a file that are no blobs yet.
    fn put_parts(
        &self,
        file: &mut File,
        path: &Path,
        recipe: &Recipe,
        unsynced: &mut Unsynced,
    ) -> Result<(), StoreError> {
        let mut at = 0;
        for (digest, size) in &recipe.parts {
            if absorb_damage(self.expect_whole(digest, *size))? {
                unsynced.note(&self.blob_path(digest));
            } else if !unsynced.has(digest) {
                let mut draft = self.draft()?;
                file.seek(SeekFrom::Start(at)).map_err(outside(path))?;
                let copied = hash::copy(&mut file.take(*size), &mut draft.file, *size);
                let (found, _) = copied.map_err(|error| match error {
                    CopyError::Read(error) => StoreError::outside(path, error),
                    CopyError::Write(error) => StoreError::within(draft.path(), error),
                })?;
                if found != *digest {
                    return Err(StoreError::Changed { path: path.to_path_buf() });
                }
                self.publish_blob(draft, digest, unsynced)?;
            }
            at += size;
        }
        Ok(())
    }

    pub(crate) fn write_recipe(&self, file: &Digest, recipe: &Recipe) -> Result<(), StoreError> {
        self.write(&self.sharded("recipes", file), &recipe.encode(file), Durable::Yes)
    }
}

/// Reads a file once for the digests of its parts; `None` if it is no safetensors file or not the same any more.
fn read_parts(source: &Path, digest: &Digest, size: u64) -> io::Result<Option<Recipe>> {
    let mut file = File::open(source)?;
    let Some(lengths) = safetensors::parts(&mut file, size)? else { return Ok(None) };
    file.seek(SeekFrom::Start(0))?;
    let (mut whole, mut parts) = (blake3::Hasher::new(), Vec::with_capacity(lengths.len()));
    for length in lengths {
        let mut both = Both { sink: &mut io::sink(), hasher: whole };
        match hash::copy(&mut (&file).take(length), &mut both, length) {
            Ok(part) => parts.push(part),
            Err(CopyError::Read(error) | CopyError::Write(error)) => return Err(error),
        }
        whole = both.hasher;
    }
    Ok((Digest::from(whole.finalize()) == *digest).then_some(Recipe { parts }))
}

/// Passes bytes on and hashes them.
struct Both<'a, W> {
    sink: &'a mut W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Both<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        hash::update(&mut self.hasher, bytes);
        self.sink.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
