//! The remote: results that other machines made, and that this one lets others have.
//!
//! A remote is a bucket (or a folder, or a server) that many machines read and some write. It hangs on the store from
//! within: whoever asks an attached store for a receipt or for an artifact's files gets the remote's where there are
//! none here, and need not know of it.
//!
//! - **Receipts come alone.** A receipt from the remote is kept ("thin") and is a hit without its blobs; those are
//!   fetched when somebody reads them. So of a long pipeline only the wanted artifact is moved.
//! - **Nothing is taken on trust of the place.** Receipts are signed, and count only if their signer is trusted here
//!   (`trust`); blobs are hashed as they come in (`blobs`). Whoever can write to the bucket can make work, no more.
//! - **A remote that fails is a miss.** Blobs that are gone or altered are damage like any other, and the receipts that
//!   promised them are not believed again (`doubt`); a remote that does not answer is left alone for a while
//!   (`bucket`). Neither ends a run.
//! - **Blobs before receipts, and nothing is overwritten** but what is known to be bad (`push`).
//!
//! Async stops at `door`: all that is public here blocks.

mod blobs;
mod bucket;
mod conflicts;
mod deep;
mod door;
mod doubt;
mod layout;
mod place;
mod push;
mod receipts;
mod refused;
mod signing;
mod statements;
mod trouble;
mod trust;
mod wire;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bucket::Traffic;
pub use conflicts::Conflict;
pub(crate) use doubt::FORGIVEN;
pub use push::Pushed;
pub use refused::{Reason, Refused};
pub use signing::{BadKey, PublicKey, SigningKey};
pub use trust::Principal;

use crate::{Digest, Store, StoreError};
use bucket::{Bucket, Complaint};
use door::Door;
use layout::Subject;
use trouble::{Trouble, sudden_end};

const CREDENTIALS: &str = "check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...) and what they may do";
const BUCKET: &str = "make the bucket, or name another";
const LATER: &str = "it is left alone for a while; check the network and the URL";

/// What a remote is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Results are taken from it.
    #[default]
    Read,
    /// Results are taken from it and given to it.
    ReadWrite,
    /// Results are given to it.
    Write,
    /// Nothing; as if there were none.
    Off,
}

impl Mode {
    const ALL: [(&str, Mode); 4] =
        [("read", Mode::Read), ("read-write", Mode::ReadWrite), ("write", Mode::Write), ("off", Mode::Off)];

    /// Whether results are taken from the remote.
    pub fn reads(self) -> bool {
        matches!(self, Mode::Read | Mode::ReadWrite)
    }

    /// Whether results are given to the remote.
    pub fn writes(self) -> bool {
        matches!(self, Mode::Write | Mode::ReadWrite)
    }
}

/// A text that is no [`Mode`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is no way to use a remote: say read, read-write, write or off")]
pub struct BadMode(String);

impl FromStr for Mode {
    type Err = BadMode;

    fn from_str(text: &str) -> Result<Mode, BadMode> {
        let known = Mode::ALL.into_iter().find(|(name, _)| *name == text);
        known.map(|(_, mode)| mode).ok_or_else(|| BadMode(text.to_string()))
    }
}

/// How long a remote that does not answer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next byte.
    pub silence: Duration,
    /// How often a failed request is repeated.
    pub retries: usize,
    /// Before a request is repeated the first time.
    pub pause: Duration,
    /// How long the remote is left alone after it failed.
    pub rest: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(30),
            retries: 2,
            pause: Duration::from_millis(200),
            rest: Duration::from_secs(60),
        }
    }
}

/// Which remote, and how it is used. Has no `Debug`: secrets are in it.
#[derive(Clone, Default)]
pub struct Settings {
    /// A folder, `file://…`, `s3://bucket/prefix`, `http(s)://…`, `gs://…` or `az://…`.
    pub url: String,
    pub mode: Mode,
    /// What the service needs to know, by the names of its environment variables (`AWS_ACCESS_KEY_ID`). The caller may
    /// give a whole environment: names that the service does not know are passed over.
    pub options: BTreeMap<String, String>,
    /// In whose name is published; else in the store's own.
    pub signing_key: Option<SigningKey>,
    pub patience: Patience,
}

/// A remote, to be attached to a store; clones share it.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    bucket: Arc<Bucket>,
    door: Door,
    memory: Mutex<Memory>,
}

/// What this process has learnt about the remote.
#[derive(Default)]
struct Memory {
    /// What nobody trusted has said anything about.
    missed: HashSet<Subject>,
    /// Who publishes there, once it has been asked; `None` within where the remote cannot tell.
    publishers: Option<Option<Vec<PublicKey>>>,
    /// Whose statement was the last that counted: likely that of the next.
    last: Option<PublicKey>,
    refused: Vec<Refused>,
    /// Blobs that are known to be there.
    present: HashSet<Digest>,
    /// Principals who are known to be registered there, by their keys.
    registered: HashSet<String>,
}

impl Remote {
    /// Prepares the use of a remote; nothing is asked yet.
    ///
    /// # Errors
    /// [`StoreError::Remote`] for a URL that is none, a folder that is not there, or options that do not fit.
    pub fn open(settings: Settings) -> Result<Remote, StoreError> {
        // Another part of the program may have chosen its TLS already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |error: std::io::Error| StoreError::Remote {
            url: settings.url.clone(),
            why: error.to_string(),
            remedy: "free some threads or files",
        };
        let door = Door::open().map_err(failed)?;
        let bucket = Arc::new(Bucket::new(place::find(&settings)?, settings.patience.rest));
        Ok(Remote { inner: Arc::new(Inner { settings, bucket, door, memory: Mutex::default() }) })
    }

    /// Asks the remote something, to tell a wrong configuration at once. One that does not answer is no error: see
    /// [`Remote::warning`].
    ///
    /// # Errors
    /// [`StoreError::Remote`] where credentials are missing or wrong, or where there is no such bucket.
    pub fn check(&self) -> Result<(), StoreError> {
        match self.list_publishers() {
            Err(trouble @ (Trouble::Denied(_) | Trouble::Absent)) => Err(self.error(trouble)),
            _ => Ok(()),
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.inner.settings.url
    }

    /// What it is used for.
    pub fn mode(&self) -> Mode {
        self.inner.settings.mode
    }

    /// What this process has sent and received.
    pub fn traffic(&self) -> Traffic {
        self.inner.bucket.traffic()
    }

    /// What a person should hear about the remote, if it did not do as it should: what, where, and what to do.
    pub fn warning(&self) -> Option<String> {
        let Complaint { why, was_denied } = self.inner.bucket.complaint()?;
        let remedy = if was_denied { CREDENTIALS } else { LATER };
        Some(format!("the remote {} is not used: {why}: {remedy}", self.url()))
    }

    /// The receipts and deep keys that were not believed, in the order of their discovery.
    pub fn refused(&self) -> Vec<Refused> {
        self.memory().refused.clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work behind the door.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Trouble>> + Send + 'static,
    ) -> Result<T, Trouble> {
        self.inner.door.wait(work).unwrap_or_else(|| Err(sudden_end()))
    }

    /// A trouble that the caller has to hear of.
    fn error(&self, trouble: Trouble) -> StoreError {
        let (why, remedy) = match trouble {
            Trouble::Absent => ("there is no such bucket".to_string(), BUCKET),
            Trouble::Denied(why) => (why, CREDENTIALS),
            Trouble::Away(why) => (why, LATER),
            Trouble::Exists | Trouble::Unsupported => ("it cannot be written".to_string(), CREDENTIALS),
        };
        StoreError::Remote { url: self.url().to_string(), why, remedy }
    }
}

impl fmt::Debug for Remote {
    /// Without the options: secrets are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({}, {:?})", self.url(), self.mode())
    }
}

impl Store {
    /// The store with a remote behind it; in the place of an earlier one.
    #[must_use]
    pub fn attach(mut self, remote: Remote) -> Store {
        self.remote = Some(remote);
        self
    }

    /// The store without a remote: what was fetched stays.
    #[must_use]
    pub fn detach(mut self) -> Store {
        self.remote = None;
        self
    }

    /// The remote behind the store.
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// The remote, where results are taken from it.
    fn source(&self) -> Option<&Remote> {
        self.remote().filter(|remote| remote.mode().reads())
    }
}
