//! The hub: which commit a revision is, which files it has, and those files, each checked against the digest that the
//! hub names.
//!
//! What the user's own cache of the hub has (`HF_HOME`) is taken from there; with `HF_HUB_OFFLINE` only that.
//! Requests follow the hub's HTTP interface: `/api/models/ID/revision/REVISION?blobs=true` and
//! `/ID/resolve/COMMIT/FILE`.

mod cached;
mod digest;
mod fetch;

use std::env;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use ureq::http::StatusCode;
use url::Url;

use crate::client::{Client, Trouble};
use cached::Cached;
use digest::Expected;

const SERVER: &str = "https://huggingface.co";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepoKind {
    Model,
    Dataset,
}

/// `owner/name` on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    pub kind: RepoKind,
    pub id: String,
}

impl Repo {
    fn plural(&self) -> &'static str {
        match self.kind {
            RepoKind::Model => "models",
            RepoKind::Dataset => "datasets",
        }
    }
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteFile {
    /// Its path within the repository; never leads out of it.
    pub name: String,
    /// In bytes, where the hub says so.
    pub size: Option<u64>,
    expected: Expected,
}

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("$HF_ENDPOINT is no URL: {0}")]
    Endpoint(String),
    #[error("the hub has no `{0}`: check its name and revision; if it is private, set HF_TOKEN")]
    Absent(String),
    #[error("the hub refuses `{0}`: accept its terms on its page, and set HF_TOKEN to a token that may read it")]
    Denied(String),
    #[error("the hub answers {status} for `{what}`")]
    Refused { what: String, status: u16 },
    #[error("cannot reach the hub for `{what}`: {why}; what was fetched stays, run again")]
    Unreachable { what: String, why: String },
    #[error("the hub's answer for `{what}` cannot be read: {why}")]
    Unreadable { what: String, why: String },
    #[error("`{0}` is not what the hub says it is, twice: something between alters it")]
    Damaged(String),
    #[error("`{what}` is not in {}, and HF_HUB_OFFLINE is set", .cache.display())]
    Offline { what: String, cache: PathBuf },
    #[error("{}: {error}", .path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("stopped")]
    Cancelled,
}

/// Who hears how a fetch goes on, and says whether to stop.
pub struct Listener<'a> {
    /// Hears how many bytes came in.
    pub heard: &'a mut dyn FnMut(u64),
    pub cancelled: &'a dyn Fn() -> bool,
}

/// The hub as this machine sees it.
pub struct Hub {
    server: Url,
    client: Client,
    cached: Cached,
    offline: bool,
}

/// The answer to a question about a revision.
#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT`, `HF_TOKEN` (else the file that `hf auth login` writes), `HF_HOME`,
    /// `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// An endpoint that is no URL.
    pub fn from_env() -> Result<Hub, HubError> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let cached = Cached::from_env();
        let server = set("HF_ENDPOINT").unwrap_or_else(|| SERVER.into());
        let token = set("HF_TOKEN").map(|token| token.trim().to_string()).or_else(|| cached.token());
        let offline = set("HF_HUB_OFFLINE").is_some_and(|value| !matches!(value.as_str(), "0" | "false" | "off"));
        Hub::new(&server, token, cached, offline)
    }

    fn new(server: &str, token: Option<String>, cached: Cached, offline: bool) -> Result<Hub, HubError> {
        let url = Url::parse(server).ok().filter(|url| url.path_segments().is_some());
        let server = url.ok_or_else(|| HubError::Endpoint(server.into()))?;
        Ok(Hub { client: Client::new(server.clone(), token), server, cached, offline })
    }

    /// The commit behind a branch or a tag.
    ///
    /// # Errors
    /// [`HubError`] where the hub does not know it, or cannot be asked.
    pub fn resolve(&self, repo: &Repo, revision: &str) -> Result<String, HubError> {
        if is_commit(revision) {
            return Ok(revision.into());
        }
        if self.offline {
            return self.cached.commit(repo, revision).ok_or_else(|| self.is_not_here(repo, revision));
        }
        let what = format!("{}@{revision}", repo.id);
        let sha = self.info(repo, revision)?.sha;
        if is_commit(&sha) { Ok(sha) } else { Err(HubError::Unreadable { what, why: "no commit".into() }) }
    }

    /// The files of a commit, by name.
    ///
    /// # Errors
    /// As [`Hub::resolve`], and for names that lead out of the repository.
    pub fn files(&self, repo: &Repo, commit: &str) -> Result<Vec<RemoteFile>, HubError> {
        if self.offline {
            let files = self.cached.files(repo, commit).map_err(io(self.cached.root()))?;
            return if files.is_empty() { Err(self.is_not_here(repo, commit)) } else { Ok(files) };
        }
        let info = self.info(repo, commit)?;
        let files: Result<Vec<RemoteFile>, HubError> = info.siblings.into_iter().map(RemoteFile::new).collect();
        files.map(|mut files| {
            files.sort_by(|a, b| a.name.cmp(&b.name));
            files
        })
    }

    fn info(&self, repo: &Repo, revision: &str) -> Result<Info, HubError> {
        let what = format!("{}@{revision}", repo.id);
        let mut url = self.url(&["api", repo.plural()], repo);
        push(&mut url, &["revision", revision]);
        url.set_query(Some("blobs=true"));
        let mut answer = self.client.get(&url, 0, &|| false).map_err(|trouble| found(trouble, &what))?;
        let unreadable = |why: String| HubError::Unreadable { what: what.clone(), why };
        let text = answer.body_mut().with_config().limit(256 << 20).read_to_string();
        serde_json::from_str(&text.map_err(|error| unreadable(error.to_string()))?)
            .map_err(|error| unreadable(error.to_string()))
    }

    /// Begins with the server's own path, so that it may lie below another server's root.
    fn url(&self, before: &[&str], repo: &Repo) -> Url {
        let mut url = self.server.clone();
        push(&mut url, before);
        push(&mut url, &repo.id.split('/').collect::<Vec<_>>());
        url
    }

    fn is_not_here(&self, repo: &Repo, revision: &str) -> HubError {
        HubError::Offline { what: format!("{}@{revision}", repo.id), cache: self.cached.root().to_path_buf() }
    }
}

impl RemoteFile {
    fn new(sibling: Sibling) -> Result<RemoteFile, HubError> {
        let Sibling { rfilename: name, size, blob_id, lfs } = sibling;
        if !is_inside(&name) {
            return Err(HubError::Unreadable { what: name, why: "it lies outside of its repository".into() });
        }
        Ok(match lfs {
            Some(lfs) => RemoteFile { name, size: Some(lfs.size), expected: Expected::named(&lfs.sha256) },
            None => RemoteFile { name, size, expected: Expected::named(&blob_id.unwrap_or_default()) },
        })
    }
}

/// Whether a revision is a commit already: 40 hexadecimal digits.
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether every part of a path goes down.
fn is_inside(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Adds parts to a path, each escaped as a whole.
fn push(url: &mut Url, parts: &[&str]) {
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
}

/// What a request's trouble means for what was asked for.
fn found(trouble: Trouble, what: &str) -> HubError {
    let what = what.to_string();
    match trouble {
        Trouble::Status(StatusCode::NOT_FOUND) => HubError::Absent(what),
        Trouble::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => HubError::Denied(what),
        Trouble::Status(status) => HubError::Refused { what, status: status.as_u16() },
        Trouble::Unreachable(why) | Trouble::Spent(why) => HubError::Unreachable { what, why },
        Trouble::Cancelled => HubError::Cancelled,
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> HubError {
    let path = path.to_path_buf();
    |error| HubError::Io { path, error }
}

/// A hub with a cache and settings of one's own.
#[cfg(test)]
pub(crate) fn cached_at(server: &str, token: Option<&str>, cache: &Path, offline: bool) -> Result<Hub, HubError> {
    Hub::new(server, token.map(str::to_string), Cached::at(cache), offline)
}
