//! Two results of one action: it is not deterministic, or one of the machines is not sound. That is reported by the push
//! that finds it, and kept in `remote/conflicts`, a line for each.

use std::fs;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use super::PublicKey;
use crate::error::within;
use crate::{Digest, Receipt, Store, StoreError, disk, folder};

/// Outputs of this role may differ between executions.
const RECORD: &str = "record";

/// An output that came out in two ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The action key.
    pub key: Digest,
    pub output: String,
    /// Who published the other result.
    pub principal: String,
    /// The content of the output here; `None` where there is no such output.
    pub ours: Option<Digest>,
    pub theirs: Option<Digest>,
}

impl Store {
    /// All differences that pushes have found, the oldest first.
    pub fn conflicts(&self) -> Result<Vec<Conflict>, StoreError> {
        let path = self.folder("remote").join("conflicts");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    pub(super) fn note_conflicts(&self, conflicts: &[Conflict]) -> Result<(), StoreError> {
        let known = self.conflicts()?;
        let path = self.folder("remote").join("conflicts");
        for conflict in conflicts.iter().filter(|conflict| !known.contains(conflict)) {
            let line =
                serde_json::to_string(conflict).map_err(|source| StoreError::Encode { what: "a conflict", source })?;
            folder::make_parent(&path)
                .and_then(|()| disk::append(&path, format!("{line}\n").as_bytes()))
                .map_err(within(&path))?;
        }
        Ok(())
    }
}

/// The values in which two receipts of one action differ.
pub(super) fn differences(key: &Digest, ours: &Receipt, theirs: &Receipt, signer: &PublicKey) -> Vec<Conflict> {
    let content = |receipt: &Receipt, name: &str| receipt.outputs.get(name).map(|output| output.artifact.content);
    let is_value = |name: &&String| {
        [ours, theirs].iter().filter_map(|receipt| receipt.outputs.get(*name)).all(|output| output.role != RECORD)
    };
    let mut names: Vec<&String> = ours.outputs.keys().chain(theirs.outputs.keys()).filter(is_value).collect();
    names.sort();
    names.dedup();
    let conflict = |name: &String| Conflict {
        key: *key,
        output: name.clone(),
        principal: signer.to_string(),
        ours: content(ours, name),
        theirs: content(theirs, name),
    };
    names.into_iter().map(conflict).filter(|conflict| conflict.ours != conflict.theirs).collect()
}
