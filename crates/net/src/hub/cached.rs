//! The user's own cache of the hub, in the layout that all clients of the hub share: `models--OWNER--NAME` with
//! `refs/REVISION` (a commit), `snapshots/COMMIT/FILE` (links) and `blobs/DIGEST`. Only read.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::digest::Expected;
use super::{RemoteFile, Repo};

pub(super) struct Cached {
    root: PathBuf,
}

impl Cached {
    /// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
    pub fn from_env() -> Cached {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || set("HOME").unwrap_or_default();
        let caches = || set("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache"));
        let hub = || set("HF_HOME").unwrap_or_else(|| caches().join("huggingface")).join("hub");
        Cached { root: set("HF_HUB_CACHE").unwrap_or_else(hub) }
    }

    #[cfg(test)]
    pub fn at(root: &Path) -> Cached {
        Cached { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a login has left: beside the cache.
    pub fn token(&self) -> Option<String> {
        let text = fs::read_to_string(self.root.parent()?.join("token")).ok()?;
        Some(text.trim().to_string()).filter(|token| !token.is_empty())
    }

    pub fn commit(&self, repo: &Repo, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.folder(repo).join("refs").join(revision)).ok()?;
        Some(commit.trim().to_string()).filter(|commit| super::is_commit(commit))
    }

    /// The files of a commit that are there.
    pub fn files(&self, repo: &Repo, commit: &str) -> io::Result<Vec<RemoteFile>> {
        let mut files = Vec::new();
        let root = self.folder(repo).join("snapshots").join(commit);
        if root.is_dir() {
            collect(&root, &root, &mut files)?;
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// Where a file of a commit would lie, by its digest or by its name.
    pub fn places(&self, repo: &Repo, commit: &str, file: &RemoteFile) -> Vec<PathBuf> {
        let folder = self.folder(repo);
        let blob = file.expected.name().map(|name| folder.join("blobs").join(name));
        blob.into_iter().chain([folder.join("snapshots").join(commit).join(&file.name)]).collect()
    }

    fn folder(&self, repo: &Repo) -> PathBuf {
        self.root.join(format!("{}--{}", repo.plural(), repo.id.replace('/', "--")))
    }
}

fn collect(root: &Path, folder: &Path, into: &mut Vec<RemoteFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, into)?;
        } else if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
            let blob = fs::read_link(&path).ok().and_then(|blob| Some(blob.file_name()?.to_str()?.to_string()));
            let size = fs::metadata(&path).ok().map(|found| found.len());
            let expected = Expected::named(&blob.unwrap_or_default());
            into.push(RemoteFile { name: name.to_string(), size, expected });
        }
    }
    Ok(())
}
