//! The digests by which the hub names a file: SHA-256 of the bytes for large ones, Git's SHA-1 for the others.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expected {
    Sha256(String),
    /// SHA-1 of `blob LENGTH`, a NUL, and the bytes.
    Git(String),
    /// The hub does not say.
    Anything,
}

impl Expected {
    /// By what a digest looks like.
    pub fn named(text: &str) -> Expected {
        match text.len() {
            _ if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Expected::Anything,
            64 => Expected::Sha256(text.to_ascii_lowercase()),
            40 => Expected::Git(text.to_ascii_lowercase()),
            _ => Expected::Anything,
        }
    }

    /// The name of the file in a cache, where it has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Expected::Sha256(name) | Expected::Git(name) => Some(name),
            Expected::Anything => None,
        }
    }

    /// Reads a file and compares.
    pub fn fits(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        match self {
            Expected::Sha256(wanted) => Ok(digest(Sha256::new(), &mut file)? == *wanted),
            Expected::Git(wanted) => {
                let length = file.metadata()?.len();
                Ok(digest(Sha1::new_with_prefix(format!("blob {length}\0")), &mut file)? == *wanted)
            }
            Expected::Anything => Ok(true),
        }
    }
}

fn digest(mut hasher: impl Digest, file: &mut File) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
