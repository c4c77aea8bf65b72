//! The memo: answers worth keeping that are in no key, such as a judge's verdict on one sample.
//!
//! A value is stored behind its own digest and checked when it is read, so it need not be synced: a value that a loss
//! of power cut short is simply not there. A collection leaves the memo alone, however little space there is: nobody can
//! make again what a judge has said, and a value is small. Who wants to be rid of one removes `memo/NAMESPACE`.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::durable::Durable;
use crate::{Digest, Store, StoreError};

/// The length of the digest before a value.
const HEAD: usize = 32;

impl Store {
    /// What was kept under `key`, if it is whole.
    pub fn memo_get(&self, namespace: &str, key: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.memo_path(namespace, key);
        match fs::read(&path) {
            Ok(bytes) => Ok(whole_value(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    /// Keeps `value` under `key`, in the place of an earlier one.
    pub fn memo_put(&self, namespace: &str, key: &Digest, value: &[u8]) -> Result<(), StoreError> {
        let path = self.memo_path(namespace, key);
        self.write(&path, &[Digest::of(value).as_bytes(), value].concat(), Durable::No)
    }

    fn memo_path(&self, namespace: &str, key: &Digest) -> PathBuf {
        let hex = key.hex();
        self.folder("memo").join(folder_name(namespace)).join(&hex[..2]).join(hex)
    }
}

fn whole_value(bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, value) = bytes.split_at_checked(HEAD)?;
    (Digest::of(value).as_bytes() == head).then(|| value.to_vec())
}

/// A folder's name for any namespace, two never the same: what may be special is written as `%` and its code.
pub(crate) fn folder_name(namespace: &str) -> String {
    let spell = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    match namespace {
        "" => "%".to_string(),
        _ => namespace.bytes().map(spell).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_spelled_as_folders() {
        assert_eq!(folder_name("judge_v-1"), "judge_v-1");
        assert_eq!(folder_name("../Qwen/Qwen3"), "%2e%2e%2fQwen%2fQwen3");
        assert_ne!(folder_name(""), folder_name("%"));
    }
}
