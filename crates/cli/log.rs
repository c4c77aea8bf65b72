//! `log`: the log of a stage from the last run in which it ran, or the story of a run.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use gazal_engine::{log_path, read_hits, read_record};
use gazal_store::{RunDir, Store};
use serde_json::{Value, json};

use crate::App;
use crate::args::{Args, Which};
use crate::failure::{Exit, Failure};
use crate::out::Out;
use crate::workspace::{Workspace, open_store};

pub(crate) fn log(app: &App, args: &Args, which: &Which, out: &mut Out) -> Result<Exit, Failure> {
    let store = open_store(args)?;
    let (runs, names) = match &which.run {
        Some(id) => (vec![store.run(id)?], which.words.clone()),
        None => {
            let workspace = Workspace::from_words(app, which)?;
            let named = !workspace.requested.targets.is_empty();
            let names = if named { workspace.select()?.targets } else { Vec::new() };
            let names = names.into_iter().map(|index| workspace.pipeline.stages[index].name.clone()).collect();
            (runs_of(&store, &workspace)?, names)
        }
    };
    if names.is_empty() {
        return story(&runs, out);
    }
    for name in &names {
        let text = runs.iter().find_map(|run| fs::read(log_path(run, name)).ok());
        let text = text.ok_or_else(|| Failure::wrong(format!("`{name}` has no log: it never ran"), ""))?;
        out.line(String::from_utf8_lossy(&text).trim_end());
    }
    Ok(Exit::Done)
}

/// The last lines of a log, as far as they lie in its last [`TAIL`] bytes: logs may be larger than memory. None where
/// there is no log.
pub(crate) fn tail(log: &Path, count: usize) -> Vec<String> {
    let text = last_bytes(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(ToString::to_string).collect()
}

const TAIL: u64 = 64 << 10;

fn last_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs of the pipeline file, youngest first.
fn runs_of(store: &Store, workspace: &Workspace) -> Result<Vec<RunDir>, Failure> {
    let mut runs = store.runs()?;
    runs.reverse();
    runs.retain(|run| read_record(run).is_ok_and(|record| record.header.file == workspace.file));
    Ok(runs)
}

/// The youngest run, told line by line; as it was written, for programs.
fn story(runs: &[RunDir], out: &mut Out) -> Result<Exit, Failure> {
    let run = runs.first().ok_or_else(|| Failure::wrong("this pipeline has not run yet", "gazal-pipe run FILE"))?;
    let events = fs::read_to_string(run.file("events.jsonl")).unwrap_or_default();
    let hits = read_hits(run).into_iter();
    if out.json {
        let hits = hits.map(|(name, key)| json!({"event": "stage", "name": name, "state": "hit", "key": key}));
        hits.for_each(|hit| out.json_line(&hit));
        out.line(events.trim_end());
        return Ok(Exit::Done);
    }
    let started = read_record(run).map(|record| record.header.started).unwrap_or_default();
    hits.for_each(|(name, _)| out.line(format!("{started}  {name}  hit")));
    let lines = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.for_each(|event| out.line(told(&event)));
    Ok(Exit::Done)
}

/// `2026-01-02T03:04:05.678Z  shout  stage ran`
fn told(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let detail = match text("event") {
        "progress" => format!("{}/{} {} {}", event["done"], event["total"], text("unit"), event["metrics"]),
        "stage" => format!("{} {}", text("state"), text("error")),
        "message" => text("text").to_string(),
        other => other.to_string(),
    };
    format!("{}  {}  {}", text("at"), text("name"), detail.trim_end())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_end_of_a_large_log_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "a line\n".repeat(100_000) + "the last but one\nthe last").unwrap();
        assert_eq!(tail(&log, 2), ["the last but one", "the last"]);
        fs::write(&log, "x".repeat(200_000)).unwrap();
        assert_eq!(tail(&log, 2)[0].len(), 64 << 10);
        assert!(tail(&folder.path().join("none"), 2).is_empty());
    }
}
