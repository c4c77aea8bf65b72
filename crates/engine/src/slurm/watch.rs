//! Whether others wait for a job too.
//!
//! Two runs that want the same action share its job. Each holds a shared kernel lock on the job's log, which ends with
//! its holder; a run that is stopped takes the job along only where nobody else waits for it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// A run's interest in a job.
pub(crate) struct Watch(Option<File>);

impl Watch {
    /// Where the file system has no locks, the run counts as the only one.
    pub fn new(log: &Path) -> Watch {
        let file = OpenOptions::new().append(true).open(log).ok();
        Watch(file.filter(|file| file.try_lock_shared().is_ok()))
    }

    pub fn is_shared(&self) -> bool {
        let Some(file) = &self.0 else { return false };
        let is_shared = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        let _ = file.try_lock_shared();
        is_shared
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_job_is_shared_as_long_as_two_watch_it() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let first = Watch::new(log.path());
        assert!(!first.is_shared());
        let second = Watch::new(log.path());
        assert!(first.is_shared() && second.is_shared());
        drop(first);
        assert!(!second.is_shared());
    }
}
