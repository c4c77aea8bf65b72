//! Bundles: receipts and all that they need as one file, to carry from store to store.
//!
//! | bytes | what |
//! |---|---|
//! | `gazal-bundle 1\n` | the version |
//! | a letter, 32 bytes, 8 bytes, so many bytes | records: `b` a blob under its digest, `c` a recipe under its file's, `r` a receipt under its key; lengths are little-endian |
//! | `e`, 32 bytes | the end, and the digest of all bytes before this letter |
//!
//! Blobs come first, then recipes, then receipts, each in the order of their digests, so that a stream can be stored as
//! it comes and equal stores give equal bundles. Everything is verified on the way in, by itself: a receipt is taken
//! where all that it needs has come or was there, however the rest of the bundle fares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use crate::blob::absorb_damage;
use crate::error::{outside, within};
use crate::hash::{self, CopyError};
use crate::publication::Unsynced;
use crate::receipt::unseal;
use crate::{Digest, Fault, Store, StoreError};

const MAGIC: &[u8] = b"gazal-bundle 1\n";

/// No receipt and no recipe is longer than this, in bytes.
const LONGEST: u64 = 1 << 28;

const BLOB: u8 = b'b';
const RECIPE: u8 = b'c';
const RECEIPT: u8 = b'r';
const END: u8 = b'e';

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Actions that are hits now and were none before, in the bundle's order.
    pub receipts: Vec<Digest>,
    /// Actions that were hits already.
    pub known: Vec<Digest>,
    /// Blobs that were not there, with their bytes.
    pub blobs: u64,
    pub bytes: u64,
}

impl Store {
    /// Writes a bundle of these actions' receipts and all that they made, verified as it is read. After an error what
    /// was written is no whole bundle, and an import says so.
    ///
    /// # Errors
    /// [`StoreError::NoReceipt`]; [`StoreError::Damaged`] where something that an action made is gone.
    pub fn export(&self, keys: &[Digest], writer: &mut impl Write) -> Result<(), StoreError> {
        let contents = self.contents(keys)?;
        let mut out = Out { writer, hasher: blake3::Hasher::new() };
        out.put(MAGIC)?;
        for (digest, size) in &contents.blobs {
            out.head(BLOB, digest, *size)?;
            let found = self.stream_whole(digest, &mut out, Path::new(BUNDLE), StoreError::outside)?;
            found.ok_or(StoreError::Damaged { digest: *digest, fault: Fault::Missing })?;
        }
        for (letter, texts) in [(RECIPE, &contents.recipes), (RECEIPT, &contents.receipts)] {
            for (digest, text) in texts {
                out.head(letter, digest, text.len() as u64)?;
                out.put(text)?;
            }
        }
        let end = out.hasher.finalize();
        out.put(&[END])?;
        out.put(end.as_bytes())?;
        out.writer.flush().map_err(outside(Path::new(BUNDLE)))
    }

    fn contents(&self, keys: &[Digest]) -> Result<Contents, StoreError> {
        let mut contents = Contents::default();
        for key in keys.iter().collect::<BTreeSet<_>>() {
            let receipt = self.receipt(key)?.ok_or(StoreError::NoReceipt { key: *key })?;
            for output in receipt.outputs.values() {
                self.hold_and_check(&output.artifact)?;
                contents.blobs.extend(self.closure(&output.artifact)?);
                for file in self.split_files(&output.artifact)? {
                    contents.recipes.extend(self.recipe_bytes(&file)?.map(|bytes| (file, bytes)));
                }
            }
            let path = self.sharded("receipts", key);
            contents.receipts.insert(*key, fs::read(&path).map_err(within(&path))?);
        }
        Ok(contents)
    }

    /// Takes from a bundle all that is whole, durably.
    ///
    /// # Errors
    /// [`StoreError::Bundle`] for one that is cut short or altered; what was taken nevertheless is in it.
    pub fn import(&self, reader: &mut impl Read) -> Result<Imported, StoreError> {
        let mut import = Import { store: self, imported: Imported::default(), lost: 0, unsynced: Unsynced::default() };
        let mut input = In { reader, hasher: blake3::Hasher::new() };
        let ended = import.run(&mut input);
        std::mem::take(&mut import.unsynced).settle()?;
        let why = match ended {
            Ok(()) if import.lost == 0 => return Ok(import.imported),
            Ok(()) => format!("{} of its parts are altered", import.lost),
            Err(Stop::Store(error)) => return Err(error),
            Err(Stop::Bundle(why)) => why,
        };
        Err(StoreError::Bundle { why, imported: import.imported })
    }
}

/// What to call the file where it cannot be written: its path is the caller's.
const BUNDLE: &str = "the bundle";

/// By digest, so that they are in order and each once.
#[derive(Default)]
struct Contents {
    blobs: BTreeMap<Digest, u64>,
    recipes: BTreeMap<Digest, Vec<u8>>,
    receipts: BTreeMap<Digest, Vec<u8>>,
}

struct Out<'a, W> {
    writer: &'a mut W,
    hasher: blake3::Hasher,
}

impl<W: Write> Out<'_, W> {
    fn head(&mut self, letter: u8, digest: &Digest, length: u64) -> Result<(), StoreError> {
        self.put(&[letter])?;
        self.put(digest.as_bytes())?;
        self.put(&length.to_le_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_all(bytes).map_err(outside(Path::new(BUNDLE)))
    }
}

impl<W: Write> Write for Out<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        hash::update(&mut self.hasher, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Why an import ends early.
enum Stop {
    Store(StoreError),
    /// What is wrong with the bundle.
    Bundle(String),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Store(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        match error.kind() {
            ErrorKind::UnexpectedEof => Stop::Bundle("it is cut short".into()),
            _ => Stop::Bundle(format!("it cannot be read: {error}")),
        }
    }
}

struct In<'a, R> {
    reader: &'a mut R,
    hasher: blake3::Hasher,
}

impl<R: Read> Read for In<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        hash::update(&mut self.hasher, &buffer[..length]);
        Ok(length)
    }
}

impl<R: Read> In<'_, R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes).map(|()| bytes)
    }

    /// A text of a recipe or a receipt.
    fn text(&mut self, length: u64) -> Result<Vec<u8>, Stop> {
        if length > LONGEST {
            return Err(Stop::Bundle(format!("it has a text of {length} bytes")));
        }
        let mut text = Vec::new();
        self.take(length).read_to_end(&mut text)?;
        match text.len() as u64 == length {
            true => Ok(text),
            false => Err(Stop::from(io::Error::from(ErrorKind::UnexpectedEof))),
        }
    }
}

struct Import<'a> {
    store: &'a Store,
    imported: Imported,
    /// Records that are not what their digests say, and receipts that need such.
    lost: u64,
    unsynced: Unsynced,
}

impl Import<'_> {
    fn run(&mut self, input: &mut In<impl Read>) -> Result<(), Stop> {
        if input.array::<15>()? != *MAGIC {
            return Err(Stop::Bundle("it is no bundle, or one of another version".into()));
        }
        loop {
            let before = Digest::from(input.hasher.finalize());
            let letter = input.array::<1>()?[0];
            let digest = Digest::from_bytes(input.array()?);
            if letter == END {
                // What is known to be altered is told by its number.
                let as_it_was = digest == before || self.lost > 0;
                return if as_it_was { Ok(()) } else { Err(Stop::Bundle("it is altered".into())) };
            }
            let length = u64::from_le_bytes(input.array()?);
            let whole = match letter {
                BLOB => self.blob(&digest, length, input)?,
                RECIPE => self.store.adopt_recipe(&digest, &input.text(length)?)?,
                RECEIPT => self.receipt(&digest, &input.text(length)?)?,
                _ => return Err(Stop::Bundle("it is altered".into())),
            };
            self.lost += u64::from(!whole);
        }
    }

    /// Whether it was what it says.
    fn blob(&mut self, digest: &Digest, length: u64, input: &mut In<impl Read>) -> Result<bool, Stop> {
        let mut draft = self.store.draft()?;
        let (found, size) =
            hash::copy(&mut input.take(length), &mut draft.file, length).map_err(|error| match error {
                CopyError::Read(error) => Stop::from(error),
                CopyError::Write(error) => Stop::Store(StoreError::within(draft.path(), error)),
            })?;
        if size < length {
            return Err(Stop::from(io::Error::from(ErrorKind::UnexpectedEof)));
        }
        if found != *digest {
            return Ok(false);
        }
        self.store.hold(&[*digest])?;
        if absorb_damage(self.store.expect_whole(digest, length))? {
            self.unsynced.note(&self.store.blob_path(digest));
        } else {
            self.store.publish_blob(draft, digest, &mut self.unsynced)?;
            self.imported.blobs += 1;
            self.imported.bytes += length;
        }
        Ok(true)
    }

    /// Whether it was whole and so is all that it needs.
    fn receipt(&mut self, key: &Digest, text: &[u8]) -> Result<bool, Stop> {
        std::mem::take(&mut self.unsynced).settle()?;
        let Some(receipt) = unseal(key, text) else { return Ok(false) };
        if self.store.made(key)?.is_some() {
            self.imported.known.push(*key);
            return Ok(true);
        }
        match self.store.publish(key, &receipt) {
            Err(error) if error.is_damage() => return Ok(false),
            other => other?,
        }
        self.imported.receipts.push(*key);
        Ok(true)
    }
}
