//! One job as its runner sees it: what its worker says, what the store has, what the queue shows, and what follows.
//!
//! A job is finished when its receipt appears or its worker has said its last word; the queue is asked for what
//! neither can tell. Whatever looks like an end without either has to last for a while: files of a shared file system
//! come late, and a job whose node failed or that was preempted goes back into the queue.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gazal_stage_api::{Event, Level};
use gazal_store::{Digest, Receipt, Store};

use super::needs::{EARLY, SlurmNeeds};
use super::queue::{self, Phase, Row};
use super::submission::Found;
use super::tail::{Tail, last_lines};
use super::watch::Watch;
use crate::{Report, Said, Sink};

/// What a run wants of a job that it no longer wants to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Checkpoint,
    End,
}

/// A job that its runner waits for.
pub(crate) struct Task {
    pub id: String,
    key: Digest,
    /// What was there before: not what this job makes.
    before: Option<Receipt>,
    needs: SlurmNeeds,
    tail: Tail,
    log: PathBuf,
    sink: Sink,
    watch: Arc<Watch>,
    /// How it ended, for people; set before the sink hears of the end.
    end: Arc<OnceLock<String>>,
    pub wish: Option<Wish>,
    /// It goes on for others.
    pub left: bool,
    last: Option<Said>,
    row: Option<Row>,
    /// When the queue first and last showed it as if it had ended, without a sign of life between.
    over: Option<(Instant, Instant)>,
}

/// What a task is made of.
pub(crate) struct Begin {
    pub found: Found,
    pub key: Digest,
    pub before: Option<Receipt>,
    pub needs: SlurmNeeds,
    pub sink: Sink,
    pub watch: Arc<Watch>,
    pub end: Arc<OnceLock<String>>,
}

impl Task {
    pub fn new(begin: Begin) -> Task {
        let Begin { found, key, before, needs, sink, watch, end } = begin;
        let (tail, log) = (Tail::new(found.events), found.log);
        Task {
            id: found.id,
            key,
            before,
            needs,
            tail,
            log,
            sink,
            watch,
            end,
            wish: None,
            left: false,
            last: None,
            row: None,
            over: None,
        }
    }

    /// Takes note of what the run wants. A job that others wait for is left to them.
    pub fn hear_wish(&mut self, wish: Wish) {
        self.left = self.left || self.watch.is_shared();
        if self.left {
            self.tell(Level::Info, format!("Slurm job {} goes on: another run waits for it", self.id));
        } else {
            self.wish = self.wish.max(Some(wish));
        }
    }

    /// Passes on what the worker said. After a requeue it begins anew, and its last words were not the last.
    pub fn listen(&mut self) {
        for said in self.tail.news() {
            if said.is_last() {
                self.last = Some(said);
            } else {
                self.last = None;
                (self.sink)(Report::Said(said));
            }
        }
    }

    /// Takes note of what the queue shows of it.
    pub fn see(&mut self, row: Option<&Row>) {
        let is_over = row.is_none_or(|row| row.phase() == Phase::Over);
        let now = Instant::now();
        self.over = is_over.then(|| (self.over.map_or(now, |(first, _)| first), now));
        let Some(row) = row else { return };
        if let Some((level, text)) = news(self.row.as_ref(), row) {
            self.tell(level, text);
        }
        self.row = Some(row.clone());
    }

    /// The last words on it, once there are some. `grace`: how long an end must last to be believed.
    pub fn verdict(&self, store: &Store, grace: Duration) -> Option<Said> {
        if self.left {
            return Some(Said::Cancelled);
        }
        let receipt = || store.receipt(&self.key).ok().flatten();
        let made = || receipt().is_some_and(|now| Some(now) != self.before);
        let lasting = self.over.is_some_and(|(first, last)| last - first >= grace);
        match &self.last {
            // What a node has published may be seen here a little later.
            Some(Said::Ran) => (lasting || made()).then_some(Said::Ran),
            Some(Said::Found) => (lasting || receipt().is_some()).then_some(Said::Found),
            Some(Said::Cancelled) if self.wish.is_some() => Some(Said::Cancelled),
            Some(Said::Cancelled) | None if made() => Some(if self.waits() { Said::Found } else { Said::Ran }),
            None if self.wish.is_some() && self.over.is_some() => Some(Said::Cancelled),
            // Slurm sees to its end.
            None if self.wish == Some(Wish::End) && self.is("COMPLETING") => Some(Said::Cancelled),
            Some(Said::Cancelled) | None => lasting.then(|| Said::Failed(self.obituary())),
            Some(last) => Some(last.clone()),
        }
    }

    fn is(&self, state: &str) -> bool {
        self.row.as_ref().is_some_and(|row| row.state == state)
    }

    /// Whether no worker has begun, as far as is known here.
    pub fn waits(&self) -> bool {
        !self.tail.has_begun() && self.row.as_ref().is_some_and(|row| row.phase() == Phase::Waits)
    }

    /// Tells the run that it is over.
    pub fn finish(self, last: Said) {
        let state = self.row.as_ref().map_or("gone", |row| row.state.as_str());
        let _ = self.end.set(format!("Slurm job {}: {state}", self.id));
        (self.sink)(Report::Said(last));
        (self.sink)(Report::Ended);
    }

    pub fn tell(&self, level: Level, text: String) {
        (self.sink)(Report::Said(Said::Event(Event::Message { level, text })));
    }

    /// Why it ended without a result, what to do about it, and what its log says.
    fn obituary(&self) -> String {
        let said = last_lines(&self.log);
        let said = if said.is_empty() { String::new() } else { format!("\nits log ends with:\n{said}") };
        format!("Slurm job {}: {}{said}", self.id, self.cause())
    }

    fn cause(&self) -> String {
        let checkpoint = matches!(self.last, Some(Said::Cancelled));
        let resume =
            if checkpoint { "it wrote a checkpoint: run again" } else { "run again to go on from its last checkpoint" };
        let Some(row) = &self.row else { return "it is gone from the queue, without a result".into() };
        match row.state.as_str() {
            "TIMEOUT" => format!("it ran into its time limit{}: raise `timeout`, or {resume}", limit(row)),
            "COMPLETED" | "FAILED" if checkpoint && self.is_at_limit(row) => {
                format!("it stopped before its time limit{}: raise `timeout`; {resume}", limit(row))
            }
            "OUT_OF_MEMORY" => {
                format!("it needed more memory than it was given{}: raise `needs.memory`", self.memory())
            }
            "PREEMPTED" => format!("it was preempted, and this cluster does not requeue it: {resume}"),
            "NODE_FAIL" => format!("its node failed, and this cluster does not requeue it: {resume}"),
            "CANCELLED" => format!("it was cancelled with `scancel`: {resume}"),
            _ if checkpoint => format!("somebody asked it to stop: {resume}"),
            "DEADLINE" | "BOOT_FAIL" | "REVOKED" => format!("Slurm ended it ({})", row.state),
            state if row.phase() == Phase::Over => format!("its worker died ({state}{})", self.exit()),
            state => format!("it is gone from the queue (last seen {state}), without a result"),
        }
    }

    fn is_at_limit(&self, row: &Row) -> bool {
        let (Some(used), Some(limit), Some(notice)) = (row.used, row.limit, self.needs.notice()) else { return false };
        used + notice + EARLY + EARLY >= limit
    }

    fn memory(&self) -> String {
        self.needs.memory.map_or(String::new(), |bytes| format!(" ({} MiB)", bytes.div_ceil(1 << 20)))
    }

    fn exit(&self) -> String {
        let field = |name| queue::detail(&self.id, name);
        let code = field("ExitCode").map_or(String::new(), |code| format!(", exit code and signal {code}"));
        let node = field("NodeList").filter(|node| node != "(null)");
        node.map_or(code.clone(), |node| format!("{code}, on {node}"))
    }
}

/// What a person should hear of a change in the queue.
fn news(was: Option<&Row>, now: &Row) -> Option<(Level, String)> {
    let id = &now.id;
    if was.is_some_and(|was| was.phase() == now.phase() && (was.reason == now.reason || now.phase() != Phase::Waits)) {
        return None;
    }
    match now.phase() {
        Phase::Waits if was.is_some_and(|was| was.phase() != Phase::Waits) => {
            let text = format!("Slurm job {id} is back in the queue (its node failed, or others went first)");
            Some((Level::Warning, text))
        }
        Phase::Waits if now.reason == "None" => None,
        Phase::Waits => Some((Level::Info, format!("Slurm job {id} waits: {}", now.reason))),
        Phase::Runs => Some((Level::Info, format!("Slurm job {id} runs on {}", now.node))),
        Phase::Over => None,
    }
}

fn limit(row: &Row) -> String {
    row.limit.map_or(String::new(), |limit| format!(" of {}", minutes(limit)))
}

/// Slurm counts minutes.
fn minutes(limit: Duration) -> String {
    let minutes = limit.as_secs().div_ceil(60);
    if minutes.is_multiple_of(60) { format!("{} h", minutes / 60) } else { format!("{minutes} min") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::fs;

    use super::*;

    /// What comes out for a job that the queue shows in `state`, whose worker has written `words`, after a grace that
    /// is over or not.
    fn verdict(state: &str, words: &str, wish: Option<Wish>, grace: Duration) -> Option<Said> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let [events, log] = ["events", "log"].map(|name| dir.path().join(name));
        fs::write(&events, words).unwrap();
        fs::write(&log, "the end\n").unwrap();
        let mut task = Task::new(Begin {
            found: Found { id: "0".into(), events, log },
            key: Digest::of("x"),
            before: None,
            needs: SlurmNeeds { memory: Some(1 << 30), ..SlurmNeeds::default() },
            sink: Box::new(|_| ()),
            watch: Arc::new(Watch::new(&dir.path().join("log"))),
            end: Arc::default(),
        });
        task.wish = wish;
        task.listen();
        task.see(Some(&row(state)));
        task.verdict(&store, grace)
    }

    fn row(state: &str) -> Row {
        Row {
            id: "0".into(),
            state: state.into(),
            reason: "None".into(),
            used: Some(Duration::from_secs(36_000)),
            limit: Some(Duration::from_secs(86_400)),
            node: "n1".into(),
            name: String::new(),
            comment: String::new(),
            script: PathBuf::new(),
        }
    }

    const CANCELLED: &str = "{\"said\":\"cancelled\"}\n";

    #[test]
    fn an_end_without_a_word_is_a_failure_with_a_remedy_once_it_has_lasted() {
        for (state, words, part) in [
            ("OUT_OF_MEMORY", "", "(1024 MiB): raise `needs.memory`"),
            ("TIMEOUT", "", "its time limit of 24 h: raise `timeout`, or run again to go on from its last checkpoint"),
            ("NODE_FAIL", "", "its node failed"),
            ("PREEMPTED", CANCELLED, "it was preempted, and this cluster does not requeue it: it wrote a checkpoint"),
            ("CANCELLED", "", "with `scancel`"),
            ("COMPLETED", CANCELLED, "somebody asked it to stop"),
            ("FAILED", "", "its worker died (FAILED"),
        ] {
            assert_eq!(verdict(state, words, None, Duration::MAX), None, "{state}");
            let Some(Said::Failed(message)) = verdict(state, words, None, Duration::ZERO) else { panic!("{state}") };
            assert!(message.contains(part) && message.ends_with("its log ends with:\nthe end"), "{message}");
        }
    }

    #[test]
    fn a_job_that_waits_or_runs_has_not_ended_whatever_it_said_before() {
        for state in ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED"] {
            assert_eq!(verdict(state, CANCELLED, None, Duration::ZERO), None, "{state}");
        }
    }

    #[test]
    fn what_was_asked_for_is_believed_at_once() {
        let asked = |state, words, wish| verdict(state, words, Some(wish), Duration::MAX);
        assert_eq!(asked("RUNNING", CANCELLED, Wish::Checkpoint), Some(Said::Cancelled));
        assert_eq!(asked("CANCELLED", "", Wish::Checkpoint), Some(Said::Cancelled));
        assert_eq!(asked("COMPLETING", "", Wish::Checkpoint), None);
        assert_eq!(asked("COMPLETING", "", Wish::End), Some(Said::Cancelled));
        let failed = verdict("RUNNING", "{\"said\":\"failed\",\"what\":\"no\"}\n", None, Duration::MAX);
        assert_eq!(failed, Some(Said::Failed("no".into())));
    }
}
