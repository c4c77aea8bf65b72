//! Where async stops: a small runtime of the remote's own, and blocking calls into it.
//!
//! Work is handed over and waited for on a channel, so that this may be called from anywhere, a thread of somebody
//! else's runtime included.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, channel};

use tokio::runtime::{Builder, Runtime};

/// Threads that move bytes; the network is slower than they are.
const THREADS: usize = 2;

#[derive(Debug)]
pub(super) struct Door {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// Work that was handed over.
pub(super) struct Job<T>(Receiver<T>);

impl Door {
    pub(super) fn open() -> io::Result<Door> {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("remote").enable_io().enable_time().build();
        Ok(Door { runtime: Some(runtime?) })
    }

    pub(super) fn start<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Job<T> {
        let (sender, receiver) = channel();
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                let _ = sender.send(work.await);
            });
        }
        Job(receiver)
    }

    /// `None` if the work panicked.
    pub(super) fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.start(work).wait()
    }
}

impl<T> Job<T> {
    /// `None` if the work panicked.
    pub(super) fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl Drop for Door {
    /// A runtime that is dropped in the usual way waits for its threads, and panics where that is not allowed.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
