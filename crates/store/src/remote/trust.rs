//! Whom the store believes: the principals in `trust/`, as in a file of authorized keys, and itself.
//!
//! `trust/<name>.pub` holds a public key; `trust/self.key` the store's own signing key, made when it is first needed
//! and readable by its owner only, and `trust/self.pub` the other half, which all users of a shared store can read.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::{PublicKey, SigningKey};
use crate::durable::Durable;
use crate::error::within;
use crate::{Store, StoreError, disk, folder};

/// How the store calls itself.
const SELF: &str = "self";

/// How it calls the key that the remote was given for signing.
const GIVEN: &str = "given";

/// Somebody whose receipts are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `self` for the store itself, `given` for the remote's signing key.
    pub name: String,
    pub key: PublicKey,
}

impl Store {
    /// Accepts from now on what the holder of this key has signed. A principal of this name gets the new key.
    ///
    /// # Errors
    /// [`StoreError::Trust`] for a name that cannot be a file's, or that is the store's own.
    pub fn trust(&self, name: &str, key: &PublicKey) -> Result<(), StoreError> {
        check_name(name)?;
        self.write(&self.trust_path(name), format!("{key}\n").as_bytes(), Durable::Yes)
    }

    /// No longer accepts what this principal has signed, what was fetched before included (but not what has been run
    /// on top of it here). False if there is none of this name.
    pub fn distrust(&self, name: &str) -> Result<bool, StoreError> {
        check_name(name)?;
        let path = self.trust_path(name);
        match disk::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    /// All whose receipts are accepted, by name; the store itself among them, if it has a key.
    ///
    /// # Errors
    /// [`StoreError::Trust`] for a file without a key in it.
    pub fn principals(&self) -> Result<Vec<Principal>, StoreError> {
        let given = self.given_key().map(|key| Principal { name: GIVEN.to_string(), key: key.public_key() });
        let mut principals: Vec<Principal> = given.into_iter().collect();
        let trust = self.folder("trust");
        for path in folder::list(&trust).map_err(within(&trust))? {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".pub"));
            if let Some(name) = name {
                principals.push(Principal { name: name.to_string(), key: read(&path)? });
            }
        }
        Ok(principals)
    }

    /// The key by which others may trust this store: that of the remote's signing key, if it was given one, else the
    /// store's own, which is made if there is none yet.
    pub fn public_key(&self) -> Result<PublicKey, StoreError> {
        Ok(self.signing_key()?.public_key())
    }

    /// The key in whose name this store publishes.
    pub(super) fn signing_key(&self) -> Result<SigningKey, StoreError> {
        if let Some(key) = self.given_key() {
            return Ok(key.clone());
        }
        let (secret, public) = (self.folder("trust").join("self.key"), self.trust_path(SELF));
        if !secret.exists() {
            self.make_key(&secret)?;
        }
        let key: SigningKey = read(&secret)?;
        if !public.exists() {
            self.write(&public, format!("{}\n", key.public_key()).as_bytes(), Durable::Yes)?;
        }
        Ok(key)
    }

    fn given_key(&self) -> Option<&SigningKey> {
        self.remote()?.inner.settings.signing_key.as_ref()
    }

    /// Makes the key; of two that do so at once, both get the same.
    fn make_key(&self, path: &Path) -> Result<(), StoreError> {
        let secret = SigningKey::generate()?.reveal();
        let mut draft = self.draft()?;
        draft
            .file
            .set_mode(0o600)
            .and_then(|()| draft.file.write_all(format!("{secret}\n").as_bytes()))
            .and_then(|()| draft.file.sync())
            .map_err(within(draft.path()))?;
        folder::make_parent(path).and_then(|()| draft.name(path)).map_err(within(path))?;
        let trust = self.folder("trust");
        disk::sync_folder(&trust).and_then(|()| disk::sync_folder(self.root())).map_err(within(&trust))
    }

    fn trust_path(&self, name: &str) -> PathBuf {
        self.folder("trust").join(format!("{name}.pub"))
    }
}

/// A key in a file.
fn read<K: std::str::FromStr<Err = super::BadKey>>(path: &Path) -> Result<K, StoreError> {
    let text = fs::read_to_string(path).map_err(within(path))?;
    text.parse().map_err(|error: super::BadKey| StoreError::Trust {
        what: path.display().to_string(),
        why: format!("{error}: put a key into the file, or remove it"),
    })
}

fn check_name(name: &str) -> Result<(), StoreError> {
    let wrong = |why: &str| Err(StoreError::Trust { what: format!("the principal's name `{name}`"), why: why.into() });
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    match name {
        SELF | GIVEN => wrong("the store itself is called so: choose another"),
        "" => wrong("it is empty"),
        _ if name.starts_with('.') || !name.chars().all(plain) => {
            wrong("use letters, digits, `-`, `_`, `@` and `.`, and begin with no `.`")
        }
        _ => Ok(()),
    }
}
