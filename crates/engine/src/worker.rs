//! `gazal-pipe worker`: actions in a process of its own, so that a panic, an out-of-memory kill or a driver crash fails
//! one stage only.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Stdin, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use gazal_stage_api::Kinds;
use gazal_store::{Store, StoreError};

use crate::protocol::CANCEL;
use crate::{Request, Said, action, process};

/// Reads requests from standard input, one a line, performs them and tells of them on standard output. False if none
/// came; otherwise it ends with its input.
pub fn worker_main(kinds: &Kinds) -> bool {
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    if !matches!(input.read_line(&mut line), Ok(read) if read > 0) {
        tell(&Said::Failed("no request came".into()));
        return false;
    }
    process::adopt_orphans();
    let cancelled = Arc::new(AtomicBool::new(false));
    let requests = listen(input, Arc::clone(&cancelled));
    while !line.is_empty() {
        tell(&match serde_json::from_str(&line) {
            Ok(request) => answer(kinds, &request, &cancelled),
            Err(error) => Said::Failed(format!("bad request: {error}")),
        });
        line = requests.recv().unwrap_or_default();
    }
    true
}

fn answer(kinds: &Kinds, request: &Request, cancelled: &AtomicBool) -> Said {
    if !request.starts_programs() {
        process::die_with_parent();
    }
    if let Err(error) = write_to(&request.log) {
        return StoreError::within(&request.log, error).into();
    }
    match open_store(request) {
        Ok(store) => {
            action::perform(&store, kinds, request, &mut |said| tell(&said), &|| cancelled.load(Ordering::SeqCst))
        }
        Err(error) => Said::Unusable(error.to_string()),
    }
}

/// The store of a request, with its remote.
pub(crate) fn open_store(request: &Request) -> Result<Store, StoreError> {
    let store = Store::open(&request.store)?;
    match &request.remote {
        Some(remote) => remote.attach(store),
        None => Ok(store),
    }
}

/// From now on what stages and their programs print goes to the log of this action.
fn write_to(log: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    nix::unistd::dup2_stderr(file).map_err(io::Error::from)
}

/// Hears the word to stop and the next requests; when the pipe ends, the runner is gone or done with this worker, and
/// the process goes with all it started. A request takes back a word to stop that came too late for the one before.
fn listen(input: BufReader<Stdin>, cancelled: Arc<AtomicBool>) -> Receiver<String> {
    let (sender, requests): (Sender<String>, _) = mpsc::channel();
    thread::spawn(move || {
        for line in input.lines().map_while(Result::ok) {
            cancelled.store(line == CANCEL, Ordering::SeqCst);
            if line != CANCEL && sender.send(line).is_err() {
                break;
            }
        }
        process::end_with_descendants();
    });
    requests
}

/// A runner that no longer listens is no reason to stop: the closed input is.
fn tell(said: &Said) {
    if let Ok(line) = serde_json::to_string(said) {
        let mut output = io::stdout().lock();
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    }
}
