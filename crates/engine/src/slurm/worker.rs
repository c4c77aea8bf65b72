//! `gazal-pipe worker --request FILE --line N --events FILE`: one action as the job of a cluster, which has no pipe to
//! its runner. Its words are lines of a file; the signals USR1 and TERM are the word `cancel`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gazal_stage_api::{Event, Kinds, Level};
use gazal_store::Store;

use crate::{Request, Said, action, process};

/// Other machines see a line once it is synced: at the latest after this time, if more is said.
const SYNC: Duration = Duration::from_secs(1);

/// Performs the request on line `line` (from 0) of a file and tells of it at the end of another; true if its result is
/// in the store.
///
/// # Errors
/// When that file cannot be written to: then nothing can be told.
///
/// To be called before the program has other threads: they would get the signals.
pub fn job_worker_main(kinds: &Kinds, requests: &Path, line: usize, events: &Path) -> io::Result<bool> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let heard = process::heed_signals(&cancelled);
    process::adopt_orphans();
    let mut events = Events::open(events)?;
    let request = heard.and_then(|()| read_request(requests, line));
    let last = match request {
        Ok(request) => match answer(kinds, &request, &mut events, &cancelled) {
            Said::Failed(error) if is_soon(&cancelled) => stopped(&error, &mut events),
            last => last,
        },
        Err(error) => Said::Failed(format!("{}, line {}: {error}", requests.display(), line + 1)),
    };
    events.tell(&last);
    Ok(matches!(last, Said::Ran | Said::Found))
}

fn is_soon(flag: &AtomicBool) -> bool {
    let waited = Instant::now();
    while !flag.load(Ordering::SeqCst) && waited.elapsed() < SYNC {
        thread::sleep(SYNC / 20);
    }
    flag.load(Ordering::SeqCst)
}

/// Slurm signals all processes of a job, children first perhaps, so that a program of the stage may die of what asks
/// the stage to stop: that is no failure of the stage.
fn stopped(error: &str, events: &mut Events) -> Said {
    let text = format!("while it was asked to stop: {error}");
    events.tell(&Said::Event(Event::Message { level: Level::Info, text }));
    Said::Cancelled
}

fn read_request(path: &Path, line: usize) -> io::Result<Request> {
    let text = BufReader::new(File::open(path)?).lines().nth(line).ok_or(io::ErrorKind::UnexpectedEof)??;
    serde_json::from_str(&text).map_err(io::Error::from)
}

fn answer(kinds: &Kinds, request: &Request, events: &mut Events, cancelled: &AtomicBool) -> Said {
    match Store::open(&request.store) {
        Ok(store) => {
            let cancelled = || cancelled.load(Ordering::SeqCst);
            action::perform(&store, kinds, request, &mut |said| events.tell(&said), &cancelled)
        }
        Err(error) => Said::Unusable(error.to_string()),
    }
}

struct Events {
    file: File,
    synced: Option<Instant>,
}

impl Events {
    fn open(path: &Path) -> io::Result<Events> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // A node that failed may have left half a line.
        file.write_all(b"\n")?;
        Ok(Events { file, synced: None })
    }

    /// A file that cannot be written to is no reason to stop: the receipt tells as much.
    fn tell(&mut self, said: &Said) {
        let Ok(line) = serde_json::to_string(said) else { return };
        let _ = self.file.write_all(format!("{line}\n").as_bytes());
        if said.is_last() || self.synced.is_none_or(|synced| synced.elapsed() >= SYNC) {
            let _ = self.file.sync_data();
            self.synced = Some(Instant::now());
        }
    }
}
