//! `gazal-pipe guard`: the parent of a worker that starts programs.
//!
//! A worker ends what it has started, even what left its process group. When the worker itself is killed, its orphans
//! go to the nearest ancestor that adopts them: this process, which only waits for its worker and ends what that leaves.
//! So nothing of a stage outlives it, the runner and the worker killed at the same moment included.
//!
//! It also sees the end of the runner, by the pipe that the worker listens on: a worker that does not go by itself then,
//! since it was stopped, is ended, so that the action's lock is free for others.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};

use crate::process;

/// How long a worker may take to go after the end of its runner.
const GRACE: Duration = Duration::from_secs(2);

/// Starts `program worker` with this process's input and output, waits for it, and ends what it has left. Ends by the
/// signal by which the worker ended.
///
/// # Errors
/// When the worker could not be started.
pub fn guard_main(program: &Path) -> io::Result<ExitStatus> {
    process::adopt_orphans();
    thread::spawn(|| {
        if runner_is_gone() {
            // Usually the end: the worker takes its whole group along, which is this process too.
            thread::sleep(GRACE);
            process::end_with_descendants();
        }
    });
    let status = Command::new(program).arg("worker").status()?;
    process::end_descendants();
    if let Some(signal) = status.signal().and_then(|number| Signal::try_from(number).ok()) {
        raise(signal)?;
    }
    Ok(status)
}

/// Waits for the end of the pipe, and leaves what is written into it to the worker.
fn runner_is_gone() -> bool {
    let input = io::stdin();
    let mut pipe = [PollFd::new(input.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut pipe, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            other => return other.is_ok(),
        }
    }
}
