//! Which remote a run shares its results with, as runner and workers are told. Secrets are no part of it, since
//! requests lie in files: the signing key is read from the environment, and so is what the service needs to know.

use gazal_store::{Mode, Remote, Settings, Store, StoreError};
use serde::{Deserialize, Serialize};

/// In whose name results are published; without it in the store's own.
const SIGNING_KEY: &str = "GAZAL_SIGNING_KEY";

/// A remote and what it is used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoteUse {
    pub url: String,
    pub mode: Mode,
}

impl RemoteUse {
    /// The store with the remote behind it; nothing is asked of the remote yet.
    ///
    /// # Errors
    /// A URL that is none, or a signing key that is none.
    pub fn attach(&self, store: Store) -> Result<Store, StoreError> {
        let given = std::env::var(SIGNING_KEY).ok().filter(|key| !key.is_empty());
        let wrong = |why: String| StoreError::Trust { what: format!("${SIGNING_KEY}"), why };
        let signing_key = given.map(|key| key.parse().map_err(|error| wrong(format!("{error}")))).transpose()?;
        let options =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let (url, mode) = (self.url.clone(), self.mode);
        let settings = Settings { url, mode, options: options.collect(), signing_key, ..Settings::default() };
        Ok(store.attach(Remote::open(settings)?))
    }

    /// The use that a store is put to already.
    pub(crate) fn of(store: &Store) -> Option<RemoteUse> {
        store.remote().map(|remote| RemoteUse { url: remote.url().to_string(), mode: remote.mode() })
    }
}
