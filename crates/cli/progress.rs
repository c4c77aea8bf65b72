//! How a run looks while it goes: bars on a terminal, lines elsewhere, JSON for programs.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gazal_engine::{Outcome, RunEvent};
use gazal_stage_api::Level;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::log::tail;
use crate::out::Out;
use crate::words;

/// Hears the events of a run.
pub(crate) trait Progress {
    fn hear(&mut self, event: &RunEvent);
}

/// The one that fits where the words go.
pub(crate) fn choose(out: &Out) -> Box<dyn Progress> {
    match out {
        Out { json: true, .. } => Box::new(Json),
        Out { quiet: true, .. } => Box::new(Lines { quiet: true, ..Lines::default() }),
        Out { terminal: true, .. } => Box::new(Bars::default()),
        _ => Box::new(Lines::default()),
    }
}

struct Json;

impl Progress for Json {
    /// The last event waits for the page of the run.
    fn hear(&mut self, event: &RunEvent) {
        if matches!(event, RunEvent::Run(_)) {
            return;
        }
        if let Ok(line) = serde_json::to_string(event) {
            let mut output = io::stdout().lock();
            let _ = writeln!(output, "{line}").and_then(|()| output.flush());
        }
    }
}

/// At most one line of progress a stage in this time.
const PAUSE: Duration = Duration::from_secs(5);

/// How fast a stage goes, from where this run found it.
struct Pace {
    since: Instant,
    first: u64,
    told: Option<Instant>,
}

impl Pace {
    fn new(done: u64) -> Pace {
        Pace { since: Instant::now(), first: done, told: None }
    }

    fn seconds_left(&self, done: u64, total: u64) -> Option<f64> {
        let made = done.saturating_sub(self.first);
        (made > 0).then(|| self.since.elapsed().as_secs_f64() * total.saturating_sub(done) as f64 / made as f64)
    }
}

#[derive(Default)]
struct Lines {
    /// Only failures.
    quiet: bool,
    paces: HashMap<String, Pace>,
    logs: HashMap<String, PathBuf>,
}

impl Lines {
    fn progress(&mut self, name: &str, (done, total): (u64, u64), unit: &str, metrics: &BTreeMap<String, f64>) {
        let pace = self.paces.entry(name.to_string()).or_insert_with(|| Pace::new(done));
        if pace.told.is_some_and(|told| told.elapsed() < PAUSE) && done != total {
            return;
        }
        pace.told = Some(Instant::now());
        let left = pace.seconds_left(done, total).filter(|_| done < total);
        let left = left.map(|seconds| format!("  {} left", words::duration(seconds))).unwrap_or_default();
        say(&format!("{name}: {done}/{total} {unit}{}{left}", measured(metrics)));
    }
}

impl Progress for Lines {
    fn hear(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Start { name, log, .. } => {
                self.logs.insert(name.clone(), log.clone());
                self.paces.remove(name);
                if !self.quiet {
                    say(&format!("{name}: starts"));
                }
            }
            RunEvent::Progress { name, done, total, unit, metrics } if !self.quiet => {
                self.progress(name, (*done, *total), unit, metrics);
            }
            RunEvent::Message { name, level, text } if !self.quiet || *level == Level::Warning => {
                say(&format!("{name}: {text}"));
            }
            RunEvent::Retry { .. } => retry(event).iter().for_each(|line| say(line)),
            RunEvent::Stage { name, state, seconds, error, .. } => {
                let worth = if self.quiet { *state == Outcome::Failed } else { *state != Outcome::Hit };
                if worth {
                    ending(name, *state, *seconds, error.as_deref(), self.logs.get(name))
                        .iter()
                        .for_each(|line| say(line));
                }
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: HashMap<String, ProgressBar>,
    paces: HashMap<String, Pace>,
    logs: HashMap<String, PathBuf>,
}

impl Bars {
    fn progress(&mut self, name: &str, (done, total): (u64, u64), unit: &str, metrics: &BTreeMap<String, f64>) {
        let Some(bar) = self.bars.get(name) else { return };
        let pace = self.paces.entry(name.to_string()).or_insert_with(|| {
            bar.set_style(style("{prefix} [{bar:30}] {pos}/{len} {msg}"));
            Pace::new(done)
        });
        let left = pace.seconds_left(done, total).filter(|_| done < total);
        let left = left.map(|seconds| format!("  {} left", words::duration(seconds))).unwrap_or_default();
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(format!("{unit}{}{left}", measured(metrics)));
    }

    fn start(&mut self, name: &str, log: &Path) {
        let bar = self.all.add(ProgressBar::new_spinner().with_style(style("{prefix} {spinner} {msg}")));
        bar.set_prefix(name.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bars.insert(name.to_string(), bar);
        self.paces.remove(name);
        self.logs.insert(name.to_string(), log.to_path_buf());
    }
}

impl Progress for Bars {
    fn hear(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Start { name, log, .. } => self.start(name, log),
            RunEvent::Progress { name, done, total, unit, metrics } => {
                self.progress(name, (*done, *total), unit, metrics)
            }
            RunEvent::Message { name, text, .. } => {
                let _ = self.all.println(format!("{name}: {text}"));
            }
            RunEvent::Retry { name, .. } => {
                if let Some(bar) = self.bars.remove(name) {
                    bar.finish_and_clear();
                }
                let _ = self.all.println(retry(event).join("\n"));
            }
            RunEvent::Stage { name, state, seconds, error, .. } => {
                if let Some(bar) = self.bars.remove(name) {
                    bar.finish_and_clear();
                }
                if *state != Outcome::Hit {
                    let lines = ending(name, *state, *seconds, error.as_deref(), self.logs.get(name));
                    let _ = self.all.println(lines.join("\n"));
                }
            }
            _ => {}
        }
    }
}

/// A template of ours is well-formed; a plain bar would do as well.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// `  loss 0.512  tokens/s 1234`
fn measured(metrics: &BTreeMap<String, f64>) -> String {
    let label = |name: &str| name.replace("_per_second", "/s");
    metrics.iter().map(|(name, value)| format!("  {} {}", label(name), words::number(*value))).collect()
}

/// Why a stage is tried again, and when.
fn retry(event: &RunEvent) -> Vec<String> {
    match event {
        RunEvent::Retry { name, error, attempt, of, pause } => {
            vec![format!("{name}: {error}; try {attempt} of {of} in {}", words::duration(*pause))]
        }
        _ => Vec::new(),
    }
}

/// How many last lines of a failed stage's log are shown.
const TAIL: usize = 10;

fn ending(name: &str, state: Outcome, seconds: f64, error: Option<&str>, log: Option<&PathBuf>) -> Vec<String> {
    let mut lines = vec![match error {
        Some(error) => format!("{name}: {}: {error}", state.name()),
        None => format!("{name}: {} ({})", state.name(), words::duration(seconds)),
    }];
    if state == Outcome::Failed
        && let Some(log) = log
    {
        lines.extend(tail(log, TAIL).into_iter().map(|line| format!("  | {line}")));
        lines.push(format!("  log: {}", log.display()));
    }
    lines
}

fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_read_as_words() {
        let metrics = BTreeMap::from([("loss".to_string(), 0.5123), ("tokens_per_second".to_string(), 1234.4)]);
        assert_eq!(measured(&metrics), "  loss 0.512  tokens/s 1234");
    }
}
