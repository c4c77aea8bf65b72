//! What the remote is not believed to have, though it said so.
//!
//! A receipt of a trusted principal promises that its blobs are at the remote. Where one turns out to be gone, altered
//! or out of reach, that is remembered under `remote/doubted/`: for the artifact, so that receipts which promise it
//! are no hits any more and whoever made it runs again, in whichever process; and for the blob. What was lost there is
//! sent afresh by the next push that has it, the artifact as a whole: where one blob went bad, others may have. After a
//! day the remote gets another chance: it may have been mended meanwhile.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::durable::Durable;
use crate::{Digest, Receipt, Store, StoreError, disk};

const DAY: Duration = Duration::from_secs(86_400);

/// What was lost so long ago and not been pushed since is forgotten: should it be lost still, whoever asks for it next
/// finds out again.
pub(crate) const FORGIVEN: Duration = Duration::from_secs(30 * 86_400);

/// Why the remote is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It has it not, or otherwise.
    Lost,
    /// It did not answer.
    Away,
}

impl Doubt {
    fn word(self) -> &'static [u8] {
        match self {
            Doubt::Lost => b"lost",
            Doubt::Away => b"away",
        }
    }
}

impl Store {
    /// Remembers it as well as the disk allows; it costs work if it is forgotten, and never a wrong result.
    pub(super) fn doubt(&self, digest: &Digest, why: Doubt) {
        let _ = self.write(&self.doubt_path(digest), why.word(), Durable::No);
    }

    /// Whether the remote's copy was seen to be bad, so that it has to be replaced.
    pub(super) fn is_lost(&self, digest: &Digest) -> bool {
        fs::read(self.doubt_path(digest)).is_ok_and(|word| word == Doubt::Lost.word())
    }

    pub(super) fn is_doubted(&self, digest: &Digest) -> bool {
        let since = fs::metadata(self.doubt_path(digest)).and_then(|metadata| metadata.modified());
        since.is_ok_and(|since| SystemTime::now().duration_since(since).unwrap_or_default() < DAY)
    }

    pub(super) fn stop_doubting(&self, digest: &Digest) {
        let _ = disk::remove_file(&self.doubt_path(digest));
    }

    /// Whether nothing that the receipt promises has turned out not to be there.
    pub(super) fn believes(&self, receipt: &Receipt) -> bool {
        !receipt.outputs.values().any(|output| self.is_doubted(&output.artifact.bytes))
    }

    /// All doubts: of what, since when, and their sizes in bytes.
    pub(crate) fn doubts(&self) -> Result<Vec<(Digest, SystemTime, u64)>, StoreError> {
        let mut doubts = Vec::new();
        for digest in self.named("remote/doubted") {
            let digest = digest?;
            let metadata = fs::metadata(self.doubt_path(&digest));
            let found = metadata.and_then(|metadata| Ok((digest, metadata.modified()?, metadata.len())));
            doubts.extend(found.ok());
        }
        Ok(doubts)
    }

    /// Drops a doubt; whether there was one.
    pub(crate) fn forgive(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.doubt_path(digest);
        match disk::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::within(&path, error)),
        }
    }

    fn doubt_path(&self, digest: &Digest) -> PathBuf {
        self.sharded("remote/doubted", digest)
    }
}
