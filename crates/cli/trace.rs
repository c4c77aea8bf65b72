//! `--trace FILE`: when each stage ran, in the Trace Event Format that Perfetto and chrome://tracing read.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use gazal_engine::{Outcome, RunEvent};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};

/// Hears a run and remembers when.
pub(crate) struct Trace {
    began: Instant,
    /// Stage to its lane and its start in microseconds.
    open: BTreeMap<String, (usize, u64)>,
    events: Vec<Value>,
}

impl Trace {
    pub fn new() -> Trace {
        Trace { began: Instant::now(), open: BTreeMap::new(), events: Vec::new() }
    }

    pub fn hear(&mut self, event: &RunEvent) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match event {
            RunEvent::Start { name, .. } => drop(self.open.insert(name.clone(), (self.free_lane(), now))),
            RunEvent::Stage { name, state, key, error, .. } => {
                let arguments = json!({"state": state, "key": key, "error": error});
                self.end(name, *state, &arguments, now);
            }
            RunEvent::Retry { name, error, .. } => self.end(name, Outcome::Failed, &json!({"error": error}), now),
            RunEvent::Progress { name, metrics, .. } if !metrics.is_empty() => {
                self.events.push(json!({"name": name, "ph": "C", "ts": now, "pid": 1, "args": metrics}));
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &str, state: Outcome, arguments: &Value, now: u64) {
        if let Some((lane, start)) = self.open.remove(name) {
            self.events.push(json!({
                "name": name, "cat": state.name(), "ph": "X", "ts": start, "dur": now - start, "pid": 1, "tid": lane, "args": arguments,
            }));
        }
    }

    /// Stages that run at once lie below each other.
    fn free_lane(&self) -> usize {
        let taken = |lane: &usize| self.open.values().any(|(other, _)| other == lane);
        (1..).find(|lane| !taken(lane)).unwrap_or_default()
    }

    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = json!({"traceEvents": self.events, "displayTimeUnit": "ms"}).to_string();
        std::fs::write(path, text)
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot write the trace {}: {error}", path.display())))
    }
}
