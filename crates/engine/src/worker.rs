//! `gazal-pipe worker`: one action in a process of its own, so that a panic, an out-of-memory kill or a driver
//! crash fails one stage only.

use std::io::{self, BufRead, BufReader, Stdin, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use gazal_stage_api::Kinds;
use gazal_store::Store;

use crate::kinds::EXEC;
use crate::protocol::CANCEL;
use crate::{Request, Said, action, process};

/// Reads a request from standard input, performs it, and tells of it on standard output; true if it was
/// understood and answered.
pub fn worker_main(kinds: &Kinds) -> bool {
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    let request = match input.read_line(&mut line).map_err(|error| error.to_string()) {
        Ok(0) => Err("no request came".to_string()),
        Ok(_) => serde_json::from_str::<Request>(&line).map_err(|error| format!("bad request: {error}")),
        Err(error) => Err(error),
    };
    match request {
        Ok(request) => {
            tell(&answer(kinds, &request, input));
            true
        }
        Err(message) => {
            tell(&Said::Failed(message));
            false
        }
    }
}

fn answer(kinds: &Kinds, request: &Request, input: BufReader<Stdin>) -> Said {
    process::adopt_orphans();
    if request.manifest.kind != EXEC {
        process::die_with_parent();
    }
    let cancelled = Arc::new(AtomicBool::new(false));
    listen(input, Arc::clone(&cancelled));
    match Store::open(&request.store) {
        Ok(store) => {
            action::perform(&store, kinds, request, &mut |said| tell(&said), &|| cancelled.load(Ordering::SeqCst))
        }
        Err(error) => Said::Unusable(error.to_string()),
    }
}

/// Waits for the word to stop; when the pipe ends, the runner is gone, and this process goes with all it started.
fn listen(input: BufReader<Stdin>, cancelled: Arc<AtomicBool>) {
    thread::spawn(move || {
        for line in input.lines() {
            match line {
                Ok(word) if word == CANCEL => cancelled.store(true, Ordering::SeqCst),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        process::end_with_descendants();
    });
}

/// A runner that no longer listens is no reason to stop: the closed input is.
fn tell(said: &Said) {
    if let Ok(line) = serde_json::to_string(said) {
        let mut output = io::stdout().lock();
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    }
}
