//! One file: from the user's cache, or over the network, going on where an earlier attempt has stopped.
//!
//! What came in lies in `FILE.part` until it is whole and checked. So a file that is there under its own name is the
//! right one, as far as the disk kept it: it is checked again before it is believed.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use ureq::http::StatusCode;

use super::{Hub, HubError, Listener, RemoteFile, Repo, found, io, push};
use crate::client::Trouble;

/// Attempts in a row that bring nothing.
const IDLE: u32 = 5;

impl Hub {
    /// Puts a file of a commit at `to`; true if it came over the network.
    ///
    /// # Errors
    /// [`HubError`]; what has come in stays beside `to` and is gone on with.
    pub fn fetch(
        &self,
        (repo, commit): (&Repo, &str),
        file: &RemoteFile,
        to: &Path,
        listener: &mut Listener,
    ) -> Result<bool, HubError> {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(io(folder))?;
        }
        if to.is_file() && file.expected.fits(to).map_err(io(to))? {
            return Ok(false);
        }
        for place in self.cached.places(repo, commit, file) {
            if place.is_file() && file.expected.fits(&place).map_err(io(&place))? {
                fs::copy(&place, to).map_err(io(to))?;
                return Ok(false);
            }
        }
        if self.offline {
            return Err(self.is_not_here(repo, &format!("{commit}/{}", file.name)));
        }
        self.fetch_whole((repo, commit), file, to, listener)?;
        Ok(true)
    }

    fn fetch_whole(
        &self,
        (repo, commit): (&Repo, &str),
        file: &RemoteFile,
        to: &Path,
        listener: &mut Listener,
    ) -> Result<(), HubError> {
        let what = format!("{}@{commit}/{}", repo.id, file.name);
        let mut url = match repo.kind {
            super::RepoKind::Model => self.url(&[], repo),
            super::RepoKind::Dataset => self.url(&["datasets"], repo),
        };
        push(&mut url, &["resolve", commit]);
        push(&mut url, &file.name.split('/').collect::<Vec<_>>());
        let part = Part::of(to);
        for _ in 0..2 {
            self.fill(&part, &url, (&what, file.size), listener)?;
            if file.expected.fits(&part.path).map_err(io(&part.path))? {
                return fs::rename(&part.path, to).map_err(io(to));
            }
            part.remove()?;
        }
        Err(HubError::Damaged(what))
    }

    /// Asks for what is missing until nothing is.
    fn fill(
        &self,
        part: &Part,
        url: &url::Url,
        (what, size): (&str, Option<u64>),
        listener: &mut Listener,
    ) -> Result<(), HubError> {
        let mut idle = 0;
        loop {
            let before = part.len();
            if size.is_some_and(|size| before > size) {
                part.remove()?;
                continue;
            }
            if size == Some(before) && part.path.is_file() {
                return Ok(());
            }
            let why = match self.client.get(url, before, listener.cancelled) {
                Ok(mut answer) => {
                    let goes_on = answer.status() == StatusCode::PARTIAL_CONTENT;
                    match part.take(goes_on, &mut answer.body_mut().as_reader(), listener)? {
                        Ended::Whole if size.is_none_or(|size| part.len() == size) => return Ok(()),
                        Ended::Whole => "it ends too early".to_string(),
                        Ended::Broken(why) => why,
                    }
                }
                // Nothing lies behind what is there: what is there is too long, or was another file.
                Err(Trouble::Status(StatusCode::RANGE_NOT_SATISFIABLE)) if before > 0 => {
                    part.remove()?;
                    "it has become shorter".to_string()
                }
                Err(trouble) => return Err(found(trouble, what)),
            };
            idle = if part.len() > before { 0 } else { idle + 1 };
            if idle == IDLE {
                return Err(HubError::Unreachable { what: what.into(), why });
            }
        }
    }
}

/// A file that is coming in.
struct Part {
    path: PathBuf,
}

/// How an answer ended.
enum Ended {
    Whole,
    Broken(String),
}

impl Part {
    fn of(to: &Path) -> Part {
        let mut name = to.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        Part { path: to.with_file_name(name) }
    }

    fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |found| found.len())
    }

    fn remove(&self) -> Result<(), HubError> {
        fs::remove_file(&self.path).map_err(io(&self.path))
    }

    /// Writes what an answer brings: behind what is there, or instead of it.
    fn take(&self, goes_on: bool, from: &mut dyn Read, listener: &mut Listener) -> Result<Ended, HubError> {
        let mut options = OpenOptions::new();
        let options = if goes_on { options.append(true) } else { options.write(true).truncate(true) };
        let mut file: File = options.create(true).open(&self.path).map_err(io(&self.path))?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            if (listener.cancelled)() {
                return Err(HubError::Cancelled);
            }
            match from.read(&mut buffer) {
                Ok(0) => return Ok(Ended::Whole),
                Ok(count) => {
                    file.write_all(&buffer[..count]).map_err(io(&self.path))?;
                    (listener.heard)(count as u64);
                }
                Err(error) => return Ok(Ended::Broken(error.to_string())),
            }
        }
    }
}
