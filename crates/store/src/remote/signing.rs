//! Signatures: who says that an action made this.
//!
//! Ed25519. What is signed is a domain, the name that the statement is about and the exact bytes of the statement, so
//! that a signature holds neither for another name nor for another sort of statement. A signed statement travels as
//! `mark, public key, signature, payload`; nothing in the payload is looked at before the signature has been checked.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, VerifyingKey};

use crate::{Digest, StoreError};

/// How a signed statement of this version begins.
const MARK: &[u8] = b"gazal-signed-1\n";

const KEY: usize = 32;
const SIGNATURE: usize = 64;

/// Names a principal and checks what it has signed; written as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Signs in a principal's name; read from 64 hexadecimal digits, and never written where people can see it.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

/// A text that is no key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("this is no {0} key: 64 lowercase hexadecimal digits are expected, as `gazal-pipe cache key` prints them")]
pub struct BadKey(&'static str);

impl PublicKey {
    /// The first 16 digits: what a principal is called where names must be short. Two keys may share them by
    /// somebody's great effort, so nothing is believed because of them.
    pub fn id(&self) -> String {
        self.to_string()[..16].to_string()
    }
}

impl SigningKey {
    /// A new key from the operating system's randomness.
    pub(crate) fn generate() -> Result<SigningKey, StoreError> {
        let mut seed = [0; KEY];
        getrandom::fill(&mut seed)
            .map_err(|error| StoreError::Trust { what: "a new signing key".into(), why: error.to_string() })?;
        Ok(SigningKey(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// The other half, which may be known to everybody.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The secret as text, for the file that keeps it.
    pub(crate) fn reveal(&self) -> String {
        hex(&self.0.to_bytes())
    }

    /// Signs a statement about `name`.
    pub(crate) fn seal(&self, domain: &str, name: &Digest, payload: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&statement(domain, name, payload));
        [MARK, self.public_key().0.as_bytes(), &signature.to_bytes(), payload].concat()
    }
}

/// A statement whose signature fits; whether its signer is to be believed is another question.
pub(crate) struct Signed<'a> {
    pub signer: PublicKey,
    pub payload: &'a [u8],
}

/// Why bytes are no signed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// They are not even of that form.
    Unsigned,
    /// The signature is for other bytes or for another name.
    Forged,
}

/// Checks the signature of a statement about `name`.
pub(crate) fn open<'a>(domain: &str, name: &Digest, bytes: &'a [u8]) -> Result<Signed<'a>, Flaw> {
    let parts = || {
        let rest = bytes.strip_prefix(MARK)?;
        let (key, rest) = rest.split_first_chunk::<KEY>()?;
        let (signature, payload) = rest.split_first_chunk::<SIGNATURE>()?;
        Some((VerifyingKey::from_bytes(key).ok()?, Signature::from_bytes(signature), payload))
    };
    let (key, signature, payload) = parts().ok_or(Flaw::Unsigned)?;
    key.verify_strict(&statement(domain, name, payload), &signature).map_err(|_| Flaw::Forged)?;
    Ok(Signed { signer: PublicKey(key), payload })
}

/// The bytes under the signature. The domain ends in a byte that no domain contains, and a digest has one length, so
/// no two statements have the same bytes.
fn statement(domain: &str, name: &Digest, payload: &[u8]) -> Vec<u8> {
    [domain.as_bytes(), &[0], name.as_bytes(), payload].concat()
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public_key())
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<PublicKey, BadKey> {
        let key = unhex(text).and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        // A weak key would let a signature fit that nobody made.
        key.filter(|key| !key.is_weak()).map(PublicKey).ok_or(BadKey("public"))
    }
}

impl FromStr for SigningKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<SigningKey, BadKey> {
        let seed = unhex(text).ok_or(BadKey("signing"))?;
        Ok(SigningKey(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }
}

fn hex(bytes: &[u8; KEY]) -> String {
    Digest::from_bytes(*bytes).hex()
}

fn unhex(text: &str) -> Option<[u8; KEY]> {
    text.trim().parse::<Digest>().ok().map(|digits| *digits.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn key(seed: &str) -> SigningKey {
        Digest::of(seed).hex().parse().unwrap()
    }

    #[test]
    fn what_was_signed_opens_and_nothing_else_does() {
        let (name, mine) = (Digest::of("name"), key("mine"));
        let sealed = mine.seal("receipt", &name, b"made");
        let signed = open("receipt", &name, &sealed).ok().unwrap();
        assert_eq!((signed.signer, signed.payload), (mine.public_key(), b"made".as_slice()));

        assert_eq!(open("deep", &name, &sealed).err(), Some(Flaw::Forged));
        assert_eq!(open("receipt", &Digest::of("other"), &sealed).err(), Some(Flaw::Forged));
        for place in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[place] ^= 4;
            assert!(open("receipt", &name, &altered).is_err(), "{place}");
            assert!(open("receipt", &name, &sealed[..place]).is_err(), "{place}");
        }
        let other = key("stranger").seal("receipt", &name, b"made");
        let head = MARK.len() + KEY;
        let spliced = [&sealed[..head], &other[head..]].concat();
        assert_eq!(open("receipt", &name, &spliced).err(), Some(Flaw::Forged), "another's signature under my key");
    }

    #[test]
    fn keys_survive_text_and_secrets_stay_out_of_logs() {
        let mine = key("mine");
        assert_eq!(mine.public_key().to_string().parse::<PublicKey>().unwrap(), mine.public_key());
        assert_eq!(mine.reveal().parse::<SigningKey>().unwrap().public_key(), mine.public_key());
        assert!(!format!("{mine:?}").contains(&mine.reveal()));
        assert_ne!(SigningKey::generate().unwrap().reveal(), SigningKey::generate().unwrap().reveal());
        for text in ["", "abc", &"0".repeat(64), &format!("01{}", "0".repeat(62)), &format!("02{}", "0".repeat(62))] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}: malformed, weak, or off the curve");
        }
    }
}
