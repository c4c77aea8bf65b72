//! Folders of runs: `runs/<id>/` with what a run writes about itself. The id is the time of its start, so that names
//! in order are runs in order; one that seems to start before the last is numbered after it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::clock::Moment;
use crate::error::within;
use crate::{Store, StoreError, disk, folder};

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    id: String,
    path: PathBuf,
}

impl RunDir {
    /// `20251121-093305-123`: the time of its start in UTC, to the millisecond; with `+0001` and so on behind it where
    /// the clock stood still or went back.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn at(path: PathBuf) -> Option<RunDir> {
        let id = path.file_name()?.to_str()?.to_string();
        path.is_dir().then_some(RunDir { id, path })
    }
}

impl Store {
    /// A new run's folder, empty. Its id is younger than all others, whatever the clock says.
    pub fn new_run(&self) -> Result<RunDir, StoreError> {
        self.new_run_at(SystemTime::now())
    }

    pub(crate) fn new_run_at(&self, now: SystemTime) -> Result<RunDir, StoreError> {
        let runs = self.folder("runs");
        loop {
            let taken = folder::list(&runs).map_err(within(&runs))?;
            let last = taken.last().and_then(|path| path.file_name()?.to_str()).unwrap_or_default();
            let id = later(run_id(now), last);
            let path = runs.join(&id);
            match disk::make_folder(&path) {
                Ok(()) => return Ok(RunDir { id, path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::within(&path, error)),
            }
        }
    }

    /// All runs, oldest first.
    pub fn runs(&self) -> Result<Vec<RunDir>, StoreError> {
        let path = self.folder("runs");
        Ok(folder::list(&path).map_err(within(&path))?.into_iter().filter_map(RunDir::at).collect())
    }

    /// A run by its id, by the beginning of its id where only one has it, or the youngest by `last`.
    pub fn run(&self, id_or_last: &str) -> Result<RunDir, StoreError> {
        let mut runs = self.runs()?;
        if id_or_last == "last" {
            return runs.pop().ok_or_else(|| self.no_run(id_or_last, ": nothing has run yet".to_string()));
        }
        if let Some(index) = runs.iter().position(|run| run.id == id_or_last) {
            return Ok(runs.swap_remove(index));
        }
        runs.retain(|run| run.id.starts_with(id_or_last));
        match (runs.len(), runs.pop()) {
            (1, Some(run)) => Ok(run),
            (0, _) => Err(self.no_run(id_or_last, String::new())),
            (count, _) => Err(self.no_run(id_or_last, format!(": {count} runs begin like this"))),
        }
    }

    fn no_run(&self, name: &str, hint: String) -> StoreError {
        StoreError::NoRun { path: self.folder("runs"), name: name.to_string(), hint }
    }
}

/// `id` if it comes after `last`, else the next after `last`: `20251121-093305-123+0001`.
fn later(id: String, last: &str) -> String {
    if id.as_str() > last {
        return id;
    }
    let (base, count) = last.split_once('+').unwrap_or((last, "0"));
    format!("{base}+{:04}", count.parse::<u32>().unwrap_or_default() + 1)
}

fn run_id(time: SystemTime) -> String {
    let Moment { year, month, day, hour, minute, second, milli } = Moment::of(time);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}-{milli:03}")
}
