//! The table of stages: how each stands, what it took, why it ran, where its words are.

use std::collections::HashMap;
use std::path::Path;

use gazal_engine::{Cause, log_path};

use super::facts::{Facts, Stage, Standing};
use super::html::{section, some, state, table, text};
use crate::log::tail;
use crate::words;

/// Last lines of a failed stage's log.
const TAIL: usize = 20;
/// Causes that are shown; the first say most.
const CAUSES: usize = 3;
/// Points of a matrix that did well and are shown one by one.
const ALIKE: usize = 20;
/// Rows beyond which only what did not do well is shown.
const ROWS: usize = 400;

/// Where the page's links to logs lead.
pub(crate) struct Logs {
    /// Before a log's name.
    before: String,
}

impl Logs {
    pub fn of(facts: &Facts, beside: bool) -> Logs {
        let folder = facts.dir.path().display().to_string();
        Logs { before: if beside { "./".into() } else { format!("file://{}/", address(&folder)) } }
    }

    fn link(&self, facts: &Facts, stage: &Stage) -> Option<String> {
        let path = facts.log(stage)?;
        let name = path.file_name()?.to_string_lossy().into_owned();
        Some(format!("<a href=\"{}{}\">log</a>", self.before, address(&name)))
    }
}

/// A path as part of a URL.
fn address(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub(crate) fn show(facts: &Facts, logs: &Logs) -> String {
    let (mut rows, mut shown): (Vec<String>, HashMap<&str, usize>) = (Vec::new(), HashMap::new());
    let (mut hidden, mut order): (HashMap<&str, Vec<&Stage>>, Vec<&str>) = (HashMap::new(), Vec::new());
    for (index, stage) in facts.stages.iter().enumerate() {
        let alike = shown.entry(&stage.base).or_default();
        let calm = !matches!(stage.standing, Standing::Failed | Standing::Killed | Standing::Interrupted);
        if (calm && (*alike >= ALIKE || rows.len() >= ROWS)) || rows.len() >= 2 * ROWS {
            let group = hidden.entry(&stage.base).or_default();
            if group.is_empty() {
                order.push(&stage.base);
            }
            group.push(stage);
            continue;
        }
        *alike += 1;
        rows.push(row(facts, stage, index, logs));
    }
    let (named, more) = some(&order, ROWS);
    rows.extend(named.iter().map(|base| rest(base, &hidden[base])));
    if more > 0 {
        rows.push(format!("<tr class=\"rest\"><td colspan=\"7\">and stages of {more} more names</td></tr>"));
    }
    let head = ["Stage", "Kind", "State", "Time", "Memory", "Why it ran", "Key"];
    section("stages", "Stages", &table("stages", &head, &rows))
}

fn row(facts: &Facts, stage: &Stage, index: usize, logs: &Logs) -> String {
    let peak = stage.receipt.as_ref().and_then(|receipt| receipt.peak_bytes).map(words::bytes).unwrap_or_default();
    let key = stage.key.map(|key| format!("<code title=\"{key}\">{}</code>", key.short())).unwrap_or_default();
    let log = logs.link(facts, stage).map(|link| format!("<small>{link}</small>")).unwrap_or_default();
    let main = format!(
        "<tr id=\"stage-{index}\"><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{peak}</td><td class=\"why\">{}</td><td>{key}{log}</td></tr>",
        text(&stage.name),
        text(&stage.kind),
        state(stage.standing),
        time(stage),
        why(stage),
    );
    let bad = matches!(stage.standing, Standing::Failed | Standing::Allowed | Standing::Killed);
    match bad {
        true => format!("{main}\n<tr class=\"trouble\"><td colspan=\"7\">{}</td></tr>", trouble(facts, stage, logs)),
        false => main,
    }
}

/// What it took; for a hit, what it took when it was made.
fn time(stage: &Stage) -> String {
    let made = stage.receipt.as_ref().map(|receipt| words::duration(receipt.seconds));
    match (stage.standing, stage.seconds) {
        (Standing::Hit, _) => made.map(|made| format!("<span class=\"soft\">saved {made}</span>")).unwrap_or_default(),
        (_, Some(seconds)) if !stage.tries.is_empty() && stage.tries.len() > 1 => {
            format!("{}<small>{} tries</small>", words::duration(seconds), stage.tries.len())
        }
        (_, Some(seconds)) if !stage.tries.is_empty() => words::duration(seconds),
        _ => stage.tries.last().map(|one| words::duration(one.end - one.start)).unwrap_or_default(),
    }
}

fn why(stage: &Stage) -> String {
    let (causes, more) = some(&stage.causes, CAUSES);
    let mut lines: Vec<String> = causes.iter().map(|cause| text(&words::cause(&nearby(cause)))).collect();
    lines.extend((more > 0).then(|| format!("and {more} more")));
    let told = stage.error.as_ref().filter(|_| matches!(stage.standing, Standing::Skipped | Standing::Blocked));
    lines.extend(told.map(|error| text(error)));
    lines.join("<br/>")
}

/// The same with the pipeline file's name alone: where it lies is at the head of the page.
fn nearby(cause: &Cause) -> Cause {
    let mut cause = cause.clone();
    if let Some(place) = &mut cause.place {
        let name = Path::new(&place.file).file_name().map(|name| name.to_string_lossy().into_owned());
        place.file = name.unwrap_or_default();
    }
    cause
}

/// Points that are like those above.
fn rest(base: &str, stages: &[&Stage]) -> String {
    let count = |standing| stages.iter().filter(|stage| stage.standing == standing).count();
    let counts = Standing::ALL.into_iter().map(|standing| (count(standing), standing)).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, standing)| format!("{count} {}", state(standing))).collect();
    format!(
        "<tr class=\"rest\"><th scope=\"row\">{}</th><td colspan=\"6\">and {} more: {}</td></tr>",
        text(base),
        stages.len(),
        counts.join(" ")
    )
}

/// Why a stage failed, with the end of what it said.
pub(crate) fn trouble(facts: &Facts, stage: &Stage, logs: &Logs) -> String {
    let error = stage.error.as_deref().unwrap_or("It has no end: its runner was killed.");
    let mut out = format!("<p class=\"error\">{}</p>\n", text(error));
    let lines = tail(&log_path(&facts.dir, &stage.name), TAIL);
    if !lines.is_empty() {
        out += &format!("<pre class=\"log\">{}</pre>\n", text(&lines.join("\n")));
    }
    if let Some(link) = logs.link(facts, stage) {
        out += &format!("<p class=\"soft\">The whole {link}.</p>\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_s_name_is_an_address() {
        assert_eq!(address("cell@x=a b,y=\"<é.log"), "cell%40x%3Da%20b%2Cy%3D%22%3C%C3%A9.log");
    }
}
